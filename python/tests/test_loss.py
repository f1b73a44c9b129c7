"""A lock that is lost is never lost in silence, and one that is not lost survives."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
import time

import pytest
from conftest import Gateway, Network, Server, eventually

from throttle_client import Client, LockLost, ServerError, Timeout, UnknownPeer, lock

pytestmark = pytest.mark.either_dialect

# Servers up to 0.5 cannot tell a restart from a release, and find expired peers late.
only_new = pytest.mark.usefixtures("tells_instance")

TTL = 1.0
SOON = 10.0


def spin(duration: float) -> None:
    """Keep the interpreter busy without a pause."""
    end = time.monotonic() + duration
    while time.monotonic() < end:
        sum(range(1000))


@only_new
def test_operator_releases_a_lock(server: Server) -> None:
    told: list[LockLost] = []
    got_told = threading.Event()

    def notify(loss: LockLost) -> None:
        told.append(loss)
        got_told.set()

    with (
        pytest.raises(LockLost, match="operator") as caught,
        lock(server.url, "A", ttl=TTL, notify=notify) as handle,
    ):
        server.client.release(handle.id)
        with lock(Client(server.url), "A"):
            assert handle.lost.wait(SOON)
            assert got_told.wait(SOON)
            assert not handle.is_held
            with pytest.raises(LockLost):
                handle.check()
            assert server.client.remainder("A") == 0, "it must not be restored over somebody else's grant"
    assert caught.value.reason == "released"
    assert caught.value.semaphores == ("A",)
    assert [loss.reason for loss in told] == ["released"]
    assert server.client.remainder("A") == 1


@only_new
def test_operator_releases_a_lock_async(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, "A", ttl=TTL) as handle:
            server.client.release(handle.id)
            loss = await asyncio.wait_for(handle.lost, SOON)
            assert loss.reason == "released"

    with pytest.raises(LockLost, match="operator"):
        asyncio.run(main())


@only_new
def test_the_body_is_cancelled_by_choice(server: Server) -> None:
    reached: list[str] = []

    async def main() -> None:
        task = asyncio.current_task()
        with pytest.raises(LockLost):
            async with lock(server.url, "A", ttl=TTL, on_lost="cancel") as handle:
                server.client.release(handle.id)
                try:
                    await asyncio.sleep(SOON)
                finally:
                    reached.append("cleanup")
                reached.append("end")
        # The task itself goes on as if nothing was cancelled.
        await asyncio.sleep(0)
        cancelling = getattr(task, "cancelling", None)
        assert cancelling is None or cancelling() == 0

    asyncio.run(main())
    assert reached == ["cleanup"]


@only_new
def test_a_loss_may_be_ignored(server: Server) -> None:
    with lock(server.url, "A", ttl=TTL, on_lost="ignore") as handle:
        server.client.release(handle.id)
        assert handle.lost.wait(SOON)
        with pytest.raises(LockLost):
            handle.check()


@only_new
def test_an_error_in_the_body_does_not_hide_a_loss(server: Server) -> None:
    with pytest.raises(LockLost) as caught, lock(server.url, "A", ttl=TTL) as handle:
        server.client.release(handle.id)
        assert handle.lost.wait(SOON)
        raise KeyError("because the lock was lost")
    assert isinstance(caught.value.__cause__, KeyError)


@only_new
def test_all_nested_locks_are_lost_together(server: Server) -> None:
    with pytest.raises(LockLost), lock(server.url, "B", ttl=TTL) as outer:
        with pytest.raises(LockLost), lock(server.url, "A") as inner:
            server.client.release(outer.id)
            assert outer.lost.wait(SOON)
            assert inner.lost.wait(SOON)
        with pytest.raises(LockLost), lock(server.url, "A"):
            pytest.fail("what was lost cannot be nested in")
    with lock(server.url, "B"):
        pass
    assert server.peers() == 0


def test_a_server_that_starts_anew_gets_the_lock_back(server: Server) -> None:
    granted = threading.Event()

    def wait() -> None:
        with lock(server.url, "A", timeout=30):
            granted.set()

    waiter = threading.Thread(target=wait)
    with lock(server.url, "A", ttl=3 * TTL) as handle:
        peer, token = handle.id, handle.token
        waiter.start()
        eventually(lambda: server.pending("A") == 1)
        server.stop()
        server.start()
        eventually(lambda: peer in [item["id"] for item in server.client.list_of_peers()])
        eventually(lambda: server.client.remainder("A") <= 0)
        assert handle.id == peer
        assert handle.token == token
        assert handle.is_held
    assert granted.wait(SOON)
    waiter.join()
    eventually(lambda: server.peers() == 0)


def test_a_server_that_starts_anew_gets_nested_locks_back_async(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, "B", ttl=3 * TTL):
            async with lock(server.url, "A") as inner:
                server.stop()
                server.start()
                await asyncio.to_thread(eventually, lambda: server.client.remainder("A") == 0)
                assert server.client.remainder("B") == 0
                assert inner.is_held
            assert server.client.remainder("A") == 1
        assert server.peers() == 0

    asyncio.run(main())


@only_new
def test_a_lock_that_the_new_server_does_not_take_back_is_lost(server: Server, network: Network) -> None:
    with (
        pytest.raises(LockLost, match="did not take it back") as caught,
        lock(Client(network.url), "A", ttl=20, heartbeat_interval=0.3) as handle,
    ):
        network.cut()
        server.stop()
        server.start()
        server.client.restore(handle.id, {"C": 1}, expires_in=60)
        network.heal()
        assert handle.lost.wait(SOON)
    assert caught.value.reason == "not restored"


def test_a_cut_shorter_than_the_expiry_is_survived(server: Server, network: Network) -> None:
    with lock(network.url, "A", ttl=2 * TTL) as handle:
        network.cut()
        assert not handle.lost.wait(0.8 * TTL)
        network.heal()
        # Longer than what was promised before the cut: so it was renewed.
        assert not handle.lost.wait(1.8 * TTL)
        assert handle.is_held
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1


@only_new
@pytest.mark.parametrize("heal", [True, False])
def test_a_cut_longer_than_the_expiry_loses_the_lock_before_another_has_it(
    server: Server, network: Network, heal: bool
) -> None:
    overlap: list[bool] = []
    taken = threading.Event()
    with pytest.raises(LockLost) as caught, lock(network.url, "A", ttl=2 * TTL) as handle:

        def take() -> None:
            with lock(server.url, "A", timeout=20):
                overlap.append(handle.is_held)
                taken.set()
                assert handle.lost.wait(SOON)

        other = threading.Thread(target=take)
        other.start()
        eventually(lambda: server.pending("A") == 1)
        network.cut()
        assert taken.wait(SOON)
        if heal:
            network.heal()
        other.join()
        with pytest.raises(LockLost):
            handle.check()
    assert overlap == [False]
    assert caught.value.reason == "expired"
    assert server.client.remainder("A") == 1


def test_a_cut_cancels_the_body_async(server: Server, network: Network) -> None:
    async def main() -> None:
        async with lock(network.url, "A", ttl=TTL, on_lost="cancel"):
            network.cut()
            await asyncio.sleep(SOON)
            pytest.fail("the body was not cancelled")

    begin = time.monotonic()
    with pytest.raises(LockLost, match="no renewal succeeded"):
        asyncio.run(main())
    assert time.monotonic() - begin < SOON
    eventually(lambda: server.peers() == 0)


def test_a_blocked_event_loop_does_not_stop_the_renewal(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, "A", ttl=TTL) as handle:
            # More than twice the interval, and more than the expiry.
            time.sleep(1.3 * TTL)  # noqa: ASYNC251 (that is the point)
            assert handle.is_held
            spin(1.1 * TTL)
            assert handle.is_held
            assert server.client.remainder("A") == 0

    asyncio.run(main())


def test_a_busy_thread_does_not_stop_the_renewal(server: Server) -> None:
    with lock(server.url, "A", ttl=TTL) as handle:
        spin(1.3 * TTL)
        handle.check()
        assert server.client.remainder("A") == 0


def test_without_renewal_the_lock_is_lost_when_its_time_is_over(server: Server) -> None:
    with (
        pytest.raises(LockLost) as caught,
        lock(Client(server.url), "A", heartbeat_interval=None, ttl=0.3) as handle,
    ):
        assert handle.lost.wait(SOON)
    assert caught.value.reason == "expired"


def test_a_server_that_hangs_delays_nobody_else(server: Server, network: Network) -> None:
    healthy = lock(Client(server.url), "D", ttl=TTL)
    hanging = [lock(Client(network.url), "D", ttl=TTL, on_lost="ignore") for _ in range(4)]
    with healthy as alive, hanging[0] as one, hanging[1] as two, hanging[2] as three, hanging[3] as four:
        network.cut()
        for handle in (one, two, three, four):
            assert handle.lost.wait(SOON)
        assert not alive.lost.wait(TTL)
        assert alive.is_held


def test_a_server_that_cannot_tell_gets_the_lock_back_as_it_always_did(server: Server) -> None:
    with contextlib.closing(Gateway(server.port, without="Throttle-Instance")) as old:
        with lock(old.url, "A", ttl=TTL) as handle:
            server.client.release(handle.id)
            assert server.client.remainder("A") == 1
            eventually(lambda: server.client.remainder("A") == 0)
            handle.check()
        assert "/restore" in [path for _, path, _ in old.requests]
    assert server.client.remainder("A") == 1


def test_a_timeout_is_kept_while_the_network_is_cut(server: Server, network: Network) -> None:
    with lock(server.url, "A"):
        begin = time.monotonic()
        network.cut()
        with pytest.raises(Timeout), lock(network.url, "A", timeout=0.5):
            pass
        assert time.monotonic() - begin < SOON


def test_losses_can_be_pickled() -> None:
    loss = LockLost("gone", reason="released", semaphores=["A"], detail="stuck")
    loss = pickle.loads(pickle.dumps(loss))
    assert (str(loss), loss.reason, loss.semaphores, loss.detail) == ("gone", "released", ("A",), "stuck")
    assert pickle.loads(pickle.dumps(UnknownPeer(detail="stuck"))).detail == "stuck"
    assert pickle.loads(pickle.dumps(ServerError("oops", status=502))).status == 502
