"""Letting in a few at a time, so that a crowd does not make each of them late."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Optional

__all__ = ["Pace"]

# If nobody left for so long, more are let in: what those inside wait for may not come at all.
STUCK_SECONDS = 1.0


class Pace:
    """How many are inside, and who waits. In one event loop, for tasks that nobody cancels."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left_at = 0.0
        self._watch: Optional[asyncio.TimerHandle] = None

    async def enter(self, patience: Optional[float]) -> None:
        """Wait for a place, in order, but for `patience` seconds at most. Match it with `leave`."""
        if self._free > 0:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        if self._watch is None:
            self._left_at = loop.time()
            self._watch = loop.call_later(STUCK_SECONDS, self._look, loop)
        timer = None if patience is None else loop.call_later(patience, self._let_in, place)
        await place
        if timer is not None:
            timer.cancel()

    def leave(self) -> None:
        """Make room."""
        self._free += 1
        if self._waiting:
            self._left_at = asyncio.get_running_loop().time()
            self._let_in_next(self._free)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = None
        if not self._waiting:
            return
        stuck_at = self._left_at + STUCK_SECONDS
        if loop.time() >= stuck_at:
            self._let_in_next(self._most)
            stuck_at = loop.time() + STUCK_SECONDS
        self._watch = loop.call_at(stuck_at, self._look, loop)

    def _let_in_next(self, most: int) -> None:
        while most > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                most -= 1
                self._let_in(place)

    def _let_in(self, place: asyncio.Future[None]) -> None:
        if not place.done():
            self._free -= 1
            place.set_result(None)
