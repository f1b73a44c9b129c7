"""`with lock(…)` and `async with lock(…)` while nothing goes wrong."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest
from conftest import Network, Server, eventually

from throttle_client import (
    AsyncClient,
    Client,
    ConfigurationError,
    CountExceedsMax,
    Handle,
    HierarchyViolation,
    ServerUnreachable,
    Timeout,
    UnknownSemaphore,
    lock,
)

pytestmark = pytest.mark.either_dialect


def test_a_lock_is_held_in_the_body_only(server: Server) -> None:
    with lock(server.url, "A") as handle:
        assert server.client.remainder("A") == 0
        assert repr(handle).endswith("held>")
        assert handle.semaphores == {"A": 1}
        assert handle.remaining > 290
        assert abs(handle.held_since - datetime.now(timezone.utc)) < timedelta(minutes=1)
        handle.check()
    assert not handle.is_held
    assert not handle.lost.is_set()
    assert server.peers() == 0


@pytest.mark.usefixtures("tells_instance")
def test_tokens_grow_with_every_grant(server: Server) -> None:
    with lock(server.url, "A") as first:
        pass
    with lock(server.url, "A") as second:
        pass
    assert first.token is not None
    assert second.token is not None
    assert second.token > first.token
    with lock(server.url, {"B": 1, "A": 1}) as both:
        assert set(both.tokens) == {"A", "B"}
        assert both.token is None


def test_async_lock(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, "A", ttl=30) as handle:
            assert server.client.remainder("A") == 0
            assert handle.is_held
        assert server.peers() == 0

    asyncio.run(main())


def test_an_error_in_the_body_passes_and_releases(server: Server) -> None:
    with pytest.raises(KeyError), lock(server.url, "A"):
        raise KeyError
    assert server.client.remainder("A") == 1


def test_timeout(server: Server) -> None:
    with lock(server.url, "A"):
        with pytest.raises(Timeout, match="'A'"), lock(Client(server.url), "A", timeout=0.2):
            pass
        with pytest.raises(TimeoutError), lock(Client(server.url), "A", timeout=0):
            pass
        assert server.peers() == 1, "who gave up must not stay in the queue"


def test_async_timeout(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(server.url) as client, lock(server.url, "A"):
            with pytest.raises(Timeout):
                await asyncio.create_task(take(client))
        assert server.peers() == 0

    async def take(client: AsyncClient) -> None:
        async with lock(client, "A", timeout=0.2):
            pass

    asyncio.run(main())


def test_nested_locks_share_a_peer_and_leave_one_by_one(server: Server) -> None:
    with lock(server.url, "B") as outer:
        with lock(server.url, "A") as inner:
            assert inner.id == outer.id
            assert server.client.remainder("A") == 0
        assert server.client.remainder("A") == 1
        assert server.client.remainder("B") == 0
        with pytest.raises(HierarchyViolation), lock(server.url, {"A": 1, "B": 2}):
            pass
        assert server.client.remainder("A") == 1
    assert server.peers() == 0


def test_the_shortest_expiry_of_nested_locks_counts(server: Server) -> None:
    with lock(server.url, "B", ttl=60) as outer, lock(server.url, "A", ttl=1) as inner:
        assert outer.remaining <= 1
        assert not inner.lost.wait(1.4)
        outer.check()


def test_nested_async_locks(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, "B") as outer:
            async with lock(server.url, "A") as inner:
                assert inner.id == outer.id
            assert server.client.remainder("A") == 1
            assert outer.is_held
        assert server.peers() == 0

    asyncio.run(main())


def test_the_wrong_order_is_refused_and_rolled_back(server: Server) -> None:
    with lock(server.url, "A"):
        with pytest.raises(HierarchyViolation), lock(server.url, "B"):
            pass
        assert server.client.remainder("B") == 1
        assert server.client.remainder("A") == 0
    if not server.has_v1:
        with pytest.raises(HierarchyViolation), lock(server.url, {"A": 1, "B": 1}):
            pass
    assert server.client.remainder("A") == 1
    assert server.peers() == 0


def test_several_at_once_are_all_or_nothing(server: Server) -> None:
    with lock(server.url, {"B": 1, "A": 1}) as handle:
        assert handle.semaphores == {"B": 1, "A": 1}
        assert server.client.remainder("A") == server.client.remainder("B") == 0
        with pytest.raises(Timeout), lock(Client(server.url), {"B": 1, "A": 1}, timeout=0.1):
            pass
    assert server.peers() == 0
    with lock(server.url, "A"):
        with pytest.raises(Timeout), lock(Client(server.url), {"B": 1, "A": 1}, timeout=0.1):
            pass
        assert server.client.remainder("B") == 1


def test_the_same_semaphore_nested_is_held_until_the_outer_end(server: Server) -> None:
    with lock(server.url, "D", count=3):
        with lock(server.url, "D", count=2) as inner:
            assert inner.is_held
            assert server.client.remainder("D") == 2, "the inner lock must not shrink the outer one"
        assert server.client.remainder("D") == 2
        with pytest.raises(HierarchyViolation, match="larger count first"), lock(server.url, "D", count=4):
            pass
        assert server.client.remainder("D") == 2
    assert server.client.remainder("D") == 5


def test_impossible_requests_are_told_at_once(server: Server) -> None:
    with pytest.raises(CountExceedsMax, match=r"Lock can never be acquired."), lock(server.url, "A", 2):
        pass
    with pytest.raises(UnknownSemaphore, match="Unknown semaphore"), lock(server.url, "nope"):
        pass
    with pytest.raises(ConfigurationError, match="count for 'A' is 0"):
        lock(server.url, "A", 0)
    with pytest.raises(ConfigurationError, match="ttl is 0"):
        lock(server.url, "A", ttl=0)
    with pytest.raises(ConfigurationError, match="on_lost is 'explode'"):
        lock(server.url, "A", on_lost="explode")
    with pytest.raises(ConfigurationError, match="async with"), lock(server.url, "A", on_lost="cancel"):
        pass
    assert server.peers() == 0


def test_a_server_that_is_not_there() -> None:
    client = Client("http://127.0.0.1:1", retry_for=0.3)
    reason = (
        "no connection to the server: connection refused. Is it running there, and are host and port right"
    )
    with pytest.raises(ServerUnreachable, match=reason), lock(client, "A"):
        pass
    with pytest.raises(Timeout), lock(client, "A", timeout=0.1):
        pass


def test_a_server_that_is_not_there_is_told_once_while_it_is_tried(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("throttle_client._transport.PATIENCE_SECONDS", 0.1)
    client = Client("http://127.0.0.1:1", retry_for=2)
    with pytest.raises(ServerUnreachable), lock(client, "A"):
        pass
    (said,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert "http://127.0.0.1:1/v1/locks: no connection to the server: connection refused." in said
    assert said.endswith(("right? It is tried again and again, for 2 s more", "for 1 s more"))


def test_decorators(server: Server) -> None:
    @lock(server.url, "A", timeout=5)
    def plain(number: int) -> int:
        assert server.client.remainder("A") == 0
        return number + 1

    @lock(server.url, "A", timeout=5)
    async def coroutine(number: int) -> int:
        assert server.client.remainder("A") == 0
        return number + 1

    assert plain(1) == 2
    assert plain(2) == 3
    assert asyncio.run(coroutine(3)) == 4
    assert server.client.remainder("A") == 1
    with pytest.raises(TypeError, match="generator"):

        @lock(server.url, "A")
        def generator() -> object:
            yield 1


def test_one_lock_object_serves_many_threads(server: Server) -> None:
    limit = lock(server.url, "C", timeout=20)
    inside: list[int] = []

    def work() -> None:
        for _ in range(3):
            with limit:
                inside.append(server.client.remainder("C"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 18
    assert min(inside) >= 0
    assert server.peers() == 0


def test_a_peer_belongs_to_its_task(server: Server) -> None:
    async def child(parent: Handle) -> None:
        async with lock(server.url, "D") as handle:
            assert handle.id != parent.id

    async def main() -> None:
        async with lock(server.url, "D") as parent:
            # Were the peer inherited, both would share the lock, and this would change nothing.
            children = [asyncio.create_task(child(parent)) for _ in range(3)]
            await asyncio.gather(*children)
            assert server.client.remainder("D") == 4
        assert server.peers() == 0

    asyncio.run(main())


def test_blocking_locks_in_tasks_do_not_share_a_peer_either(server: Server) -> None:
    async def hold(inside: asyncio.Event, leave: asyncio.Event) -> int:
        with lock(server.url, "D") as handle:
            inside.set()
            await leave.wait()
            return handle.id

    async def main() -> None:
        inside, leave = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(hold(inside, leave))
        await inside.wait()
        inside.clear()
        second = asyncio.create_task(hold(inside, leave))
        await inside.wait()
        leave.set()
        assert await first != await second

    asyncio.run(main())


def test_waiters_come_in_turn_while_their_wait_outlasts_the_expiry(server: Server) -> None:
    """A waiter asks again and again, which keeps its place: it is renewed by asking."""
    granted: list[int] = []

    def waiting(number: int) -> bool:
        return server.pending("A") == number

    def wait(number: int) -> None:
        with lock(server.url, "A", ttl=1.5, timeout=20):
            granted.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    with lock(server.url, "A", ttl=20):
        for number, thread in enumerate(threads):
            thread.start()
            eventually(partial(waiting, number + 1))
        threading.Event().wait(1.7)
        assert not granted
    for thread in threads:
        thread.join()
    assert granted == [0, 1, 2]


def test_one_thread_for_all_locks(server: Server, network: Network) -> None:
    before = threading.active_count()
    with lock(Client(server.url), "D"), lock(Client(network.url), "D"), lock(server.url, "C"):
        ours = [thread for thread in threading.enumerate() if thread.name == "throttle-renewal"]
        assert len(ours) == 1
        assert ours[0].daemon
    assert before >= 1
