"""Giving locks back, however often that takes. Runs on the background thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Iterable
from typing import Optional

from . import _protocol
from ._background import Background
from ._clock import now
from ._errors import (
    ConfigurationError,
    NotReleased,
    ThrottleError,
    UnknownPeer,
    UnknownSemaphore,
)
from ._keeper import stop_keeping
from ._lease import Lease
from ._log import log
from ._outer import Claim
from ._renewal import gate
from ._retry import backoff, may_pass
from ._transport import AsyncLink

__all__ = ["RELEASE_SECONDS", "release", "take_back"]

# Leaving a lock waits this long for the server; after that the release goes on in the background.
RELEASE_SECONDS = 5.0
# A release that is refused is repeated for so long before the caller is told: less than leaving a lock takes.
REFUSED_SECONDS = 3.0
# A request that was given up may still arrive after the one that takes it back; so that is sent again, this
# later.
IN_FLIGHT_SECONDS = 0.25
SHORTEST_LIMIT_SECONDS = 1.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0


async def take_back(lease: Lease, wanted: Iterable[str]) -> list[str]:
    """Let no release that is under way undo what is wanted now; returns what may still be held of it."""
    taken = sorted(lease.unreleased & set(wanted))
    lease.unreleased.difference_update(taken)
    if taken or lease.unreleased:
        async with gate(lease):
            pass  # The attempt that is under way, if there is one, has ended.
    return taken


async def release(
    background: Background, lease: Lease, semaphores: Iterable[str], *, doubtful: bool = False
) -> Optional[NotReleased]:
    """Release some locks of a lease, and its peer with the last one; returns the failure if that is refused.

    Trouble that may pass is not told: it is tried again until it has passed, or the lease is over. What is
    refused for good is told after a while, and tried further in the background.

    With `doubtful` a request for one of them may still be on its way to the server.
    """
    given_up = list(semaphores)
    # What is held around this process is not for this one to release.
    names = [name for name in given_up if name not in lease.leaning]
    for name in given_up:
        lease.drop(name)
        lease.leaning.discard(name)
    if lease.peer_id is None:
        return None
    claim, is_last = lease.claim, not lease.acquired
    if is_last:
        lease.ended = True
        await stop_keeping(lease)
        if claim is not None:
            # After a loss others may be left in a peer that lives on.
            names = sorted({*names, *claim.noted})
    lease.unreleased.update(names)
    attempt = _Release(background.link(lease.settings), lease)
    told_at = now() + min(REFUSED_SECONDS, lease.settings.retry_for)
    refused: dict[str, ThrottleError] = {}
    # Without a name, it is a peer that holds nothing.
    due: list[Optional[str]] = [*names] if names or claim is not None else [None]
    for item in due:
        error = await attempt.until_done(item, told_at)
        if error is None and doubtful and attempt.is_due(item):
            await asyncio.sleep(IN_FLIGHT_SECONDS)
            error = await attempt.until_done(item, told_at)
        if error is None:
            attempt.done(item)
        elif item is not None:
            refused[item] = error
    if claim is not None:
        _settle(lease, claim, set(names) - refused.keys(), is_last=is_last)
    if not refused:
        return None
    failure = attempt.failure(refused)
    log(logging.WARNING, "%s", failure)
    for name in refused.keys() & lease.unreleased:
        background.detach(attempt.in_background(name))
    return failure


def _settle(lease: Lease, claim: Claim, released: set[str], *, is_last: bool) -> None:
    """Leave what was not released to the lock around this process, whose peer it belongs to."""
    with contextlib.suppress(ConfigurationError):
        claim.note(claim.noted - released)
    if is_last:
        claim.end()
        lease.unreleased.clear()


class _Release:
    """The attempts to release what a lease has given up."""

    def __init__(self, link: AsyncLink, lease: Lease) -> None:
        self._link = link
        self._lease = lease
        # It was released as a whole, or the server does not know it any more.
        self._peer_is_gone = False
        # If the peer has ended by then, so has its lease, which nothing renews.
        self._over_at = now() + lease.ttl

    def is_due(self, name: Optional[str]) -> bool:
        """Whether the lock may still be held, and nobody has asked for it anew."""
        lease = self._lease
        # Nobody renews it in either case. What was not taken from a lost one is released when it ends.
        if now() >= self._over_at if lease.ended else lease.loss is not None:
            return False
        return lease.ended if name is None else name in lease.unreleased

    async def until_done(self, name: Optional[str], told_at: float) -> Optional[ThrottleError]:
        """Try until it is not due any more; or return what refuses it, once it is `told_at`."""
        lease, failures = self._lease, 0
        error: Optional[ThrottleError] = None
        limit = min(lease.settings.timeout, max(SHORTEST_LIMIT_SECONDS, lease.ttl / 6))
        servers = len(lease.settings.servers.urls)
        if servers > 1:
            limit = min(limit, RELEASE_SECONDS / (servers + 1))  # Each is asked while the caller waits.
        while True:
            async with gate(lease):
                if not self.is_due(name):
                    # The lease of a shared peer goes on: its owner is to release what was not released here.
                    return error if lease.claim is not None and now() >= self._over_at else None
                ends_peer = self._ends_peer(name)
                try:
                    await self._link.once(self._request(name), limit)
                except UnknownSemaphore:
                    return None
                except UnknownPeer:
                    self._peer_is_gone = True
                    return None
                except ThrottleError as caught:
                    error = caught
                else:
                    self._peer_is_gone = ends_peer
                    return None
            delay = backoff(failures, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
            failures += 1
            if not may_pass(error) and now() + delay >= told_at:
                return error
            log(logging.INFO, "a release for peer %s failed, trying again: %s", lease.peer_id, error)
            await asyncio.sleep(delay)

    async def in_background(self, name: str) -> None:
        """Go on with what was told already."""
        await self.until_done(name, math.inf)
        self.done(name)

    def done(self, name: Optional[str]) -> None:
        """It is released, or somebody wants it again."""
        if self._peer_is_gone and self._lease.claim is None:
            self._lease.unreleased.clear()  # All went with it.
        elif name is not None:
            self._lease.unreleased.discard(name)

    def failure(self, refused: dict[str, ThrottleError]) -> NotReleased:
        """What the caller is told."""
        lease = self._lease
        if lease.ended and lease.claim is not None:
            until = "it stays held until the lock around this process, whose peer it belongs to, releases it"
        elif lease.ended:
            left = max(0.0, self._over_at - now())
            until = (
                "it is tried further in the background, and nothing renews it any more, so it stays held "
                f"until its lease ends in {left:.3g} s, and for the margin of the server after that"
            )
        else:
            around = ", ".join(map(repr, sorted(lease.acquired)))
            until = (
                "it is tried further in the background, and stays held until that succeeds, or until the "
                f"last lock around it ({around}) ends"
            )
        error = next(iter(refused.values()))
        failure = NotReleased(
            f"the lock on {', '.join(map(repr, refused))} (peer {lease.peer_id} at "
            f"{lease.settings.shown_url}) was not released; {until}: {error}",
            semaphores=tuple(refused),
        )
        failure.__cause__ = error
        return failure

    def _request(self, name: Optional[str]) -> _protocol.Request:
        peer_id = self._lease.peer_id
        if peer_id is None:
            raise UnknownPeer
        if name is None or self._ends_peer(name):
            return _protocol.release_peer(peer_id)
        return _protocol.release_lock(peer_id, name)

    def _ends_peer(self, name: Optional[str]) -> bool:
        # Its other locks may have come, or gone, since the last attempt.
        return name is None or (self._lease.ended and self._lease.claim is None)
