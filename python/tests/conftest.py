"""Fixtures: a real server process, a network that can be cut, and a server that follows a script."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Optional

import httpx
import pytest

from throttle_client import Client, clear_peers
from throttle_client._background import background

CONFIGURATION = """
[semaphores]
A = 1
B = { max = 1, level = 1 }
C = 3
D = 5
"/&" = 1
"""

# One for all, and without TLS, for both take time to set up. No connection is kept.
_http = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))

PROGRAMS = Path(__file__).parent / "programs"


def eventually(check: Callable[..., object], timeout: float = 10.0) -> None:
    """Wait for something that can only be seen by asking."""
    end = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < end, f"still not so after {timeout} s"
        time.sleep(0.02)


# Below those that the system gives to connections, which could take one while a server starts anew; and each
# process of pytest has its own.
_first_port = 20_000 + 2_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 6)
_ports = itertools.cycle(random.sample(range(_first_port, _first_port + 2_000), 2_000))


def free_port() -> int:
    while True:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Server:
    """A server process on a port of its own."""

    def __init__(self, directory: Path, configuration: str = CONFIGURATION) -> None:
        binary = os.environ.get("THROTTLE_SERVER")
        if not binary:
            pytest.exit("THROTTLE_SERVER is not set; it must name the throttle server binary", returncode=2)
        self._binary = binary
        self._configuration = directory / "throttle.toml"
        self._configuration.write_text(configuration)
        # What clients are told, which may be a gateway's.
        self.port = self._own_port = free_port()
        self.url = self._own_url = f"http://127.0.0.1:{self.port}"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.start()
        self.client = Client(self.url)
        self.tells_instance = "throttle-instance" in _http.get(f"{self.url}/version").headers
        self.has_v1 = self.see("/v1/semaphores") is not None

    def go_by(self, gateway: Gateway) -> None:
        """Let clients come by this gateway, the server's own included."""
        self.port, self.url = gateway.port, gateway.url
        self.client = Client(self.url)
        self.has_v1 = not gateway.old

    def see(self, path: str) -> Any:
        """What a route of `/v1` shows, by no gateway; `None` if there is no such route, or nothing to see."""
        answer = _http.get(f"{self._own_url}{path}")
        return answer.json() if answer.status_code == 200 else None

    def labels(self, peer: int) -> dict[str, str]:
        """The labels of a peer."""
        found: dict[str, str] = self.see(f"/v1/peers/{peer}")["labels"]
        return found

    def kick(self, peer: int, reason: str) -> None:
        """Release a peer as an operator does."""
        answer = _http.delete(f"{self._own_url}/v1/peers/{peer}", params={"reason": reason})
        assert answer.status_code == 204

    def start(self) -> None:
        command = [self._binary, "--port", str(self._own_port), "-c", str(self._configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers)

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=10)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the server ended right after its start"
        try:
            return _http.get(f"{self._own_url}/health", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def peers(self) -> int:
        return len(self.client.list_of_peers())

    def pending(self, semaphore: str) -> int:
        """How much of a semaphore is asked for and not granted yet."""
        metrics = _http.get(f"{self._own_url}/metrics").text
        found = re.search(rf'^throttle_pending{{semaphore="{semaphore}"}} (\d+)', metrics, re.MULTILINE)
        return int(found.group(1)) if found else 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("either_dialect") and "server" in metafunc.fixturenames:
        metafunc.parametrize("server", ["v1", "old"], indirect=True)


@contextlib.contextmanager
def serving(directory: Path, configuration: str = CONFIGURATION) -> Iterator[Server]:
    """A server for the time of the block."""
    process = Server(directory, configuration)
    try:
        yield process
    finally:
        process.client.close()
        process.stop()
        clear_peers()
        # What was found out about a server is not true of the next one on the same port.
        background()._links.clear()


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server whose configuration has A and B with one place, C with three, D with five; B is above A.

    Tests of `either_dialect` get it once with all it has, and once without `/v1`, as those before 0.6 are.
    """
    with serving(tmp_path) as process:
        if getattr(request, "param", "v1") == "old":
            with contextlib.closing(Gateway(process.port, old=True)) as gateway:
                process.go_by(gateway)
                yield process
        else:
            yield process


@pytest.fixture
def v1(server: Server) -> None:
    """Only for servers with `/v1` (0.6 on)."""
    if server.see("/v1/semaphores") is None:
        pytest.skip("this server has no /v1")


@pytest.fixture
def tells_instance(server: Server) -> None:
    """Only for servers that tell their state apart (0.6 on)."""
    if not server.tells_instance:
        pytest.skip("this server sends no Throttle-Instance")


class Network:
    """A TCP proxy. While it is cut it takes bytes and passes none on, as a dead link does."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._cut = threading.Event()
        self._sockets: list[socket.socket] = []
        self._closed = False
        self._mutex = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut.set()

    def heal(self) -> None:
        """Pass bytes again; connections that lost some are gone, as after a long cut."""
        self._cut.clear()
        self._drop()

    def close(self) -> None:
        # A blocked accept() is not woken by close() alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._mutex:
            self._closed = True
        self._drop()

    def _drop(self) -> None:
        with self._mutex:
            sockets, self._sockets = self._sockets, []
        for item in sockets:
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._mutex:
                self._sockets += [near, far]
                closed = self._closed
            if closed:
                self._drop()
                return
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                if not self._cut.is_set():
                    target.sendall(data)
        if not self._cut.is_set():
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)


