"""One pass through `with lock(…)` or `async with lock(…)`, as the caller's thread or task sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import Optional, Union

from . import _local
from ._background import Background, Job, background
from ._client import Client
from ._errors import LockLost, NotReleased
from ._handle import Handle
from ._holding import Holding, Plan
from ._peer import Peer, PeerWithHeartbeat
from ._release import RELEASE_SECONDS
from ._settings import Settings

__all__ = ["Session"]

# What leaving a lock comes to.
Left = Union[LockLost, NotReleased, None]
CANCEL_MESSAGE = "a throttle lock was lost"


class Session:
    """One pass. Not to be used again."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pid = os.getpid()
        self._background = background()
        # The holding must not keep the session alive, else one that was abandoned would be renewed for ever.
        weak = weakref.ref(self)

        def on_loss() -> None:
            session = weak()
            if session is not None:
                session._cancel_soon()

        self._holding = Holding(self._background, _find_peer(plan), plan, on_loss)
        # An interrupt between the grant and the first line of the body leaves nobody else to release it.
        self._abandoned = weakref.finalize(self, _give_up, self._background, self._holding, self._pid)
        self._abandoned.atexit = False  # type: ignore[misc]  # a property that typeshed takes for a slot
        self._task: Optional[asyncio.Task[object]] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._cancelling = 0
        self._cancelled_it = False
        self._inside = False

    def enter(self) -> Handle:
        """Acquire, blocking."""
        try:
            return self._background.submit(self._holding.enter).result()
        except BaseException:
            self._leave().wait(RELEASE_SECONDS)
            raise

    async def aenter(self) -> Handle:
        """Acquire, awaiting."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cancelling = _cancelling(self._task)
        try:
            job = self._background.submit(self._holding.enter)
            await job.ended()
            handle = job.result()
        except BaseException:
            await _settle(self._leave())
            raise
        self._inside = True
        if handle.lost.is_set():
            self._cancel_body()
        return handle

    def exit(self, error: Optional[BaseException]) -> None:
        """Release, blocking, and raise `LockLost` or `NotReleased` if that is due."""
        if self._pid != os.getpid():
            return
        job = self._leave()
        job.wait(RELEASE_SECONDS)
        self._raise(job, error, mine=False)

    async def aexit(self, error: Optional[BaseException]) -> None:
        """Release, awaiting, and raise `LockLost` or `NotReleased` if that is due."""
        self._inside = False
        if self._pid != os.getpid():
            return
        mine = self._cancelled_it and self._is_own_cancellation(error)
        job = self._leave()
        await _settle(job)
        self._raise(job, error, mine=mine)

    def _leave(self) -> Job[Left]:
        job = self._background.submit(self._holding.leave)
        self._abandoned.detach()
        return job

    def _cancel_soon(self) -> None:
        if self._plan.on_lost == "cancel" and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                self._loop.call_soon_threadsafe(self._cancel_body)

    def _cancel_body(self) -> None:
        if not self._inside or self._cancelled_it or self._plan.on_lost != "cancel" or self._task is None:
            return
        self._cancelled_it = True
        self._task.cancel(CANCEL_MESSAGE)

    def _is_own_cancellation(self, error: Optional[BaseException]) -> bool:
        """Whether it was this session alone that cancelled the task."""
        uncancel = getattr(self._task, "uncancel", None)
        # Python 3.9 and 3.10 do not count cancellations; there the message has to tell.
        alone = uncancel() <= self._cancelling if uncancel is not None else True
        if not isinstance(error, asyncio.CancelledError):
            return False
        return alone if uncancel is not None else CANCEL_MESSAGE in error.args

    def _raise(self, job: Job[Left], error: Optional[BaseException], *, mine: bool) -> None:
        loss = job.result() if job.done else None
        if isinstance(loss, NotReleased):
            if error is None:
                raise loss
            return  # It is in the log; the error of the body tells more.
        if loss is None or self._plan.on_lost == "ignore" or isinstance(error, LockLost):
            return
        if error is None:
            raise loss
        # The loss goes first, for it may be what the error came from; but nothing hides an interrupt.
        if mine or isinstance(error, Exception):
            raise loss from error


def _find_peer(plan: Plan) -> Peer:
    if plan.adopted is not None and not isinstance(plan.target, Peer):
        client = plan.target if isinstance(plan.target, Client) else Client._from_settings(plan.target)
        peer: Peer = PeerWithHeartbeat._without_request(client)
        peer._lease.peer_id = plan.adopted
        return peer
    if isinstance(plan.target, Settings):
        peer = _local.obtain(plan.target)
    elif isinstance(plan.target, Client):
        ttl = plan.target.expiration_time.total_seconds()
        peer = PeerWithHeartbeat._without_request(plan.target, ttl)
    else:
        peer = plan.target
        _ = peer.client  # Raises if there is none.
    return peer


def _give_up(thread: Background, holding: Holding, pid: int) -> None:
    if pid == os.getpid():
        with contextlib.suppress(Exception):
            thread.submit(holding.leave)


async def _settle(job: Job[Left]) -> None:
    """Wait for cleanup. If the caller is cancelled meanwhile, the cleanup goes on all the same."""
    waiting = asyncio.ensure_future(job.ended())
    try:
        await asyncio.wait({waiting}, timeout=RELEASE_SECONDS)
    finally:
        waiting.cancel()


def _cancelling(task: Optional[asyncio.Task[object]]) -> int:
    cancelling = getattr(task, "cancelling", None)
    return 0 if cancelling is None else int(cancelling())
