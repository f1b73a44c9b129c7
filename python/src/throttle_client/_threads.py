"""Threads of the system, also where gevent has put greenlets in their place.

With `gevent.monkey.patch_all()` a new thread is a greenlet, and a greenlet that computes stops all others: no
lock would be renewed meanwhile. So what renews runs on what gevent replaced, and who waits for it lets other
greenlets run.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import socket
import sys
import threading
from typing import Any, Callable, Optional, Protocol, TypeVar

__all__ = ["Event", "alone", "new_event", "new_loop", "new_mutex", "new_queue", "start_thread"]

F = TypeVar("F", bound=Callable[..., Any])


class Event(Protocol):
    """What `threading.Event` is; set on one thread, waited for on another."""

    def set(self) -> None:
        """Wake all who wait, now and later."""

    def is_set(self) -> bool:
        """Whether it was set."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until it is set, or `timeout` seconds are over, and return whether it is."""


def new_event() -> Event:
    """An event that threads of the system and greenlets share."""
    return _GreenletEvent() if _has_greenlets() else _ThreadEvent()


def alone(step: F) -> F:
    """Let one thread at a time run this step of an object, whose `_mutex` is a `new_mutex()`.

    It must not wait for anything, nor run another such step. On Python 3.14 an interrupt can strike when
    `with` has the mutex and would not give it back yet (python/cpython#148874); the background thread would
    wait for it for ever.
    """

    @functools.wraps(step)
    def run(self: Any, *arguments: Any) -> Any:
        try:
            with self._mutex:
                return step(self, *arguments)
        except BaseException:
            if self._mutex._is_owned():
                self._mutex.release()
            raise

    return run  # type: ignore[return-value]


def new_mutex() -> Any:
    """What steps that are `alone` need."""
    return _original("_thread", "RLock")()


def new_queue() -> queue.SimpleQueue[Any]:
    """A queue that threads of the system and greenlets put things into; only the former take them out."""
    made: queue.SimpleQueue[Any] = _original("_queue", "SimpleQueue")()
    return made


def start_thread(work: Callable[[], object], name: str) -> None:
    """Start a daemon thread of the system."""
    if _has_greenlets():
        _original("_thread", "start_new_thread")(work, ())
    else:
        threading.Thread(target=work, name=name, daemon=True).start()


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop for a thread of the system."""
    if not _has_greenlets():
        return asyncio.new_event_loop()
    return _Loop(_original("selectors", "DefaultSelector")())


def _has_greenlets() -> bool:
    """Whether a new thread would be a greenlet."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _original(module: str, name: str) -> Any:
    """What stood in a module of the standard library before gevent replaced it."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(__import__(module), name)


class _ThreadEvent:
    """`threading.Event` without its lock, which both sides take in turn.

    A KeyboardInterrupt can strike in `Condition.__enter__`, when that lock is taken and nothing is there yet
    to give it back. The background thread would then wait for it for ever, and renew nothing any more. Here
    each waiter has a lock of its own, and no step of one side can hold up the other.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[Any] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for waiter in self._waiters.copy():
            with contextlib.suppress(RuntimeError):  # Another thread sets it, too.
                waiter.release()

    def wait(self, timeout: Optional[float] = None) -> bool:
        if self._is_set:
            return True
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        try:
            # If it was set before the step above, the flag tells; if after it, the lock is released.
            return self._is_set or waiter.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        finally:
            self._waiters.remove(waiter)


class _Loop(asyncio.SelectorEventLoop):
    """A loop that looks names up on a thread of the system; asyncio would take a greenlet that never runs."""

    async def getaddrinfo(self, *arguments: Any, **options: Any) -> Any:
        future = self.create_future()
        find = _original("socket", "getaddrinfo")

        def answer(addresses: Any, error: Optional[OSError]) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(addresses)
            else:
                future.set_exception(error)

        def work() -> None:
            addresses, error = None, None
            try:
                addresses = find(*arguments, **options)
            except OSError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 (such as a name that cannot be encoded)
                error = socket.gaierror(str(failure))
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self.call_soon_threadsafe(answer, addresses, error)

        start_thread(work, "throttle-names")
        return await future


class _GreenletEvent:
    """Waits as a greenlet does: it lets the others run, and is woken from any thread.

    The locks of gevent do not serve here: where all others have ended, whoever waits for a thread that gevent
    knows nothing of is told that nobody is left to wake it.
    """

    def __init__(self) -> None:
        # Threads of the system share it, too. Whoever holds it must not wait for anything.
        self._mutex = _original("_thread", "allocate_lock")()
        self._is_set = False
        self._wakers: set[Any] = set()

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        with self._mutex:
            self._is_set = True
            for waker in self._wakers:
                waker.send()

    def wait(self, timeout: Optional[float] = None) -> bool:
        import gevent  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from gevent.hub import Waiter  # type: ignore[import-untyped, import-not-found, unused-ignore]

        hub = gevent.get_hub()
        # Another thread wakes the loop of this one by it, and the loop has something to wait for.
        waiter, waker = Waiter(hub), hub.loop.async_()
        waker.start(waiter.switch, None)
        try:
            with self._mutex:
                if self._is_set:
                    return True
                self._wakers.add(waker)
            with gevent.Timeout(timeout, False):
                waiter.get()
        finally:
            with self._mutex:
                self._wakers.discard(waker)
            waker.stop()
            waker.close()
        return self._is_set
