"""Entering and leaving a lock as steps that nothing can tear apart.

They run on the background thread, where no KeyboardInterrupt and no cancellation of the caller can strike
between two lines. The caller only says that it wants in, and that it wants out, which may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable, Optional, Union

from ._acquisition import acquire
from ._adoption import take_over
from ._background import Background, call_in_thread
from ._client import Client
from ._errors import HierarchyViolation, LockLost, NotReleased
from ._handle import Handle
from ._keeper import restart_keeping
from ._labels import Labels
from ._peer import Peer
from ._release import release
from ._settings import Settings

__all__ = ["Holding", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What a `lock` was told, checked."""

    # Settings: the peer of the thread or task. Client: a peer of its own. Peer: that one.
    target: Union[Settings, Client, Peer]
    wanted: Mapping[str, int]
    timeout: Optional[float] = None
    ttl: Optional[float] = None
    interval: Optional[float] = None
    renewing: bool = True
    on_lost: str = "raise"
    notify: Optional[Callable[[LockLost], object]] = None
    priority: int = 0
    labels: Optional[Labels] = None
    # The peer to be taken over, with whatever it holds.
    adopted: Optional[int] = None


class Holding:
    """One pass through a lock, on the background thread."""

    def __init__(self, background: Background, peer: Peer, plan: Plan, on_loss: Callable[[], None]) -> None:
        self._background = background
        self._peer = peer
        self._lease = peer._lease
        self._plan = plan
        self._wanted = plan.wanted
        self._on_loss = on_loss
        self._handle: Optional[Handle] = None
        self._task: Optional[asyncio.Task[object]] = None
        self._left = False

    async def enter(self) -> Handle:
        """Acquire everything, and hold it from then on."""
        if self._left:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        self._lease.forget_seen_loss()
        self._meet_what_is_held()
        self._adjust_renewal()
        if self._plan.labels is not None:
            self._lease.labels = self._plan.labels
        if self._plan.adopted is None:
            await acquire(
                self._background, self._lease, self._wanted, self._plan.timeout, self._plan.priority
            )
        else:
            self._wanted = await take_over(self._background, self._lease)
        # No step below waits for anything: it is held, or it is not.
        self._handle = Handle(self._peer, self._wanted)
        self._lease.enter(self._wanted)
        self._lease.listen(self._lost)
        return self._handle

    async def leave(self) -> Union[LockLost, NotReleased, None]:
        """Stop entering, or release what is held; returns what went wrong, if something did.

        Harmless if repeated.
        """
        self._left = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        handle, self._handle = self._handle, None
        if handle is None:
            return None
        lease = self._lease
        lease.expire_if_overdue()
        lease.unlisten(self._lost)
        handle._ended = True
        loss = handle.lost.loss
        free = lease.leave(self._wanted)
        if free and not (loss is not None and lease.depth):
            if not lease.acquired.keys() - set(free):
                lease.ended = True
            if loss is None:
                with self._background.last():
                    return await release(self._background, lease, free)
            self._background.detach(release(self._background, lease, free))
        return loss

    def _adjust_renewal(self) -> None:
        """Bring together what this lock wants and what those around it want: they share one peer."""
        lease, plan = self._lease, self._plan
        held = bool(lease.acquired)
        lease.renewing = plan.renewing or (held and lease.renewing)
        if plan.interval is not None:
            lease.wanted_interval = min(plan.interval, lease.interval) if held else plan.interval
        if plan.ttl is not None:
            lease.set_ttl(plan.ttl)
        # It may be asleep for longer than the new expiry.
        restart_keeping(self._background, lease)

    def _meet_what_is_held(self) -> None:
        lease = self._lease
        if lease.loss is not None:
            raise lease.loss
        for name, count in self._plan.wanted.items():
            held = lease.acquired.get(name)
            if held is None:
                continue
            if count > held:
                raise HierarchyViolation(
                    f"{name!r} is already held here with count {held}, so a count of {count} would wait for "
                    "what this process itself holds. Take the larger count first.",
                    status=409,
                )
            if name not in lease.depth:
                lease.enter([name])  # Acquired by hand: it stays when this lock ends.

    def _lost(self, loss: LockLost) -> None:
        if self._handle is None:
            return
        self._handle.lost._set(loss)
        if self._plan.notify is not None:
            call_in_thread(self._plan.notify, self._handle.lost.loss)
        self._on_loss()
