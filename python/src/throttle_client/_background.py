"""The one daemon thread of a process: an event loop that renews, acquires and releases for every lock.

It is a loop and not a blocking worker so that a server that hangs delays nobody but its own peers: all
requests are in flight at the same time. A caller's own event loop may be blocked, or gone, without any
effect here.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Generic, NoReturn, Optional, TypeVar

from ._log import log
from ._settings import Settings
from ._threads import new_event, new_loop, start_thread
from ._transport import AsyncLink

if TYPE_CHECKING:
    from ._keeper import Renewals

__all__ = ["Background", "Job", "background", "call_in_thread", "wake"]

T = TypeVar("T")
# Called on the thread: were it a coroutine, an interrupt could lose it before anybody awaits it.
Work = Callable[[], Coroutine[Any, Any, T]]

# A release that is still under way when the interpreter ends gets this long.
LAST_RELEASES_SECONDS = 2.0

_log = logging.getLogger("throttle_client")


class Job(Generic[T]):
    """Work on the background thread. The end of whoever waits for it does not end it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work[T]) -> None:
        self._loop = loop
        self._work = work
        self._task: Optional[asyncio.Task[None]] = None
        self._outcome: Callable[[], T] = _cancelled
        self._done = new_event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        loop.call_soon_threadsafe(self._start)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until it has ended, or `timeout` seconds are over; return whether it has ended."""
        return self._done.wait(timeout)

    def result(self) -> T:
        """Block until it has ended; return what it returned, or raise what it raised."""
        self.wait()
        return self._outcome()

    def cancel(self) -> None:
        """Give it up, if it has not ended."""
        if not self.done:
            self._loop.call_soon_threadsafe(self._cancel)

    async def ended(self) -> None:
        """Await its end. Whoever is cancelled meanwhile does not stop it."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiters.append((loop, future))
        # If it ended before the step above, this tells; if after it, the future is woken.
        if not self.done:
            await future

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            result = await self._work()
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 (it is for whoever waits)
            self._outcome = partial(_raise, error)
        else:
            self._outcome = partial(_same, result)
        self._done.set()
        for loop, future in self._waiters.copy():
            with contextlib.suppress(RuntimeError):  # That loop is closed.
                loop.call_soon_threadsafe(wake, future)

    def _cancel(self) -> None:
        if self._task is not None:
            self._loop.call_soon(self._task.cancel)  # Not before its first step.


def _same(result: T) -> T:
    return result


def _raise(error: BaseException) -> NoReturn:
    raise error


def _cancelled() -> NoReturn:
    raise asyncio.CancelledError


def wake(future: asyncio.Future[None]) -> None:
    """Let whoever awaits this go on. To be called in its loop."""
    if not future.done():
        future.set_result(None)


class Background:
    """The thread and its loop, with one pool of connections for each server."""

    def __init__(self) -> None:
        self.loop = new_loop()
        self.loop.set_exception_handler(_log_error)
        self.renewals: dict[AsyncLink, Renewals] = {}
        self._links: dict[Settings, AsyncLink] = {}
        self._last: set[asyncio.Task[Any]] = set()
        start_thread(self._run, "throttle-renewal")
        atexit.register(self._let_releases_end)

    def submit(self, work: Work[T]) -> Job[T]:
        """Call `work` on the thread, and await there what it gives."""
        return Job(self.loop, work)

    def link(self, settings: Settings) -> AsyncLink:
        """The connections to one server. To be called on the thread."""
        link = self._links.get(settings)
        if link is None:
            link = self._links[settings] = AsyncLink(settings)
        return link

    def detach(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a release that goes on even if nobody waits for it. To be called on the thread."""
        task = self.loop.create_task(work)
        self._last.add(task)
        task.add_done_callback(self._last.discard)
        return task

    @contextlib.contextmanager
    def last(self) -> Iterator[None]:
        """Within it the running task is a release, which gets its time even if the interpreter ends."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a release is a task of the background thread")
        self._last.add(task)
        try:
            yield
        finally:
            self._last.discard(task)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _let_releases_end(self) -> None:
        if _current is not self or not self._last:
            return

        async def wait() -> None:
            if self._last:
                await asyncio.wait(set(self._last), timeout=LAST_RELEASES_SECONDS)

        with contextlib.suppress(Exception):
            self.submit(wait).wait(LAST_RELEASES_SECONDS + 0.5)


def _log_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say what asyncio would say, but without waiting for a handler."""
    log(logging.ERROR, "%s", context.get("message"), error=context.get("exception"))


_current: Optional[Background] = None
_start_mutex = threading.Lock()
# Loops that a forked child inherited: never closed, for that would reach into the parent's loop.
_inherited: list[Background] = []


def background() -> Background:
    """The thread of this process; it starts with the first lock."""
    global _current
    if _current is not None:
        return _current
    with _start_mutex:
        if _current is None:
            _current = Background()
        return _current


def call_in_thread(function: Callable[..., object], *arguments: object) -> None:
    """Run a user's callback in a short-lived thread, so that it cannot delay a renewal."""

    def run() -> None:
        try:
            function(*arguments)
        except Exception:  # noqa: BLE001 (it is the caller's code)
            _log.exception("the callback for a lost lock failed")

    start_thread(run, "throttle-lost")


def _after_fork_in_child() -> None:
    global _current, _start_mutex
    _start_mutex = threading.Lock()
    if _current is not None:
        _inherited.append(_current)
        _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
