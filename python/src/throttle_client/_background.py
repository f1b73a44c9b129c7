"""The one daemon thread of a process: an event loop that renews, acquires and releases for every lock.

It is a loop and not a blocking worker so that a server that hangs delays nobody but its own peers: all
requests are in flight at the same time. A caller's own event loop may be blocked, or gone, without any
effect here.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any, Callable, Generic, Optional, TypeVar

from ._settings import Settings
from ._transport import AsyncLink

__all__ = ["Background", "Job", "background"]

T = TypeVar("T")

# A release that is still under way when the interpreter ends gets this long.
LAST_RELEASES_SECONDS = 2.0

_log = logging.getLogger("throttle_client")


class Job(Generic[T]):
    """Work on the background thread. Nobody who waits for it can cancel it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._work = work
        self.future: concurrent.futures.Future[T] = concurrent.futures.Future()
        # A future that is running cannot be cancelled, whatever asyncio.wrap_future tries.
        self.future.set_running_or_notify_cancel()
        loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._loop.create_task(self._work).add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.future.set_exception(concurrent.futures.CancelledError())
            return
        error = task.exception()
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())


class Background:
    """The thread and its loop, with one pool of connections for each server."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="throttle-renewal", daemon=True)
        self._links: dict[Settings, AsyncLink] = {}
        self._last: set[asyncio.Task[Any]] = set()
        self.thread.start()
        atexit.register(self._let_releases_end)

    def submit(self, work: Coroutine[Any, Any, T]) -> Job[T]:
        """Start work on the thread."""
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
            self.submit(wait()).future.result(timeout=LAST_RELEASES_SECONDS + 0.5)


_current: Optional[Background] = None
_start_mutex = threading.Lock()
# Loops that a forked child inherited: never closed, for that would reach into the parent's loop.
_inherited: list[Background] = []


def background() -> Background:
    """The thread of this process; it starts with the first lock."""
    global _current
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

    threading.Thread(target=run, name="throttle-lost", daemon=True).start()


def _after_fork_in_child() -> None:
    global _current, _start_mutex
    _start_mutex = threading.Lock()
    if _current is not None:
        _inherited.append(_current)
        _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
