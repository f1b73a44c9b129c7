"""What the client knows about one peer: its locks, how long they are promised, and whether they were lost.

No I/O happens here. Threads that use a lease and the background thread that renews it meet in it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional

from ._clock import now
from ._errors import LockLost
from ._labels import Labels, or_default
from ._log import log
from ._settings import Settings
from ._threads import alone, new_mutex

if TYPE_CHECKING:
    import asyncio

    from ._keeper import Keeper
    from ._outer import Claim

__all__ = ["DEFAULT_TTL_SECONDS", "Around", "Lease"]

DEFAULT_TTL_SECONDS = 300.0


@dataclass(frozen=True)
class Around:
    """What is held of a semaphore around this process."""

    count: int
    token: Optional[int]
    # Whether it belongs to the peer of the lease; else to another one, which this process does not watch.
    in_peer: bool


class Lease:
    """One peer, seen from the client. `peer_id` is `None` until the server made it."""

    def __init__(
        self,
        settings: Settings,
        ttl: float,
        peer_id: Optional[int] = None,
        acquired: Optional[dict[str, int]] = None,
        interval: Optional[float] = None,
        labels: Optional[Labels] = None,
    ) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self.ttl = ttl
        self.peer_id = peer_id
        # Sent when the peer is created; `None`: the default ones of the process that creates it.
        self.labels = labels
        self.acquired: dict[str, int] = {} if acquired is None else acquired
        self.tokens: dict[str, int] = {}
        # How many handles share each semaphore: nested locks on the same one are held until the outermost
        # ends.
        self.depth: dict[str, int] = {}
        # What was given up and may still be held on the server, since no release has succeeded yet.
        self.unreleased: set[str] = set()
        self.instance: Optional[str] = None
        self.deadline: Optional[float] = None
        self.confirmed_at = now()
        self.restored_at = 0.0
        self.loss: Optional[LockLost] = None
        self.renewing = True
        # The peer was deleted with its last lock. A local one is then replaced, the caller's is revived.
        self.ended = False
        self.wanted_interval = interval
        # How many requests wait for more: it is renewed meanwhile, too.
        self.waiting = 0
        # Whether it may share the peer of a lock around this process: found out with the first request.
        self.may_share = False
        # It does. The peer then belongs to that lock, which releases it, and brings it back after a restart.
        self.claim: Optional[Claim] = None
        self.around: dict[str, Around] = {}
        # What is held here because it is held around this process.
        self.leaning: set[str] = set()
        # Both belong to the loop of the background thread.
        self.keeper: Optional[Keeper] = None
        self.gate: Optional[asyncio.Lock] = None
        self._mutex = new_mutex()
        self._listeners: list[Callable[[LockLost], None]] = []

    def labels_to_restore(self) -> Optional[Labels]:
        """What a server that forgot the peer is told of it; nothing if it takes no labels."""
        return None if self.instance is None else or_default(self.labels)

    @property
    def interval(self) -> float:
        """Seconds between renewals: a third of the expiry, or less if the caller wishes so."""
        third = self.ttl / 3
        return third if self.wanted_interval is None else min(third, self.wanted_interval)

    @alone
    def confirm(self, sent_at: float, instance: Optional[str]) -> None:
        """The server knows the peer. Its promise counts from before the request was sent."""
        if self.loss is not None:
            return
        deadline = sent_at + self.ttl
        self.deadline = deadline if self.deadline is None else max(self.deadline, deadline)
        self.confirmed_at = max(self.confirmed_at, sent_at)
        self.instance = instance

    def grant(self, semaphore: str, count: int, token: Optional[int]) -> None:
        """A lock was acquired."""
        self.acquired[semaphore] = count
        if token is None:
            self.tokens.pop(semaphore, None)
        else:
            self.tokens[semaphore] = token

    def drop(self, semaphore: str) -> None:
        """A lock is about to be released, so it must not be restored any more."""
        self.acquired.pop(semaphore, None)
        self.tokens.pop(semaphore, None)

    def share(self, peer_id: int, ttl: float, claim: Claim) -> None:
        """Belong to the peer of a lock around this process from now on."""
        self.peer_id, self.ttl, self.claim = peer_id, ttl, claim

    def start_over_after_share(self) -> None:
        """Find a peer anew if the one that was shared is not to be used any more."""
        if self.claim is not None and self.claim.is_over:
            self.peer_id, self.claim, self.deadline = None, None, None
            self.may_share = True
            self.around = {}

    def lean(self, semaphore: str) -> None:
        """Count a lock that is held around this process as held."""
        around = self.around[semaphore]
        self.leaning.add(semaphore)
        self.grant(semaphore, around.count, around.token)

    @property
    def own(self) -> dict[str, int]:
        """The locks that are held here, and not around this process anyway."""
        return {name: count for name, count in self.acquired.items() if name not in self.leaning}

    @property
    def own_tokens(self) -> dict[str, int]:
        """Their fencing tokens."""
        return {name: token for name, token in self.tokens.items() if name not in self.leaning}

    def _is_seen(self, semaphore: str) -> bool:
        """Whether an answer about the peer tells of this lock."""
        return semaphore not in self.leaning or self.around[semaphore].in_peer

    def moved(self, answer_instance: Optional[str]) -> bool:
        """Whether an answer comes from another state than the one that granted the locks."""
        return bool(self.acquired) and self.instance is not None and self.instance != answer_instance

    def may_restore(self, answer_instance: Optional[str]) -> bool:
        """Whether an unknown peer may come back with its locks.

        If the server's state is the one that granted them, it ended them on purpose, and someone else may
        hold them. Servers up to 0.5 do not tell; there every client always restored.
        """
        return not self.acquired or self.instance is None or self.instance != answer_instance

    @property
    def overdue(self) -> bool:
        """Whether the promised time is over."""
        return self.deadline is not None and now() >= self.deadline

    def expire_if_overdue(self) -> None:
        """Count the locks as lost once the promised time passed without a renewal."""
        if self.loss is None and self.acquired and self.overdue:
            self.lose("expired", f"no renewal succeeded within the promised {self.ttl:.3g} s")

    def compare(self, before: Mapping[str, int], held: Optional[Mapping[str, object]]) -> None:
        """Count the locks as lost if the peer lives but does not hold one of them any more.

        `before` has the tokens from before the server was asked what is `held`. A lock that was granted since
        need not be in its answer.
        """
        if held is None:
            return
        missing = filter(self._is_seen, before.keys() - held.keys())
        gone = sorted(name for name in missing if self.tokens.get(name) == before[name])
        if gone:
            what = ", ".join(map(repr, gone))
            self.lose("released", f"the server released {what} and let the peer live")

    def lose(self, reason: str, why: str, detail: Optional[str] = None) -> LockLost:
        """Count all locks as lost and tell everybody who listens. Only the first call has an effect.

        `detail` is what the server says about it.
        """
        loss, listeners = self._count_as_lost(reason, why, detail)
        if listeners is not None:
            for listener in listeners:
                listener(loss)
            log(logging.WARNING, "%s", loss)
        return loss

    @alone
    def _count_as_lost(
        self, reason: str, why: str, detail: Optional[str]
    ) -> tuple[LockLost, Optional[list[Callable[[LockLost], None]]]]:
        """The loss, and who is to be told of it; nobody if all were."""
        if self.loss is not None:
            return self.loss, None
        names = sorted(self.acquired)
        what = ", ".join(repr(name) for name in names)
        of = f"(peer {self.peer_id} at {self.settings.shown_url}): {why}."
        told = (
            f"lost the lock on {what} {of} Someone else may hold it by now."
            if names
            else f"the wait for a lock was ended {of}"
        )
        self.loss = LockLost(
            f"{told} The server says: {detail}" if detail else told,
            reason=reason,
            semaphores=names,
            detail=detail,
        )
        self.acquired.clear()
        self.tokens.clear()
        return self.loss, list(self._listeners)

    @alone
    def forget_seen_loss(self) -> None:
        """Start over after a loss, unless someone is still inside a lock that was lost."""
        if self.loss is not None and not self.depth:
            self.loss = None
            self.deadline = None

    @alone
    def set_ttl(self, ttl: float) -> None:
        """Use another expiry. While locks are held it can only become shorter: a peer has but one."""
        if self.claim is not None:
            return  # That of the lock around this process counts.
        if self.acquired or self.depth:
            ttl = min(ttl, self.ttl)
            if self.deadline is not None:
                self.deadline = min(self.deadline, now() + ttl)
        self.ttl = ttl

    @alone
    def enter(self, semaphores: Iterable[str]) -> None:
        """One more handle holds these locks, which are acquired."""
        for name in semaphores:
            self.depth[name] = self.depth.get(name, 0) + 1

    @alone
    def leave(self, semaphores: Iterable[str]) -> list[str]:
        """One handle less; returns the locks that nobody holds any more."""
        free: list[str] = []
        for name in semaphores:
            depth = self.depth.get(name, 0) - 1
            if depth > 0:
                self.depth[name] = depth
            else:
                self.depth.pop(name, None)
                free.append(name)
        return free

    def listen(self, listener: Callable[[LockLost], None]) -> None:
        """Call `listener` when the locks are lost, at once if they are already."""
        loss = self._add(listener)
        if loss is not None:
            listener(loss)

    @alone
    def _add(self, listener: Callable[[LockLost], None]) -> Optional[LockLost]:
        self._listeners.append(listener)
        return self.loss

    @alone
    def unlisten(self, listener: Callable[[LockLost], None]) -> None:
        """Undo `listen`."""
        if listener in self._listeners:
            self._listeners.remove(listener)
