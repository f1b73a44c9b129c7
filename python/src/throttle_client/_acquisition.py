"""Getting locks. Runs on the background thread, for blocking and async callers alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Iterator, Mapping
from typing import Optional

from . import _answers, _protocol
from ._background import Background
from ._clock import now
from ._errors import (
    HierarchyViolation,
    NoSuchRoute,
    NotAcquired,
    RequestRefused,
    ServerUnreachable,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
)
from ._keeper import start_keeping
from ._labels import new_peer, new_peer_with_locks
from ._lease import Lease
from ._outer import outer
from ._place import find_place
from ._release import release, take_back
from ._renewal import gate, recover
from ._retry import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, backoff, may_pass
from ._transport import AsyncLink

__all__ = ["acquire"]

# A request waits at the server no longer than this, so that a dead connection is noticed.
LONGEST_BLOCK_SECONDS = 10.0
# The request that creates the peer waits for so long, which marks it as one whose client is there. The next
# one, which has the id of the peer, can be withdrawn at any moment.
FIRST_WAIT_SECONDS = 0.001
# A failed attempt waits this long for its own cleanup; after that the cleanup goes on by itself.
CLEANUP_SECONDS = 3.0
# An answer may be late by this much beyond the caller's timeout.
GRACE_SECONDS = 1.0


async def acquire(
    background: Background,
    lease: Lease,
    wanted: Mapping[str, int],
    timeout: Optional[float],
    priority: int = 0,
) -> None:
    """Acquire all of `wanted` or nothing; renewal starts with the first grant."""
    link = background.link(lease.settings)
    give_up_at = None if timeout is None else now() + timeout
    lease.ended = False
    lease.start_over_after_share()
    attempt = _Attempt(background, lease, link, give_up_at, priority)
    try:
        attempt.touched.update(dict.fromkeys(lease.unreleased & wanted.keys(), 1))
        await take_back(lease, wanted)
        await attempt.ensure_peer(wanted)
        await attempt.acquire_all(wanted)
    except BaseException as error:
        if not lease.acquired:
            lease.ended = True  # Whoever comes next takes another peer, for this one is about to be deleted.
        doubtful = isinstance(error, (asyncio.CancelledError, ServerUnreachable))
        cleanup = background.detach(attempt.clean_up(doubtful=doubtful))
        await asyncio.wait({cleanup}, timeout=CLEANUP_SECONDS)
        raise


# The state of the server in which a request is pending, and from when on, as the last answer has it.
Queued = tuple[Optional[str], float]


class _Attempt:
    def __init__(
        self,
        background: Background,
        lease: Lease,
        link: AsyncLink,
        give_up_at: Optional[float],
        priority: int,
    ) -> None:
        self.touched: dict[str, int] = {}
        self.creation: Optional[asyncio.Future[None]] = None
        self._background = background
        self._lease = lease
        self._link = link
        self._give_up_at = give_up_at
        self._priority = priority
        # Whether the server took the request into its queue: then its names were right.
        self._has_waited = False
        self._queued: Optional[Queued] = None

    async def ensure_peer(self, wanted: Mapping[str, int]) -> None:
        """See to it that there is a peer. A new one is asked for along with its locks, if the server can."""
        if self._lease.peer_id is None:
            # Even a caller who gave up lets this end, else nobody would know the peer to be deleted.
            self.creation = asyncio.ensure_future(self._create_peer(wanted))
            await asyncio.shield(self.creation)

    async def _create_peer(self, wanted: Mapping[str, int]) -> None:
        lease = self._lease
        async with gate(lease):
            if lease.peer_id is not None:
                return
            if await self._share():
                return
            rest = self._beyond_what_is_around(wanted)
            if rest and not self._link.dialect.lacks_v1:
                self.touched.update(rest)
                wait = 0.0 if self._time_is_over() else FIRST_WAIT_SECONDS
                request = new_peer_with_locks(rest, lease.ttl, lease.labels, self._priority, wait)
            else:
                request = new_peer(lease.ttl, lease.labels)
            await self._link.pace.enter(None if self._give_up_at is None else self._give_up_at - now())
            first_sent_at = now()
            try:
                answer, sent_at = await self._link.exchange(request, self._retry_until(), self._limit())
            except ServerUnreachable as error:
                raise self._unreachable(error) from error
            finally:
                self._link.pace.leave()
            lease.peer_id = _answers.parse_peer_id(answer)
            # A repeat finds the peer of the first attempt, and that is when its time began.
            lease.confirm(first_sent_at, answer.instance)
            locks = _answers.parse_locks(answer)
            if rest and locks is not None and rest.keys() <= locks.keys():
                # For these its time began anew.
                self._take(rest, answer, sent_at)
            elif answer.status == 202:
                self._is_pending(answer, first_sent_at)
                if self._time_is_over():
                    raise self._too_late(rest, answer)

    async def _share(self) -> bool:
        """Use the peer of a lock around this process, if there is one to be shared."""
        around = outer() if self._lease.may_share else None
        if around is None:
            return False
        try:
            await find_place(self._lease, self._link, around, self._retry_until(), self._limit())
        except ServerUnreachable as error:
            raise self._unreachable(error) from error
        self._lease.may_share = False
        return self._lease.claim is not None

    async def clean_up(self, *, doubtful: bool) -> None:
        """Give back what was taken."""
        if self.creation is not None:
            await asyncio.wait({self.creation})
            if not self.creation.cancelled():
                self.creation.exception()
        await release(self._background, self._lease, self.touched, doubtful=doubtful)

    async def acquire_all(self, wanted: Mapping[str, int]) -> None:
        """Acquire in a single step; from a server without `/v1`, one after the other in the given order."""
        # What an outer lock holds is shared with it, and renewed and released by it.
        missing = {name: count for name, count in wanted.items() if name not in self._lease.acquired}
        rest = self._beyond_what_is_around(missing)
        for name in missing.keys() - rest.keys():
            self.touched[name] = wanted[name]
            self._lease.lean(name)
            start_keeping(self._background, self._lease)
        if len(rest) > 1 and not self._link.dialect.lacks_v1:
            with contextlib.suppress(NoSuchRoute):
                await self._acquire(rest)
                return
        for semaphore, count in rest.items():
            await self._acquire({semaphore: count})

    def _beyond_what_is_around(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """What is not held around this process anyway."""
        rest = dict(wanted)
        for name, count in wanted.items():
            held = self._lease.around.get(name)
            if held is None:
                continue
            if count > held.count:
                raise HierarchyViolation(
                    f"{name!r} is held with count {held.count} by a lock around this process, so a count of "
                    f"{count} would wait for what the process itself holds. Take the larger count there.",
                    status=409,
                )
            del rest[name]
        return rest

    async def _acquire(self, locks: Mapping[str, int]) -> None:
        lease = self._lease
        self._note(locks)
        while True:
            if lease.loss is not None:
                raise lease.loss
            peer_id = lease.peer_id
            if peer_id is None:
                raise UnknownPeer
            remaining = None if self._give_up_at is None else max(0.0, self._give_up_at - now())
            block_for = self._link.polls.bound(self._longest_wait())
            if remaining is not None:
                block_for = min(block_for, remaining)
            queued = self._take_queued()
            if_pending = None if queued is None else queued[0]
            request = _protocol.acquire(
                peer_id, locks, lease.ttl, block_for, self._priority, if_pending=if_pending
            )
            asked_at = now()
            try:
                with self._renewed_meanwhile():
                    answer, sent_at = await self._link.exchange(
                        request, self._retry_until(block_for), self._limit(block_for)
                    )
            except UnknownPeer as error:
                await self._come_back(error, asked_at)
                continue
            except (UnknownSemaphore, NotAcquired) as error:
                if self._came_back(queued):
                    continue
                raise self._withdrawn(locks, error) from error
            except ServerUnreachable as error:
                raise self._unreachable(error) from error
            if lease.moved(answer.instance):
                # The peer is known to a new server, but that says nothing of the locks it held.
                await recover(lease, self._link, UnknownPeer(instance=answer.instance), asked_at, known=True)
            if _answers.parse_acquired(answer) and self._take(locks, answer, sent_at):
                return
            self._is_pending(answer, asked_at)
            if self._time_is_over():
                raise self._too_late(locks, answer)
            lease.confirm(sent_at, answer.instance)

    def _is_pending(self, answer: _answers.Answer, since: float) -> None:
        """The server has the request in its queue."""
        self._has_waited = True
        self._queued = (answer.instance, since)

    def _take_queued(self) -> Optional[Queued]:
        """Where it is pending. The answer to the next request has the next word on that."""
        queued, self._queued = self._queued, None
        return None if self._came_back(queued) else queued

    def _came_back(self, queued: Optional[Queued]) -> bool:
        """Whether the peer was brought back since then: it came without its request."""
        return queued is not None and self._lease.restored_at >= queued[1]

    def _is_renewed(self) -> bool:
        """Whether the lease is renewed while it waits. Several servers are asked in turn instead."""
        return not self._link.dialect.lacks_v1 and len(self._lease.settings.servers.urls) == 1

    def _longest_wait(self) -> float:
        ttl = self._lease.ttl
        if not self._is_renewed():
            return min(ttl / 3, LONGEST_BLOCK_SECONDS)
        # Those that begin to wait together need not ask again together.
        return min(ttl * 2, LONGEST_BLOCK_SECONDS) * random.uniform(0.75, 1.0)  # noqa: S311 (nothing secret)

    async def _come_back(self, error: UnknownPeer, asked_at: float) -> None:
        """Bring back what the server forgot, however often that takes."""
        failures, until = 0, self._retry_until()
        while True:
            try:
                await recover(self._lease, self._link, error, asked_at)
            except ThrottleError as failure:
                if not may_pass(failure) or now() >= until:
                    raise self._unreachable(failure) from failure
            else:
                return
            await asyncio.sleep(backoff(failures, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS))
            failures += 1

    @contextlib.contextmanager
    def _renewed_meanwhile(self) -> Iterator[None]:
        if not self._is_renewed():
            yield
            return
        self._lease.waiting += 1
        start_keeping(self._background, self._lease)
        try:
            yield
        finally:
            self._lease.waiting -= 1

    def _take(self, locks: Mapping[str, int], answer: _answers.Answer, sent_at: float) -> bool:
        """Hold what was granted, unless its time is over already; return whether it is held."""
        lease = self._lease
        if sent_at + lease.ttl <= now():
            return False
        if lease.loss is not None:
            raise lease.loss
        lease.confirm(sent_at, answer.instance)
        for semaphore, token in _answers.parse_tokens(answer, locks).items():
            lease.grant(semaphore, locks[semaphore], token)
        start_keeping(self._background, lease)
        return True

    def _time_is_over(self) -> bool:
        return self._give_up_at is not None and now() >= self._give_up_at

    def _too_late(self, locks: Mapping[str, int], answer: _answers.Answer) -> Timeout:
        names = _answers.parse_in_the_way(answer)
        missing = [name for name in locks if name in names] or list(locks)
        parts = [f"{name!r} (count {locks[name]})" for name in missing]
        what = f"{', '.join(parts[:-1])} and {parts[-1]} were" if len(parts) > 1 else f"{parts[0]} was"
        why = _answers.parse_wait(answer)
        return Timeout(
            f"{what} not granted in time by {self._lease.settings.shown_url}{f': {why}' if why else ''}"
        )

    def _withdrawn(self, locks: Mapping[str, int], error: RequestRefused) -> RequestRefused:
        """What a refusal means to a request that may have waited."""
        if isinstance(error, UnknownSemaphore):
            if not self._has_waited:
                return error
            gone = [
                name for name in locks if f"is called {json.dumps(name, ensure_ascii=False)}." in str(error)
            ]
            names = ", ".join(map(repr, gone or locks))
            message = f"the semaphore {names} was removed from the server while a lock on it was waited for"
        else:
            message = (
                f"the wait for a lock on {', '.join(map(repr, locks))} was ended at the server: somebody "
                "withdrew the request, or removed a semaphore by force"
            )
        return NotAcquired(message, status=error.status, code=error.code)

    def _note(self, locks: Mapping[str, int]) -> None:
        self.touched.update(locks)
        if self._lease.claim is not None:
            self._lease.claim.note({*self._lease.claim.noted, *locks})

    def _retry_until(self, block_for: float = 0.0) -> float:
        until = now() + block_for + self._lease.settings.retry_for
        # Even without time left one retry is due: a stale connection is not the caller's fault.
        return until if self._give_up_at is None else min(until, max(self._give_up_at, now() + 0.2))

    def _limit(self, block_for: float = 0.0) -> float:
        # At several servers a wait takes a third of the lease, and nothing else renews it: those that hang
        # leave time for the others.
        servers = len(self._lease.settings.servers.urls)
        part = self._lease.ttl / 3 * 2 / (servers + 1)
        limit = min(self._lease.settings.timeout, max(GRACE_SECONDS, part))
        if self._give_up_at is None:
            return limit
        left = max(0.0, self._give_up_at - now() - block_for) + GRACE_SECONDS
        return min(limit, max(left / servers, min(left, GRACE_SECONDS)))

    def _unreachable(self, error: ThrottleError) -> ThrottleError:
        if not isinstance(error, ServerUnreachable):
            return error
        if self._give_up_at is not None and now() >= self._give_up_at - 0.2:
            return Timeout(f"no lock in time: {error}")
        return error
