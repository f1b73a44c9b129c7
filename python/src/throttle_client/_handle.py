"""What the holder of a lock sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Generator, Mapping
from datetime import datetime, timezone
from typing import Optional

from ._background import wake
from ._clock import now
from ._errors import LockLost
from ._peer import Peer
from ._threads import new_event

__all__ = ["Handle", "LossEvent"]


class LossEvent:
    """Set when the lock is lost. Wait for it in a thread, or await it: both give the `LockLost`."""

    def __init__(self) -> None:
        self._event = new_event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._loss: Optional[LockLost] = None

    def __repr__(self) -> str:
        return f"<LossEvent {'set' if self.is_set() else 'unset'}>"

    def is_set(self) -> bool:
        """Whether the lock was lost."""
        return self._event.is_set()

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Block until the lock is lost, or `timeout` seconds are over; `True` if it was lost."""
        return self._event.wait(timeout)

    @property
    def loss(self) -> Optional[LockLost]:
        """What happened, once it is lost. Each access gives an exception of its own, fit to be raised."""
        return None if self._loss is None else self._copy(self._loss)

    @staticmethod
    def _copy(loss: LockLost) -> LockLost:
        return LockLost(str(loss), reason=loss.reason, semaphores=loss.semaphores, detail=loss.detail)

    def __await__(self) -> Generator[object, None, LockLost]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> LockLost:
        loop = asyncio.get_running_loop()
        waiter = (loop, loop.create_future())
        self._waiters.append(waiter)
        try:
            # If it was lost before the step above, this tells; if after it, the future is woken.
            if self._loss is None:
                await waiter[1]
        finally:
            self._waiters.remove(waiter)
        loss = self._loss
        if loss is None:
            raise RuntimeError("woken without a loss")
        return loss

    def _set(self, loss: LockLost) -> None:
        if self._loss is not None:
            return
        self._loss = loss
        self._event.set()
        for loop, future in self._waiters.copy():
            with contextlib.suppress(RuntimeError):  # That loop is closed.
                loop.call_soon_threadsafe(wake, future)


class Handle(Peer):
    """What `with lock(…) as handle` gives.

    It is also a `Peer`, the one that the lock belongs to, since earlier releases gave that.
    """

    def __init__(self, peer: Peer, wanted: Mapping[str, int]) -> None:
        # A view on the state of the peer: nothing is created on the server.
        self._client = peer._client
        self._state = peer._lease
        self.pending = {}
        self._pid = os.getpid()
        self._wanted = dict(wanted)
        self._tokens = {name: token for name, token in self._state.tokens.items() if name in wanted}
        self._ended = False
        self._lost = LossEvent()
        self._held_since = datetime.now(timezone.utc)

    def __repr__(self) -> str:
        state = "held" if self.is_held else "lost" if self._lost.is_set() else "released"
        return f"<Handle {self._wanted} of peer {self._state.peer_id}: {state}>"

    @property
    def semaphores(self) -> dict[str, int]:
        """The locked semaphores with their counts."""
        return dict(self._wanted)

    @property
    def token(self) -> Optional[int]:
        """The fencing token of this grant.

        Each is larger than those of all earlier grants; from a server without a data directory only as long
        as its clock is not set back, between two starts, by more than the earlier run took. Storage that
        remembers the largest it saw can refuse a holder that was overtaken. `None` from servers before 0.6,
        and for several semaphores: see `tokens`.
        """
        return next(iter(self._tokens.values()), None) if len(self._wanted) == 1 else None

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each semaphore."""
        return dict(self._tokens)

    @property
    def held_since(self) -> datetime:
        """When the lock was acquired, in UTC by the clock of this machine."""
        return self._held_since

    @property
    def remaining(self) -> float:
        """Seconds for which the lock is promised, should no renewal succeed any more; 0 if it is not held."""
        deadline = self._state.deadline
        if not self.is_held or deadline is None:
            return 0.0
        return max(0.0, deadline - now())

    @property
    def lost(self) -> LossEvent:
        """An event for the loss: `lost.is_set()`, `lost.wait(timeout)`, or `await lost`."""
        return self._lost

    @property
    def is_held(self) -> bool:
        """Whether the lock is held at this very moment, as far as can be known from here."""
        if self._ended or self._pid != os.getpid():
            return False
        self._state.expire_if_overdue()
        return not self._lost.is_set() and self._wanted.keys() <= self._state.acquired.keys()

    def check(self) -> None:
        """Raise `LockLost` if the lock is lost. Call it before each step that must not run without it."""
        if self._pid != os.getpid():
            raise LockLost(
                f"the lock on {', '.join(map(repr, self._wanted))} belongs to process {self._pid}; this is "
                f"its child {os.getpid()}, which needs a lock of its own.",
                reason="forked",
                semaphores=tuple(self._wanted),
            )
        if not self._ended:
            self._state.expire_if_overdue()
        loss = self._lost.loss
        if loss is not None:
            raise loss
