"""Many leases in one process: few requests renew them, and a crowd does not make itself late."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import Gateway, Server, eventually, serving

from throttle_client import Client, LockLost, _keeper, _pace, lock
from throttle_client._pace import Pace
from throttle_client._transport import within, within_by_task

MANY = 40
TTL = 3.0
SOON = 10.0


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Server]:
    """A server with room for all."""
    with serving(tmp_path, f"[semaphores]\nmany = {MANY}\n") as server:
        if not server.has_v1:
            pytest.skip("this server has no /v1")
        yield server


@pytest.fixture
def gateway(wide: Server) -> Iterator[Gateway]:
    """The way to it, which sees all requests."""
    with contextlib.closing(Gateway(wide.port)) as instance:
        yield instance


@pytest.fixture
def _no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lease is renewed by a request of its own."""
    monkeypatch.setattr(_keeper, "LOOKS_PER_SECOND", 0.0)


def batches(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(body) for _, path, body in gateway.bodies if path == "/v1/heartbeats"]


def renewed(gateway: Gateway) -> set[str]:
    return {peer for batch in batches(gateway) for peer in batch["peers"]}


def alone(gateway: Gateway) -> int:
    return sum(path.endswith("/heartbeat") for _, path, _ in gateway.requests)


def enter(stack: contextlib.ExitStack, gateway: Gateway, count: int = MANY) -> list[Any]:
    """Hold so many locks, each with a peer of its own."""
    client = Client(gateway.url)
    return [stack.enter_context(lock(client, "many", ttl=TTL)) for _ in range(count)]


@pytest.mark.usefixtures("_no_looks")
def test_leases_are_renewed_together_and_spread_over_time(wide: Server, gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        handles = enter(stack, gateway)
        eventually(lambda: len(renewed(gateway)) == MANY, timeout=30)
        assert {batch["expires_in"] for batch in batches(gateway)} == {"3000ms"}
        assert 1 < len(batches(gateway)) < MANY
        assert alone(gateway) == 0
        # Longer than what was promised at first.
        assert not handles[-1].lost.wait(1.2 * TTL)
        for handle in handles:
            handle.check()
    assert wide.peers() == 0


@pytest.mark.usefixtures("_no_looks")
def test_requests_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "MOST_AT_ONCE", 2)
    with contextlib.ExitStack() as stack:
        enter(stack, gateway)
        eventually(lambda: len(renewed(gateway)) == MANY, timeout=30)
    assert max(len(batch["peers"]) for batch in batches(gateway)) == 2


@pytest.mark.usefixtures("_no_looks")
def test_a_loss_among_many_is_told_with_its_reason(wide: Server, gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        others = enter(stack, gateway, MANY - 1)
        with pytest.raises(LockLost, match="stuck since noon"), lock(gateway.url, "many", ttl=TTL) as handle:
            wide.kick(handle.id, "stuck since noon")
            assert handle.lost.wait(SOON)
        for other in others:
            other.check()


@pytest.mark.usefixtures("_no_looks")
def test_a_server_that_forgot_many_gets_all_back(wide: Server, gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        handles = enter(stack, gateway, 10)
        eventually(lambda: batches(gateway))
        wide.stop()
        wide.start()
        eventually(lambda: wide.client.remainder("many") == MANY - 10)
        for handle in handles:
            handle.check()
    assert wide.peers() == 0


@pytest.mark.usefixtures("_no_looks")
def test_what_refuses_many_at_once_may_take_each(gateway: Gateway) -> None:
    def refuse(method: str, path: str) -> Optional[int]:
        return 413 if path == "/v1/heartbeats" else None

    gateway.refuse = refuse
    with contextlib.ExitStack() as stack:
        handles = enter(stack, gateway, 5)
        eventually(lambda: alone(gateway) >= 5)
        assert not handles[0].lost.wait(1.2 * TTL)
        for handle in handles:
            handle.check()


def test_few_leases_are_looked_at_each_time(gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        enter(stack, gateway, 5)
        eventually(lambda: alone(gateway) >= 5)
    assert not batches(gateway)


def test_many_leases_are_looked_at_in_turn(
    wide: Server, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_keeper, "LOOKS_PER_SECOND", 5.0)
    with contextlib.ExitStack() as stack:
        handles = enter(stack, gateway, MANY - 1)
        with pytest.raises(LockLost, match="let the peer live"), lock(gateway.url, "many", ttl=TTL) as handle:
            wide.client.release_lock(handle.id, "many")
            assert handle.lost.wait(30)
        assert batches(gateway)
        for other in handles:
            other.check()


def test_a_lease_is_renewed_while_it_waits(wide: Server, gateway: Gateway) -> None:
    granted = threading.Event()

    def wait() -> None:
        with lock(gateway.url, "many", ttl=1):
            granted.set()

    with lock(wide.url, "many", count=MANY):
        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: len(batches(gateway)) > 3)
        puts = [path for method, path, _ in gateway.requests if method == "PUT"]
        assert len(puts) < len(batches(gateway)), "it need not ask again"
        assert wide.peers() == 2
    waiter.join()
    assert granted.is_set()


def test_a_crowd_enters_in_order_and_few_at_a_time() -> None:
    entered: list[int] = []
    inside: list[int] = []

    async def pass_through(pace: Pace, number: int) -> None:
        await pace.enter(None)
        entered.append(number)
        inside.append(number)
        assert len(inside) <= 3
        await asyncio.sleep(0)
        inside.remove(number)
        pace.leave()

    async def main() -> None:
        pace = Pace(3)
        await asyncio.gather(*(pass_through(pace, number) for number in range(50)))

    asyncio.run(main())
    assert entered == list(range(50))


def test_a_crowd_is_not_held_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        pace = Pace(1)
        await pace.enter(None)
        await pace.enter(0.01)  # Whoever has no more time.
        monkeypatch.setattr(_pace, "STUCK_SECONDS", 0.01)
        await asyncio.gather(*(pace.enter(None) for _ in range(3)))  # Nobody leaves.
        for _ in range(5):
            pace.leave()
        await pace.enter(None)

    asyncio.run(main())


@pytest.mark.parametrize("limited", [within, within_by_task])
def test_work_ends_in_time_and_a_cancellation_is_not_swallowed(limited: Any) -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    async def fail() -> None:
        raise KeyError("x")

    async def main() -> None:
        assert await limited(60, answer()) == 7
        with pytest.raises(KeyError):
            await limited(60, fail())
        begin = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await limited(0.01, asyncio.sleep(60))
        task = asyncio.ensure_future(limited(60, asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - begin < 30

    asyncio.run(main())
