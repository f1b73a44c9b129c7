"""When leases are renewed, and which of them together. Runs on the background thread."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Sequence
from typing import Callable, Optional

from . import _answers, _protocol
from ._background import Background
from ._clock import now
from ._durations import format_duration
from ._errors import LockLost, ThrottleError
from ._lease import Lease
from ._log import log
from ._renewal import longest_attempt, renew_once
from ._retry import backoff, may_pass
from ._transport import AsyncLink

__all__ = ["Keeper", "Renewals", "restart_keeping", "start_keeping", "stop_keeping"]

# A request for one peer also tells what it holds, and one for many does not. So each lease is renewed by a
# request of its own, up to so many in a second; beyond that they take turns.
LOOKS_PER_SECOND = 20.0
# Far below the limit of a body, which is 1 MiB.
MOST_AT_ONCE = 1000
# What is due within this part of the interval is renewed together.
GRID = 1 / 20


def start_keeping(background: Background, lease: Lease) -> None:
    """Make sure that the lease is renewed from now on. To be called on the background thread."""
    if lease.keeper is not None and lease.keeper.is_active:
        return
    link = background.link(lease.settings)
    renewals = background.renewals.get(link)
    if renewals is None:
        renewals = background.renewals[link] = Renewals(background.loop, link)
    lease.keeper = Keeper(renewals, lease)
    lease.keeper.plan()


def restart_keeping(background: Background, lease: Lease) -> None:
    """Let a renewal that is under way follow a new expiry. To be called on the background thread."""
    if lease.keeper is not None and lease.keeper.is_active:
        lease.keeper.stop()
        start_keeping(background, lease)


async def stop_keeping(lease: Lease, *, wait: bool = False) -> None:
    """End the renewal. Once this returned no request for this lease alone is under way.

    One for many may be, which `wait` waits for.
    """
    keeper, lease.keeper = lease.keeper, None
    if keeper is None:
        return
    task = keeper.stop()
    if task is not None and task is not asyncio.current_task():
        await asyncio.wait({task})
    batch = keeper.batch
    if wait and batch is not None:
        await asyncio.wait({batch})


class Keeper:
    """One lease that is renewed."""

    def __init__(self, renewals: Renewals, lease: Lease) -> None:
        self.lease = lease
        self.is_active = True
        # When the server last told what the peer holds.
        self.looked_at = now()
        # A request for many is of no use to this one.
        self.is_alone = lease.claim is not None
        # The request for many that it is part of.
        self.batch: Optional[asyncio.Task[None]] = None
        self._renewals = renewals
        self._task: Optional[asyncio.Task[None]] = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self._failures = 0
        self._jitter = _jitter()
        self._planned_after = 0.0
        if lease.deadline is None:
            # Locks that came with an existing peer id: nobody knows what is left of their time.
            lease.confirm(now(), None)

    def plan(self) -> None:
        """Wait until the next renewal is due, if there is still something to renew."""
        lease, deadline = self.lease, self.lease.deadline
        if not self.is_active or lease.loss is not None or deadline is None or not self._is_needed():
            self.stop()
            return
        if not lease.acquired:
            deadline = (
                math.inf
            )  # There is nothing to lose, and the request that waits tells what becomes of it.
        step, time = 0.0, now()
        if not lease.renewing:
            due = min(deadline, time + lease.interval)
        elif self._failures:
            due = time + backoff(self._failures - 1, min(0.1, lease.ttl / 20), min(5.0, lease.ttl / 10))
        else:
            due = lease.confirmed_at + lease.interval * self._jitter
            step = lease.interval * GRID
        self._planned_after = lease.confirmed_at
        self._wake_in(min(due, deadline) - time, self._due, step)

    def _is_needed(self) -> bool:
        return bool(self.lease.acquired) or self.lease.waiting > 0

    def stop(self) -> Optional[asyncio.Task[None]]:
        """End it; returns what was under way for this lease alone, which is cancelled."""
        self.is_active = False
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return task

    def begin(self) -> None:
        """Renew it by a request of its own."""
        self._task = self._renewals.loop.create_task(self._renew())
        self._watch()

    def join(self, batch: asyncio.Task[None]) -> None:
        """Be renewed by a request for many."""
        self.batch = batch
        self._watch()

    def done(self, error: Optional[Exception] = None) -> None:
        """The renewal succeeded, or failed by this error."""
        self.batch = self._task = None
        if error is None:
            self._failures = 0
            self._jitter = _jitter()
        else:
            self._failures += 1
            if isinstance(error, ThrottleError):
                log(logging.INFO, "renewal of peer %s failed, trying again: %s", self.lease.peer_id, error)
            else:
                log(logging.ERROR, "renewal of peer %s failed, trying again", self.lease.peer_id, error=error)
        if self.is_active:
            self.plan()

    async def _renew(self) -> None:
        error: Optional[Exception] = None
        try:
            await renew_once(self.lease, self._renewals.link)
            self.looked_at = now()
        except LockLost:
            pass
        except Exception as failure:  # noqa: BLE001 (whatever it is, the renewal goes on)
            error = failure
        self.done(error)

    def _due(self) -> None:
        lease = self.lease
        lease.expire_if_overdue()
        # Another request may have renewed it meanwhile.
        is_renewed = not self._failures and lease.confirmed_at > self._planned_after
        if self._is_needed() and lease.renewing and not is_renewed:
            self._renewals.add(self)
        else:
            self.plan()

    def _watch(self) -> None:
        """Tell of the loss in time, should no answer come."""
        if self.lease.deadline is not None and self.lease.acquired:
            self._wake_in(self.lease.deadline - now(), self._overdue)

    def _overdue(self) -> None:
        self.lease.expire_if_overdue()
        if self.lease.loss is None:
            self._watch()
        else:
            self.stop()

    def _wake_in(self, delay: float, what: Callable[[], None], step: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = self._renewals.loop
        at = loop.time() + max(0.0, delay)
        if step:
            at = max(loop.time(), math.floor(at / step) * step)
        # In a context of its own: the span in which a lock was acquired is not that of its renewals.
        self._timer = loop.call_at(at, what, context=contextvars.Context())


class Renewals:
    """The leases that are due at one list of servers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, link: AsyncLink) -> None:
        self.loop = loop
        self.link = link
        self._due: list[Keeper] = []
        self._looks = LOOKS_PER_SECOND
        self._looks_at = loop.time()

    def add(self, keeper: Keeper) -> None:
        """Renew it with those that are due at the same moment."""
        if not self._due:
            self.loop.call_soon(self._begin, context=contextvars.Context())
        self._due.append(keeper)

    def _begin(self) -> None:
        due, self._due = [keeper for keeper in self._due if keeper.is_active], []
        together: dict[str, list[Keeper]] = {}
        for keeper in sorted(due, key=lambda keeper: keeper.looked_at):
            holds = bool(keeper.lease.acquired)
            if keeper.is_alone or self.link.dialect.lacks_v1 or (holds and self._may_look()):
                keeper.begin()
            else:
                together.setdefault(format_duration(keeper.lease.ttl), []).append(keeper)
        for keepers in together.values():
            for start in range(0, len(keepers), MOST_AT_ONCE):
                part = keepers[start : start + MOST_AT_ONCE]
                task = self.loop.create_task(self._renew(part))
                for keeper in part:
                    keeper.join(task)

    def _may_look(self) -> bool:
        time = self.loop.time()
        self._looks = min(LOOKS_PER_SECOND, self._looks + (time - self._looks_at) * LOOKS_PER_SECOND)
        self._looks_at = time
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    async def _renew(self, keepers: Sequence[Keeper]) -> None:
        ids = {keeper: keeper.lease.peer_id for keeper in keepers}
        peers = [peer_id for peer_id in ids.values() if peer_id is not None]
        limit = min(longest_attempt(keeper.lease, keeper.lease.deadline or 0.0) for keeper in keepers)
        try:
            request = _protocol.heartbeats(peers, keepers[0].lease.ttl)
            answer, sent_at = await self.link.exchange(request, now(), limit)
            gone = _answers.parse_gone(answer)
        except Exception as error:  # noqa: BLE001 (whatever it is, the renewal goes on)
            for keeper in keepers:
                # Who refuses this one may take it from each.
                keeper.is_alone = not (isinstance(error, ThrottleError) and may_pass(error))
                keeper.done(error)
            return
        for keeper, peer_id in ids.items():
            lease = keeper.lease
            if not keeper.is_active or lease.loss is not None:
                keeper.batch = None
            elif lease.acquired and (peer_id in gone or lease.moved(answer.instance)):
                # What became of it, a request of its own tells.
                keeper.batch = None
                keeper.begin()
            else:
                if peer_id not in gone:
                    lease.confirm(sent_at, answer.instance)
                keeper.done()


def _jitter() -> float:
    return random.uniform(0.8, 1.0)  # noqa: S311 (nothing secret)
