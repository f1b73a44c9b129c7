"""Runs clients, commands and streams through nginx and HAProxy, as `docs/proxies.md` has them.

An nginx that decodes `%2F` is one of the proxies: names with a slash must pass it. The Python client, and
what is shared with the tests of released clients (`server.py`), have to be on the path.
"""

import argparse
import asyncio
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
from proxy import haproxy, nginx
from server import PATIENCE, Server, serving, until
from throttle_client import AsyncClient, Client, NotReleased, lock

INNER = "t/in"
OUTER = "t/out"
ODD = "a b//ü&c=d+e%2F?"
CONFIGURATION = f"""\
[semaphores]
"{INNER}" = 2
"{OUTER}" = {{ max = 1, level = 1 }}
"{ODD}" = 1
plain = 1
"""
BIG = 1_000_000


def remainder(server: Server, name: str) -> int:
    """What is left of a semaphore, asked without a proxy."""
    return Client(server.url).remainder(name)


def peers(server: Server) -> int:
    """How many peers there are, asked without a proxy."""
    return len(Client(server.url).list_of_peers())


def check_python(server: Server, url: str) -> None:
    """The Python client: an inner lock is released while the outer one is held."""
    client = Client(url)
    for inner in (INNER, ODD):
        with lock(url, OUTER, ttl=60):
            with lock(url, inner) as handle:
                assert client.is_token_live(inner, handle.token or 0)
            left = (remainder(server, INNER), remainder(server, ODD), remainder(server, OUTER))
            assert left == (2, 1, 0), left
    with lock(url, {INNER: 2, OUTER: 1, ODD: 1}):
        pass
    peer = client.new_peer(60)
    assert client.acquire(peer, ODD)
    assert not client.acquire(client.new_peer(60), ODD, block_for=0.01)
    client.release_lock(peer, ODD)
    for item in client.list_of_peers():
        client.release(int(item["id"]))

    async def by_async_client() -> None:
        async with AsyncClient(url) as other, lock(other, OUTER):
            async with lock(other, INNER, 2):
                assert remainder(server, INNER) == 0
            assert (remainder(server, INNER), remainder(server, OUTER)) == (2, 0)

    asyncio.run(by_async_client())
    assert peers(server) == 0


