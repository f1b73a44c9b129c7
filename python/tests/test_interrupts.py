"""Cancellation and KeyboardInterrupt, while waiting and while holding, leave nothing behind."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest
from conftest import Network, Server, eventually, finish, first_line, program

from throttle_client import Client, lock

pytestmark = pytest.mark.either_dialect


def test_interrupt_while_holding(server: Server) -> None:
    holder = program("holder.py", server.url, "A", 60)
    assert first_line(holder) == "waiting"
    assert first_line(holder) == "held"
    holder.send_signal(signal.SIGINT)
    assert "interrupted" in finish(holder)
    assert server.peers() == 0


def test_interrupt_while_waiting(server: Server) -> None:
    with lock(server.url, "A"):
        waiter = program("holder.py", server.url, "A", 60)
        assert first_line(waiter) == "waiting"
        eventually(lambda: server.pending("A") == 1)
        waiter.send_signal(signal.SIGINT)
        assert finish(waiter).strip() == "interrupted"
        assert server.pending("A") == 0
        assert server.peers() == 1


def test_interrupts_at_random_moments(server: Server) -> None:
    assert "clean" in finish(program("interrupted.py", server.url, "C", 40), timeout=120)
    assert server.peers() == 0


def test_an_interrupt_at_each_point_where_python_lets_one_in(server: Server) -> None:
    last = finish(program("interrupted_everywhere.py", server.url, "C"), timeout=300).split()
    assert last[:2] == ["clean", "after"]
    assert int(last[2]) > 100


def test_interrupts_of_nested_locks_at_random_moments(server: Server) -> None:
    assert "clean" in finish(program("interrupted.py", server.url, "A", 10, "B"))
    assert server.peers() == 0


@pytest.mark.parametrize("nested", [False, True])
def test_cancelled_while_waiting(server: Server, nested: bool) -> None:
    async def wait() -> None:
        async with lock(server.url, "A"):
            pytest.fail("it cannot be granted")

    async def wait_nested() -> None:
        async with lock(server.url, "B"):
            await wait()

    async def main() -> None:
        async with lock(server.url, "A"):
            task = asyncio.create_task(wait_nested() if nested else wait())
            await asyncio.to_thread(eventually, lambda: server.pending("A") == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.pending("A") == 0
            assert server.client.remainder("B") == 1
            assert server.peers() == 1

    asyncio.run(main())


def test_an_inner_wait_that_is_cancelled_leaves_the_outer_lock_alone(server: Server) -> None:
    async def inner() -> None:
        async with lock(server.url, "A"):
            pytest.fail("it cannot be granted")

    async def main() -> None:
        with lock(Client(server.url), "A"):
            async with lock(server.url, "B") as outer:
                # wait_for runs the coroutine in this task or in another; a peer of this one is what matters.
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.3, task.cancel)
                with pytest.raises(asyncio.CancelledError):
                    await inner()
                assert server.pending("A") == 0
                assert outer.is_held
                assert server.client.remainder("B") == 0
                outer.check()
        assert server.peers() == 0

    asyncio.run(main())


def test_cancelled_while_holding(server: Server) -> None:
    async def hold(inside: asyncio.Event) -> None:
        async with lock(server.url, "A", on_lost="cancel"):
            inside.set()
            await asyncio.Event().wait()

    async def main() -> None:
        inside = asyncio.Event()
        task = asyncio.create_task(hold(inside))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.peers() == 0

    asyncio.run(main())


def test_cancelled_at_random_moments(server: Server) -> None:
    async def use() -> None:
        async with lock(server.url, "C", ttl=60):
            await asyncio.sleep(0.002)

    async def main() -> None:
        for _ in range(60):
            task = asyncio.create_task(use())
            await asyncio.sleep(random.uniform(0, 0.02))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # A peer whose creation was cut off expires unknown; none of them may hold or wait for anything.
        await asyncio.to_thread(eventually, lambda: server.client.remainder("C") == 3)
        assert server.pending("C") == 0

    asyncio.run(main())


def test_a_loop_that_ends_does_not_take_the_release_with_it(server: Server) -> None:
    loop = asyncio.new_event_loop()

    async def begin() -> asyncio.Task[None]:
        inside = asyncio.Event()
        task = asyncio.create_task(hold(inside))
        await inside.wait()
        return task

    async def hold(inside: asyncio.Event) -> None:
        async with lock(server.url, "A"):
            inside.set()
            await asyncio.Event().wait()

    task = loop.run_until_complete(begin())
    task.cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    eventually(lambda: server.peers() == 0)
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


def test_a_wait_that_is_cancelled_while_the_network_is_cut(server: Server, network: Network) -> None:
    async def wait() -> None:
        async with lock(network.url, "A", ttl=2):
            pytest.fail("it cannot be granted")

    async def main() -> None:
        async with lock(server.url, "A"):
            task = asyncio.create_task(wait())
            await asyncio.to_thread(eventually, lambda: server.pending("A") == 1)
            network.cut()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            network.heal()
            await asyncio.to_thread(eventually, lambda: server.peers() == 1)
            assert server.pending("A") == 0

    asyncio.run(main())
