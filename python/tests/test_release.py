"""Releases: by proxies that decode paths, refused for a moment, and refused for good."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest
from conftest import Gateway, Server, eventually, serving

from throttle_client import AsyncClient, Client, NotReleased, ServerError, lock

CONFIGURATION = """
[semaphores]
"t/in" = 2
"t/out" = { max = 1, level = 1 }
"""
Refusal = Callable[[str, str], Optional[int]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose semaphores have a slash in their names."""
    with serving(tmp_path, CONFIGURATION) as process:
        yield process


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    """A proxy that decodes paths, as many do."""
    with contextlib.closing(Gateway(server.port, decodes=True)) as instance:
        yield instance


@pytest.fixture(autouse=True)
def _v1(server: Server) -> None:
    if not server.has_v1:
        pytest.skip("this server has no /v1")


def releases(status: int, times: Optional[int] = None) -> Refusal:
    """Refuse all requests that release something, or the first ones."""
    count = itertools.count()

    def refuse(method: str, path: str) -> Optional[int]:
        is_release = method == "DELETE" or path.endswith("/release")
        return status if is_release and (times is None or next(count) < times) else None

    return refuse


def test_an_inner_lock_is_released_while_the_outer_one_is_held(server: Server, gateway: Gateway) -> None:
    with lock(gateway.url, "t/out", ttl=60):
        with lock(gateway.url, "t/in", 2):
            assert server.client.remainder("t/in") == 0
        assert (server.client.remainder("t/in"), server.client.remainder("t/out")) == (2, 0)
    assert server.peers() == 0


def test_all_routes_pass_a_proxy_that_decodes(server: Server, gateway: Gateway) -> None:
    client = Client(gateway.url)
    peer = client.new_peer(60)
    assert client.acquire(peer, "t/in", 2)
    assert client.remainder("t/in") == 0
    client.release_lock(peer, "t/in")
    assert client.remainder("t/in") == 2
    with lock(client, "t/out") as handle:
        assert client.is_token_live("t/out", handle.token or 0)

    async def by_async_client() -> None:
        async with AsyncClient(gateway.url) as other:
            assert await other.acquire(peer, "t/in")
            assert not await other.is_token_live("t/in", 1)
            await other.release_lock(peer, "t/in")
            async with lock(other, "t/out"), lock(other, "t/in"):
                assert server.client.remainder("t/in") == 1

    asyncio.run(by_async_client())
    assert server.client.remainder("t/in") == 2
    assert not [path for _, path, _ in gateway.requests if "%2F" in path.partition("?")[0]]


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_release_that_is_refused_for_a_moment_is_repeated(
    server: Server, gateway: Gateway, status: int
) -> None:
    with lock(gateway.url, "t/out", ttl=60):
        gateway.refuse = releases(status, times=4)
        with lock(gateway.url, "t/in"):
            pass
        assert server.client.remainder("t/in") == 2
    assert server.peers() == 0


def test_a_refused_release_of_an_inner_lock_is_raised(server: Server, gateway: Gateway) -> None:
    with lock(gateway.url, "t/out", ttl=60) as outer:
        with pytest.raises(NotReleased) as caught:  # noqa: SIM117
            with lock(gateway.url, "t/in"):
                gateway.refuse = releases(404)
        assert caught.value.semaphores == ("t/in",)
        assert isinstance(caught.value.__cause__, ServerError)
        message = str(caught.value)
        assert f"'t/in' (peer {outer.id} at {gateway.url})" in message
        assert "stays held until that succeeds, or until the last lock around it ('t/out') ends" in message
        assert server.client.remainder("t/in") == 1
        outer.check()
        # It goes on in the background, while the outer lock keeps the peer alive.
        gateway.refuse = lambda method, path: None
        eventually(lambda: server.client.remainder("t/in") == 2)
        outer.check()
    assert server.peers() == 0


def test_an_outer_lock_that_ends_while_an_inner_one_is_released_ends_the_peer(
    server: Server, gateway: Gateway
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hold_up(method: str, path: str) -> Optional[int]:
        if "release" in path or "%2F" in path:
            arrived.set()
            go_on.wait()
        return None

    with lock(gateway.url, "t/out", ttl=60):
        with pytest.raises(NotReleased):  # noqa: SIM117
            with lock(gateway.url, "t/in"):
                gateway.refuse = releases(404)
        gateway.refuse = hold_up
        assert arrived.wait(30)
        # By then this one is waiting for the inner one's request.
        threading.Timer(0.3, go_on.set).start()
    assert server.peers() == 0


def test_the_end_of_the_outer_lock_frees_the_inner_one(server: Server, gateway: Gateway) -> None:
    gateway.refuse = lambda method, path: (
        404 if "/release" in path or "/t/" in path or "%2F" in path else None
    )
    with lock(gateway.url, "t/out", ttl=60):
        with pytest.raises(NotReleased):  # noqa: SIM117
            with lock(gateway.url, "t/in"):
                pass
        assert server.client.remainder("t/in") == 1
    assert (server.client.remainder("t/in"), server.peers()) == (2, 0)


def test_what_is_taken_again_is_not_released_by_the_past(server: Server, gateway: Gateway) -> None:
    with lock(gateway.url, "t/out", ttl=60):
        with pytest.raises(NotReleased):  # noqa: SIM117
            with lock(gateway.url, "t/in"):
                gateway.refuse = releases(404)
        with lock(gateway.url, "t/in") as again:
            gateway.refuse = lambda method, path: None
            before = len(gateway.requests)
            # A renewal would find it gone, and the release that was under way would have come before.
            with lock(gateway.url, "t/in"):
                again.check()
            assert server.client.remainder("t/in") == 1
            assert not [path for _, path, _ in gateway.requests[before:] if path.endswith("/release")]
        assert server.client.remainder("t/in") == 2


def test_a_refused_release_of_the_last_lock_says_when_its_lease_ends(
    server: Server, gateway: Gateway
) -> None:
    with pytest.raises(NotReleased, match=r"nothing renews it any more, .* its lease ends in 5[0-9.]+ s"):  # noqa: SIM117
        with lock(gateway.url, "t/in", ttl=60):
            gateway.refuse = releases(403)
    assert server.client.remainder("t/in") == 1
    gateway.refuse = lambda method, path: None
    eventually(lambda: server.peers() == 0)


def test_the_error_of_the_body_is_not_hidden(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError):  # noqa: SIM117
        with lock(gateway.url, "t/in", ttl=60):
            gateway.refuse = releases(404)
            raise KeyError
    eventually(lambda: "was not released" in caplog.text)
    assert "'t/in'" in caplog.text


def test_async_callers_are_told_too(gateway: Gateway) -> None:
    async def body() -> None:
        async with lock(gateway.url, "t/out", ttl=60):
            with pytest.raises(NotReleased):
                async with lock(gateway.url, "t/in"):
                    gateway.refuse = releases(404)
            gateway.refuse = lambda method, path: None

    asyncio.run(body())


def test_a_server_without_v1_is_asked_as_before(server: Server, gateway: Gateway) -> None:
    gateway.old, gateway.decodes = True, False
    with lock(gateway.url, "t/out", ttl=60) as outer:
        with lock(gateway.url, "t/in"):
            pass
        assert server.client.remainder("t/in") == 2
        assert f"/peers/{outer.id}/t%2Fin" in [
            path for method, path, _ in gateway.requests if method == "DELETE"
        ]
