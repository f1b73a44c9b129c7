"""What the threads of a program and the background thread share."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from throttle_client._threads import alone, new_event, new_mutex


def test_an_event_wakes_all_who_wait() -> None:
    event, woken = new_event(), []
    waiters = [threading.Thread(target=lambda: woken.append(event.wait(20))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    event.set()
    for waiter in waiters:
        waiter.join()
    event.set()
    assert woken == [True] * 3
    assert event.is_set()
    assert event.wait()
    assert event.wait(0)


@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_an_event_is_waited_for_as_long_as_was_said(timeout: float) -> None:
    event, begun_at = new_event(), time.monotonic()
    assert not event.wait(timeout)
    assert time.monotonic() - begun_at >= timeout
    event.set()
    assert event.wait(timeout)


class _InterruptedMutex:
    """A mutex whose `with` is interrupted when it has it, as Python 3.14 can do it."""

    def __init__(self) -> None:
        self._mutex: Any = new_mutex()

    def __enter__(self) -> None:
        self._mutex.acquire()
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        pytest.fail("it was not entered")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mutex, name)


class _Steps:
    def __init__(self, mutex: Any) -> None:
        self._mutex = mutex

    @alone
    def step(self, answer: int) -> int:
        """A step."""
        if answer < 0:
            raise ValueError(answer)
        return answer


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_step_leaves_its_mutex_free_however_it_ends(interrupted: bool) -> None:
    mutex = new_mutex()
    steps = _Steps(mutex)
    if interrupted:
        steps._mutex = _InterruptedMutex()
        with pytest.raises(KeyboardInterrupt):
            steps.step(1)
        mutex = steps._mutex._mutex
        steps._mutex = mutex
    with pytest.raises(ValueError, match="-1"):
        steps.step(-1)
    results: list[int] = []
    other = threading.Thread(target=lambda: results.append(steps.step(2)))
    other.start()
    other.join(20)
    assert results == [2]
