"""What stands between cuts requests that are idle: a wait lasts as long as it has to all the same."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from conftest import Scripted, Server, eventually

from throttle_client import AsyncClient, Client, ServerUnreachable, Timeout, lock

# Sooner than the client wishes to wait: a third of `TTL`.
IDLE_SECONDS = 0.1
TTL = 1.5
# Beyond what one wait may last and be repeated for.
MANY = 6

pytestmark = pytest.mark.either_dialect


class Cutter:
    """A proxy for one request a connection, which ends those that wait for longer than `IDLE_SECONDS`."""

    def __init__(self, port: int, how: str) -> None:
        self.cuts = 0
        self._port = port
        self._how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self._port)) as far:
            request = _request(near)
            far.sendall(request)
            # On a busy machine, others may take their time.
            asks_to_wait = b"block_for=" in request or b'"wait"' in request.replace(b'"wait":"1ms"', b"")
            far.settimeout(IDLE_SECONDS if asks_to_wait else None)
            try:
                first = far.recv(65536)
            except socket.timeout:
                self._cut(near)
                return
            far.settimeout(None)
            # Said to the client as well, else it might send the next request while this end closes.
            status, _, rest = first.partition(b"\r\n")
            near.sendall(status + b"\r\nConnection: close\r\n" + rest)
            while data := far.recv(65536):
                near.sendall(data)

    def _cut(self, near: socket.socket) -> None:
        self.cuts += 1
        if self._how == "rst":
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self._how != "fin":
            near.sendall(
                f"HTTP/1.1 {self._how} No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
            )


def _request(near: socket.socket) -> bytes:
    """Read one request, and ask for the end of the connection after its answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = near.recv(65536)
        if not more:
            raise OSError
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    while len(body) < (int(found.group(1)) if found else 0):
        body += near.recv(65536)
    head = re.sub(rb"\r\nconnection:[^\r]*", b"", head, flags=re.IGNORECASE)
    return head + b"\r\nConnection: close\r\n\r\n" + body


@pytest.fixture(params=["504", "502", "408", "rst", "fin"])
def cutter(request: pytest.FixtureRequest, server: Server) -> Iterator[Cutter]:
    proxy = Cutter(server.port, request.param)
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_cut_is_no_outage(server: Server, cutter: Cutter) -> None:
    seen: list[int] = []

    def wait() -> None:
        with Client(cutter.url, retry_for=0.1) as client, lock(client, "A", ttl=TTL):
            seen.append(server.peers())

    waiter = threading.Thread(target=wait)
    with lock(server.client, "A"):
        waiter.start()
        eventually(lambda: cutter.cuts >= MANY or not waiter.is_alive(), timeout=30)
        assert waiter.is_alive()
    waiter.join()
    assert seen == [1], "it waited as one peer"


def test_a_wait_that_is_over_was_not_granted_in_time(server: Server, cutter: Cutter) -> None:
    with lock(server.client, "A"):
        client = Client(cutter.url, retry_for=0.1)
        with pytest.raises(Timeout, match="'A'"), lock(client, "A", timeout=1, ttl=TTL):
            pass
        assert server.peers() == 1


def test_a_single_request_waits_for_its_whole_time(server: Server, cutter: Cutter) -> None:
    granted: list[bool] = []

    def wait() -> None:
        with Client(cutter.url, retry_for=0.1) as client:
            peer = client.new_peer(expires_in=60)
            granted.append(client.acquire(peer, "A", block_for=60))
            client.release(peer)

    async def wait_async() -> None:
        async with AsyncClient(cutter.url, retry_for=0.1) as client:
            peer = await client.new_peer(expires_in=60)
            granted.append(await client.acquire(peer, "A", block_for=60))
            await client.release(peer)

    waiters = [threading.Thread(target=wait), threading.Thread(target=lambda: asyncio.run(wait_async()))]
    with lock(server.client, "A"):
        for waiter in waiters:
            waiter.start()
        eventually(
            lambda: cutter.cuts >= MANY or not all(waiter.is_alive() for waiter in waiters), timeout=30
        )
        assert all(waiter.is_alive() for waiter in waiters)
    for waiter in waiters:
        waiter.join()
    assert granted == [True, True]


def test_an_outage_is_borne_for_as_long_as_was_said(server: Server) -> None:
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            with Client(server.url, retry_for=0.1) as client, lock(client, "A", ttl=TTL):
                pass
        except ServerUnreachable as error:
            failures.append(error)

    waiter = threading.Thread(target=wait)
    with contextlib.suppress(Exception), lock(server.client, "A", ttl=TTL):
        waiter.start()
        eventually(lambda: server.pending("A") == 1)
        server.stop()
        waiter.join()
    assert len(failures) == 1


def test_a_proxy_out_of_reach_is_named(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy}")
    with pytest.raises(ServerUnreachable) as caught:
        Client(scripted.url, retry_for=0).version()
    said = str(caught.value)
    assert f"no connection to the proxy http://{proxy} (HTTP_PROXY)" in said
    assert "secret" not in said
    assert not scripted.requests
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Client(scripted.url, retry_for=0).version() == "Ok"
