"""Plays `examples/crawler.py` on a site that counts how many requests it has in flight for each host."""

import argparse
import os
import select
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from server import PATIENCE, Server, serving, until
from throttle_client import Client

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HOSTS = ["localhost", "127.0.0.1"]
SLOTS = 5
CRAWLERS = 2
LEAVES = 10
# A host without a semaphore, and a link that is none.
OUTSIDE = ["http://unknown.invalid/", "http://no:port/"]


class Site:
    """Pages that link to leaves, which are not answered before the gate is open."""

    def __init__(self) -> None:
        """Listens on a port of its own."""
        self.gate = threading.Event()
        self.all_started = threading.Barrier(CRAWLERS)
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight: Counter[str] = Counter()
        self.visits: Counter[str] = Counter()
        self.hung_up = threading.Event()
        self._mutex = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host = self.headers["Host"].split(":")[0]
                site._come(host, self.path)
                patient = self.path != "/stuck" or site.visits["/stuck"] > 1
                if not patient:
                    self._await_end()
                elif "leaf" in self.path:
                    site.gate.wait(PATIENCE)
                elif self.path.startswith("/start/"):
                    # The leaves of the first crawler would keep the start page of the other out.
                    site.all_started.wait(PATIENCE)
                # Before the answer: whoever has it may give the slot back.
                site._go(host)
                if patient:
                    self._answer(site.page(self.path))

            def _await_end(self) -> None:
                """Returns when the crawler closes the connection."""
                readable, _, _ = select.select([self.connection], [], [], PATIENCE)
                if readable and self.connection.recv(1) == b"":
                    site.hung_up.set()
                self.close_connection = True

            def _answer(self, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                pass

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listens no more."""
        self._listener.shutdown()
        self._listener.server_close()

    def page(self, path: str) -> str:
        """`/start/N` links to the leaves of crawler N on every host, and to `OUTSIDE`."""
        if not path.startswith("/start/"):
            return "<p>nothing more"
        links = [f"http://{host}:{self.port}/leaf{path}/{leaf}" for host in HOSTS for leaf in range(LEAVES)]
        return "".join(f'<a href="{link}">' for link in [*links, *OUTSIDE])

    def _come(self, host: str, path: str) -> None:
        with self._mutex:
            self.visits[path] += 1
            self.in_flight[host] += 1
            self.most_in_flight[host] = max(self.most_in_flight[host], self.in_flight[host])

    def _go(self, host: str) -> None:
        with self._mutex:
            self.in_flight[host] -= 1


@contextmanager
def crawler(server: Server, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The example, as its user starts it; it must succeed."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "crawler.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "THROTTLE_URL": server.url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def output(process: subprocess.Popen[str]) -> str:
    """What an example that must succeed has printed."""
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return printed


def five_requests_per_host(server: Server, site: Site) -> None:
    """Two crawlers together have five requests in flight for each host; all others wait for a slot."""
    starts = [f"http://localhost:{site.port}/start/{number}" for number in range(CRAWLERS)]
    with crawler(server, starts[0]) as one, crawler(server, starts[1]) as other:
        for host in HOSTS:
            server.await_pending(f"host/{host}", CRAWLERS * LEAVES - SLOTS)
        until(lambda: all(site.in_flight[host] == SLOTS for host in HOSTS), "every slot is in use")
        site.gate.set()
        printed = output(one) + output(other)
    assert site.most_in_flight == Counter(dict.fromkeys(HOSTS, SLOTS)), site.most_in_flight
    assert len(site.visits) == CRAWLERS + CRAWLERS * LEAVES
    assert printed.count("200 ") == CRAWLERS + len(HOSTS) * CRAWLERS * LEAVES, printed
    assert printed.count(f"{OUTSIDE[0]}  the host is not configured") == CRAWLERS, printed


def a_loss_cancels_the_request(server: Server, site: Site) -> None:
    """When an operator takes the slot away, the crawler hangs up, and comes back with a new slot."""
    url = f"http://localhost:{site.port}/stuck"
    with Client(server.url) as client, crawler(server, url, "--ttl", "3") as process:
        until(lambda: site.visits["/stuck"] == 1, "the page is visited")
        (peer,) = client.list_of_peers()
        client.release(peer["id"])
        assert site.hung_up.wait(PATIENCE), "the request was not cancelled"
        printed = output(process)
        assert client.remainder("host/localhost") == SLOTS
    assert site.visits == {"/stuck": 2}
    again, visited = printed.splitlines()
    assert again.startswith(f"again  {url}  "), printed
    assert visited == f"200    {url}", printed


def main() -> None:
    """Plays each against a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    binary: Path = parser.parse_args().server
    configuration = (EXAMPLES / "crawler.toml").read_text()
    for scenario in (five_requests_per_host, a_loss_cancels_the_request):
        with serving(binary, configuration) as server, closing(Site()) as site:
            scenario(server, site)


if __name__ == "__main__":
    main()