@pytest.fixture
def network(server: Server) -> Iterator[Network]:
    """The way to the server, which a test can cut."""
    proxy = Network(server.port)
    try:
        yield proxy
    finally:
        proxy.close()


class Scripted:
    """An HTTP server that gives prepared answers: (status, headers, body), or `None` to hang up."""

    def __init__(self) -> None:
        self.answers: list[Optional[tuple[int, dict[str, str], str]]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.times: list[float] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                scripted.times.append(time.monotonic())
                scripted.requests.append((self.command, self.path, self.headers))
                answer = scripted.answers.pop(0) if scripted.answers else (200, {}, "Ok")
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        arguments = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=arguments, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that answers as the test says."""
    instance = Scripted()
    try:
        yield instance
    finally:
        instance.close()


class Gateway:
    """An HTTP proxy in front of a server: it can speak TLS, and hold back headers of the answers.

    With `old` it knows no `/v1`. `lose` is how many answers to requests that create a peer get lost. With
    `decodes` it passes `%2F` in a path on as a slash. What `refuse` makes of a method and a path is answered
    in place of the server. It redirects to `leader` if there is one.
    """

    def __init__(
        self,
        port: int,
        tls: Optional[ssl.SSLContext] = None,
        without: Optional[str] = None,
        *,
        old: bool = False,
        lose: int = 0,
        decodes: bool = False,
    ) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.bodies: list[tuple[str, str, bytes]] = []
        self.old = old
        self.lose = lose
        self.decodes = decodes
        self.refuse: Callable[[str, str], Optional[int]] = lambda method, path: None
        self.leader: Optional[str] = None
        gateway = self
        hidden = {"transfer-encoding", "connection", "content-length", (without or "").lower()}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                gateway.requests.append((self.command, self.path, self.headers))
                gateway.bodies.append((self.command, self.path, body))
                refused = gateway._refusal(self.command, self.path)
                if refused is not None:
                    status, headers = refused
                    self.send_response(status)
                    for header in headers.items():
                        self.send_header(*header)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                url = f"http://127.0.0.1:{port}{gateway._passed_on(self.path)}"
                kept = {"content-type": self.headers.get("content-type") or "text/plain"}
                if "idempotency-key" in self.headers:
                    kept["idempotency-key"] = self.headers["idempotency-key"]
                try:
                    answer = _http.request(self.command, url, content=body, headers=kept, timeout=None)
                except httpx.HTTPError:
                    self.close_connection = True
                    return
                if gateway.lose and self.path in ("/v1/peers", "/v1/locks", "/new_peer"):
                    gateway.lose -= 1
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() not in hidden:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_PUT = do_POST = do_DELETE = _any  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        class Listener(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass  # A client that does not trust the certificate hangs up.

        self._server = Listener(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls is not None:
            # The handshake is left to the thread of the connection, so that none keeps the others waiting.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        arguments = {"poll_interval": 0.02}
        threading.Thread(target=self._server.serve_forever, kwargs=arguments, daemon=True).start()

    def _refusal(self, method: str, path: str) -> Optional[tuple[int, dict[str, str]]]:
        if self.leader is not None:
            return 307, {"Location": self.leader + path}
        status = 404 if self.old and path.startswith("/v1/") else self.refuse(method, path)
        return None if status is None else (status, {})

    def _passed_on(self, target: str) -> str:
        path, mark, query = target.partition("?")
        return f"{path.replace('%2F', '/') if self.decodes else path}{mark}{query}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def program(name: str, *arguments: object) -> subprocess.Popen[str]:
    """Start one of the programs beside the tests."""
    command = [sys.executable, "-W", "error", str(PROGRAMS / name), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """Wait for a program to say something."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str], timeout: float = 30.0) -> str:
    """Wait for the end of a program that must succeed, and return what it printed."""
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, output
    return output
