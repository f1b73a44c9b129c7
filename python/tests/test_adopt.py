"""A peer that another process made is taken over with what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Callable

import pytest
from conftest import Gateway, Server, eventually

from throttle_client import (
    AsyncClient,
    Client,
    ConfigurationError,
    LockLost,
    NotAcquired,
    Peer,
    ServerError,
    UnknownPeer,
    adopt,
    lock,
)

pytestmark = pytest.mark.usefixtures("v1")

TTL = 1.0
SOON = 10.0


def made(server: Server, **locks: int) -> int:
    """A peer as `throttle acquire` leaves it: nobody renews it."""
    peer = server.client.new_peer(60)
    for name, count in locks.items():
        assert server.client.acquire(peer, name, count)
    return peer


def test_it_is_renewed_and_released_at_the_end(server: Server) -> None:
    peer = made(server, B=1, C=2)
    with adopt(server.url, str(peer), ttl=TTL) as handle:
        assert handle.id == peer
        assert handle.semaphores == {"B": 1, "C": 2}
        assert handle.tokens.keys() == {"B", "C"}
        assert all(server.client.is_token_live(name, token) for name, token in handle.tokens.items())
        assert not handle.lost.wait(1.5 * TTL)
        handle.check()
        assert 0 < handle.remaining <= TTL
        assert (server.client.remainder("B"), server.client.remainder("C")) == (0, 1)
    assert server.peers() == 0
    assert not handle.is_held


def test_async(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client:
            for target in (server.url, client, Client(server.url)):
                peer = made(server, A=1)
                async with adopt(target, peer, ttl=TTL) as handle:
                    await asyncio.sleep(1.5 * TTL)
                    handle.check()
                    assert await client.remainder("A") == 0
                assert await client.remainder("A") == 1

    asyncio.run(main())


def test_the_environment_names_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROTTLE_URL", server.url)
    with adopt(None, made(server, A=1)) as handle:
        assert handle.token is not None
    assert server.peers() == 0


def test_more_can_be_asked_for_in_its_name(server: Server) -> None:
    with adopt(server.url, made(server, B=1)) as handle:
        with lock(handle, "A") as inner:
            assert inner.id == handle.id
        assert server.client.remainder("A") == 1
        handle.check()
        assert server.client.remainder("B") == 0
    assert server.peers() == 0


def test_it_tells_of_a_loss(server: Server) -> None:
    told: list[LockLost] = []
    with pytest.raises(LockLost, match="stuck since noon") as caught:  # noqa: SIM117
        with adopt(server.url, made(server, A=1), ttl=TTL, notify=told.append) as handle:
            server.kick(handle.id, "stuck since noon")
            assert handle.lost.wait(SOON)
            assert not handle.is_held
    assert (caught.value.reason, caught.value.semaphores) == ("released", ("A",))
    eventually(lambda: told)

    async def main() -> None:
        async with adopt(server.url, made(server, A=1), ttl=TTL, on_lost="cancel") as handle:
            server.kick(handle.id, "again")
            await asyncio.sleep(SOON)

    with pytest.raises(LockLost, match="again"):
        asyncio.run(main())


def test_a_server_that_forgot_it_gets_it_back_as_it_was(server: Server) -> None:
    peer = Peer(server.client, labels={"job": "nightly"})
    assert peer.acquire("A")
    with adopt(server.url, peer.id, ttl=5 * TTL) as handle:
        server.stop()
        server.start()
        eventually(lambda: server.client.remainder("A") == 0)
        assert server.labels(peer.id) == {"job": "nightly"}
        handle.check()
    assert server.peers() == 0


def test_what_cannot_be_taken_over(server: Server) -> None:
    with pytest.raises(UnknownPeer), adopt(server.url, 42):
        pass
    idle = server.client.new_peer(60)
    with pytest.raises(NotAcquired, match="holds no lock"), adopt(server.url, idle):
        pass
    assert server.client.is_acquired(idle), "it is not ours, so it is left alone"
    with contextlib.closing(Gateway(server.port, old=True)) as old:
        peer = made(server, A=1)
        with pytest.raises(ServerError, match="recent enough"), adopt(old.url, peer):
            pass
        assert server.client.remainder("A") == 0


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: adopt("http://localhost", "x1"), "the peer id is 'x1'"),
        (lambda: adopt("http://localhost", -1), "the peer id is -1"),
        (lambda: adopt("http://localhost", 1, ttl=0), "ttl is 0"),
        (lambda: adopt("http://localhost", 1, on_lost="cry"), "on_lost is 'cry'"),
        (lambda: adopt(Client("http://localhost"), 1, token="t"), "belong to a URL"),
        (lambda: adopt(Peer(id=1), 1), "got a Peer"),  # type: ignore[arg-type]
    ],
)
def test_arguments_are_checked(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        ask()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of forks beside threads.
def test_a_forked_child_has_no_part_in_it(server: Server) -> None:
    outer = adopt(server.url, made(server, A=1))
    handle = outer.__enter__()
    pid = os.fork()
    if pid == 0:
        held = handle.is_held
        outer.__exit__(None, None, None)
        os._exit(held)
    assert os.waitpid(pid, 0)[1] == 0
    handle.check()
    assert server.client.remainder("A") == 0
    outer.__exit__(None, None, None)
    assert server.peers() == 0