def check_commands(server: Server, url: str, throttle: Path) -> None:
    """The commands, and by them the Rust client."""

    def said(*arguments: str) -> str:
        environment = {**os.environ, "THROTTLE_URL": url}
        command = [str(throttle), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    for name in (INNER, ODD):
        assert name in said("status", name)
        tokens = said("run", "-s", name, "-s", OUTER, "--", "sh", "-c", 'echo "$THROTTLE_FENCING_TOKENS"')
        assert json.loads(tokens).keys() == {name, OUTER}
        made = f"{name}/made"
        assert "has max 3" in said("semaphore", "set", made, "--max", "3")
        assert "has max 4" in said("semaphore", "set", made, "--max", "4")
        assert remainder(server, made) == 4
        with lock(url, made) as handle:
            assert str(handle.id) in said("peers", "--semaphore", made)
        said("semaphore", "rm", made, "--force")
    peer = Client(url).new_peer(60)
    said("release", str(peer), "--reason", "a/b")
    assert peers(server) == 0


def check_watch(url: str, throttle: Path) -> None:
    """`throttle status --watch` on a terminal: the list, and the page of a semaphore."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with lock(url, INNER, labels={"host": "proxied"}):
        environment = {**os.environ, "THROTTLE_URL": url, "TERM": "xterm"}
        command = [str(throttle), "status", "--watch", INNER]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        try:
            for awaited, key in ((INNER, b"\r"), ("proxied", b"q")):
                shown = ""
                while awaited not in shown:
                    shown += os.read(ours, 65536).decode(errors="replace")
                os.write(ours, key)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def check_streams(url: str) -> None:
    """What happens is told at that moment, and by no means when a buffer is full."""
    name = urllib.parse.quote(INNER, safe="")
    with events(f"{url}/v1/events?semaphore={name}") as lines, lock(url, INNER):
        assert any(line == "event: granted" for line in lines)
    with events(f"{url}/v1/updates") as lines:
        assert any(line.startswith("data:") for line in lines)
        with lock(url, INNER):
            assert any(line.startswith("data:") and INNER in line for line in lines)


@contextmanager
def events(url: str) -> Iterator[Iterator[str]]:
    """The lines of a stream. It is read without a limit by its keep-alives, which ends with `PATIENCE`."""
    with httpx.stream("GET", url, timeout=PATIENCE) as response:
        assert response.status_code == 200, url
        yield response.iter_lines()


def check_browser(url: str) -> None:
    """A page of the dashboard may act: the server sees the address by which the browser knows it."""
    page = httpx.get(url, headers={"Accept": "text/html"})
    assert "<!doctype html>" in page.text.lower()
    headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    query = {"name": ODD}
    changed = httpx.patch(f"{url}/v1/semaphore", params=query, json={"max": 1}, headers=headers)
    assert (changed.status_code, changed.json().get("name")) == (200, ODD), changed.text
    foreign = {"Origin": "http://elsewhere", "Sec-Fetch-Site": "cross-site"}
    refused = httpx.patch(f"{url}/v1/semaphore", params=query, json={"max": 1}, headers=foreign)
    assert refused.json()["code"] == "cross_origin"


def check_big_body(url: str) -> None:
    """A heartbeat for thousands of peers."""
    ids = [str(10**19 + number) for number in range(BIG // 23)]
    answer = httpx.post(f"{url}/v1/heartbeats", json={"expires_in": "1m", "peers": ids}, timeout=PATIENCE)
    assert len(answer.request.content) > 0.9 * BIG
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["gone"]) == len(ids)


def check_headers(url: str) -> None:
    """What clients and server tell each other beside the bodies."""
    body = {"expires_in": "1m"}
    key = {"Idempotency-Key": "the-same"}
    first, second = (httpx.post(f"{url}/v1/peers", json=body, headers=key) for _ in range(2))
    peer = first.json()["id"]
    assert second.json()["id"] == peer
    assert first.headers["Throttle-Instance"]
    granted = httpx.put(f"{url}/peers/{peer}/plain", json=1)
    assert int(granted.headers["Throttle-Fencing-Token"]) > 0
    Client(url).release(int(peer))


def check_hang_up(server: Server, url: str) -> None:
    """When a client that waits is gone, the server sees it."""

    def blocked() -> int:
        page = httpx.get(f"{server.url}/metrics").text
        line = next(line for line in page.splitlines() if line.startswith("throttle_blocked_requests "))
        return int(float(line.split()[1]))

    with lock(url, OUTER):
        body = json.dumps({"locks": {OUTER: 1}, "expires_in": "10m", "wait": "10m"})
        address = urllib.parse.urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as client:
            head = f"POST /v1/locks HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            until(lambda: blocked() == 1, "the request waits")
        until(lambda: blocked() == 0, "the server sees that the client is gone")
    for item in Client(server.url).list_of_peers():
        Client(server.url).release(int(item["id"]))


def check_old_routes(server: Server, url: str, *, decodes: bool) -> None:
    """The names in the paths of earlier clients arrive, unless the proxy decodes them."""
    peer = Client(server.url).new_peer(60)
    for name in (INNER, ODD):
        path = f"/peers/{peer}/{urllib.parse.quote(name, safe='')}"
        status = httpx.put(f"{url}{path}", json=1).status_code
        assert status == (404 if decodes else 200), f"{path}: {status}"
        released = httpx.delete(f"{url}{path}").status_code
        assert released == (404 if decodes else 200), f"{path}: {released}"
    Client(server.url).release(peer)


def check_refused_release(server: Server, url: str, throttle: Path) -> None:
    """A release that does not pass the proxy is told, with what is still held and until when."""
    command = [str(throttle), "run", "-s", INNER, "--ttl", "1m", "--", "true"]
    environment = {**os.environ, "THROTTLE_URL": url}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    for part in (f'the lock on "{INNER}"', "was not released", "stays held until its lease ends in 5", "404"):
        assert part in done.stderr, done.stderr
    assert remainder(server, INNER) == 1
    raised: tuple[str, ...] = ()
    try:
        with lock(url, OUTER, ttl=60):
            pass
    except NotReleased as error:
        raised = error.semaphores
    assert raised == (OUTER,)
    assert remainder(server, OUTER) == 0


def check(server: Server, url: str, throttle: Path, *, decodes: bool) -> None:
    """Everything, by way of one proxy."""
    check_old_routes(server, url, decodes=decodes)
    check_python(server, url)
    check_commands(server, url, throttle)
    check_watch(url, throttle)
    check_streams(url)
    check_browser(url)
    check_big_body(url)
    check_headers(url)
    check_hang_up(server, url)
    assert peers(server) == 0


def main() -> int:
    """Tries one proxy after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    throttle = parser.parse_args().server.resolve(strict=True)
    proxies: list[tuple[str, Callable[[str], AbstractContextManager[str]], bool]] = [
        ("nginx", nginx, False),
        ("nginx that decodes paths", lambda server: nginx(server, decodes=True), True),
        ("haproxy", haproxy, False),
    ]
    for name, start, decodes in proxies:
        with serving(throttle, CONFIGURATION) as server, start(server.url.removeprefix("http://")) as url:
            check(server, url, throttle, decodes=decodes)
        print(f"passed  {name}", flush=True)
    with (
        serving(throttle, CONFIGURATION) as server,
        nginx(server.url.removeprefix("http://"), hides="/peers/") as url,
    ):
        check_refused_release(server, url, throttle)
    print("passed  nginx that lets no release pass", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
