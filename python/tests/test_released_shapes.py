"""Programs written for 0.1 to 0.5 go on working."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from conftest import Server, eventually

from throttle_client import (
    AsyncClient,
    Client,
    CountExceedsMax,
    LockLost,
    Peer,
    PeerWithHeartbeat,
    Timeout,
    UnknownPeer,
    clear_peers,
    get_local_peer,
    lock,
    set_local_peer,
)

pytestmark = pytest.mark.either_dialect

MINUTE = timedelta(minutes=1)


def test_0_1_lock_with_a_client_without_a_scheme(server: Server) -> None:
    client = Client(f"127.0.0.1:{server.port}", timedelta(minutes=2))
    with lock(client, "A", count=1, heartbeat_interval=timedelta(seconds=1), timeout=MINUTE) as peer:
        assert peer.has_active()
        assert not peer.has_pending()
        assert peer.active == {"A": 1}
        assert client.is_acquired(peer)
    late = lock(client, "A", 1, timedelta(seconds=1), timedelta(seconds=0.1))
    with lock(client, "A", 1, None, MINUTE), pytest.raises(Timeout), late:
        pass
    # Every lock had a peer of its own, so nesting in any order was fine.
    with lock(client, "A"), lock(client, "B"):
        pass
    with lock(client=client, semaphore="A"):
        assert client.remainder("A") == 0
    assert server.peers() == 0


def test_0_1_client(server: Server) -> None:
    client = Client(f"127.0.0.1:{server.port}")
    first = client.acquire("A", expires_in=MINUTE)
    assert isinstance(first, Peer)
    second = client.acquire("A")
    assert second.has_pending()
    assert not second.has_active()
    assert not client.is_acquired(second)
    assert client.block_until_acquired(second, timedelta(seconds=0.1))
    client.release(first)
    assert not client.block_until_acquired(second, timedelta(seconds=5))
    assert second.has_active()
    client.heartbeat(second)
    client.release(second)
    assert client.remainder("A") == 1
    with pytest.raises(ValueError, match="Lock can never be acquired"):
        client.acquire("A", 2)
    assert server.peers() == 0


def test_0_1_peer() -> None:
    peer = Peer("42", {"A": 1}, {"B": 1})
    assert peer.id == 42
    assert peer.active == {"A": 1}
    assert peer.pending == {"B": 1}
    assert Peer(id="42", pending={"B": 2}).has_pending()


def test_0_2_lock_with_a_peer(server: Server) -> None:
    peer = Peer.from_server_url(server.url)
    with lock(peer, "B", heartbeat_interval=None):
        with lock(peer, "A") as same:
            assert same.id == peer.id
            assert peer.acquired == {"A": 1, "B": 1}
        assert server.client.remainder("B") == 0
        assert server.client.remainder("A") == 1
    assert server.peers() == 0
    with lock(peer, "A"):
        assert server.client.remainder("A") == 0
    with lock(peer=peer, semaphore="A"):
        assert server.client.remainder("A") == 0


def test_0_2_client(server: Server) -> None:
    client = server.client
    first = client.new_peer(expires_in=MINUTE)
    second = client.new_peer(MINUTE)
    assert client.acquire(first, "A", count=1, expires_in=MINUTE)
    assert not client.acquire(second, semaphore="A", block_for=timedelta(seconds=0.05))
    assert not client.acquire(peer_id=second, semaphore="A")
    assert not client.is_acquired(second)
    client.heartbeat(first, expires_in=MINUTE)
    client.release_lock(first, "A")
    assert client.is_acquired(second)
    client.release(first)
    client.release(second)
    client.restore(second, {"A": 1}, MINUTE)
    assert client.remainder("A") == 0
    assert [peer["id"] for peer in client.list_of_peers()] == [second]
    client.release(second)
    with pytest.raises(UnknownPeer):
        client.heartbeat(second, MINUTE)
    with pytest.raises(ValueError, match="Unknown semaphore"):
        client.remainder("nope")


def test_the_async_client_has_the_same_methods(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client:
            first = await client.new_peer(MINUTE)
            second = await client.new_peer(MINUTE)
            assert await client.acquire(first, "A")
            assert not await client.acquire(second, "A", block_for=0.05)
            assert not await client.is_acquired(second)
            await client.heartbeat(first, MINUTE)
            await client.release_lock(first, "A")
            assert await client.is_acquired(second)
            assert await client.remainder("A") == 0
            await client.release(second)
            await client.restore(second, {"A": 1}, MINUTE)
            assert len(await client.list_of_peers()) == 2
            await client.release(first)
            await client.release(second)
            assert await client.version()
            with pytest.raises(CountExceedsMax):
                await client.acquire(await client.new_peer(1), "A", 2)

    asyncio.run(main())


def test_0_3_lock_with_a_url(server: Server) -> None:
    url = server.url
    with lock(url, "A", count=1, timeout=timedelta(seconds=5)) as peer:
        assert peer.acquired == {"A": 1}
        assert get_local_peer(url).id == peer.id
        assert isinstance(get_local_peer(f"{url}/"), PeerWithHeartbeat)
    with lock(server_url=url, semaphore="A", timeout=timedelta(seconds=5)):
        pass
    with lock(url, "A", 1, timedelta(seconds=5)):
        pass
    with lock(url, "/&"):
        assert server.client.remainder("/&") == 0
    clear_peers()


def test_0_5_local_peers(server: Server) -> None:
    peer = PeerWithHeartbeat(
        client=server.client,
        heartbeat_interval=timedelta(milliseconds=200),
        expiration_time=timedelta(seconds=0.8),
    )
    assert set_local_peer(server.url, peer) is None
    with lock(server.url, "A") as handle:
        assert handle.id == peer.id
        assert not handle.lost.wait(1.5)
        assert server.client.is_acquired(peer.id)
    other = Peer(server.client)
    assert set_local_peer(server.url, other) is None, "the peer was used up with its last lock"
    assert set_local_peer(server.url, peer) is other


def test_0_5_a_peer_that_is_unknown_comes_back_when_it_asks_for_a_lock(server: Server) -> None:
    set_local_peer(server.url, PeerWithHeartbeat(client=server.client, id=42))
    with lock(server.url, "A", timeout=timedelta(seconds=10)) as handle:
        assert handle.id == 42
        assert server.client.remainder("A") == 0


def test_0_5_heartbeats_restore_a_peer_from_before(server: Server) -> None:
    peer = PeerWithHeartbeat(
        client=server.client, id=5, acquired={"A": 1, "C": 2}, heartbeat_interval=timedelta(milliseconds=10)
    )
    peer.start_heartbeat()
    eventually(lambda: server.client.remainder("A") == 0)
    assert server.client.remainder("C") == 1
    peer.stop_heartbeat()
    peer.remove_from_server()
    assert server.client.remainder("C") == 3


@pytest.mark.usefixtures("tells_instance")
def test_restore_does_not_take_back_what_the_server_ended(server: Server) -> None:
    peer = Peer(server.client, expiration_time=MINUTE)
    assert peer.acquire("A")
    server.client.release(peer.id)
    with pytest.raises(UnknownPeer):
        peer.heartbeat()
    with pytest.raises(LockLost):
        peer.restore()
    assert server.client.remainder("A") == 1
    peer.restore()
    assert peer.acquire("A")
    server.stop()
    server.start()
    with pytest.raises(UnknownPeer):
        peer.heartbeat()
    peer.restore()
    assert server.client.remainder("A") == 0


def test_peers_of_threads_are_apart(server: Server) -> None:
    ids: list[int] = []

    def note() -> None:
        ids.append(get_local_peer(server.url).id)

    thread = threading.Thread(target=note)
    thread.start()
    thread.join()
    note()
    assert ids[0] != ids[1]
