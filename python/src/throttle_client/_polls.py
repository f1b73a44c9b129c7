"""How long a request may wait at the server, as far as what stands between lets it.

A proxy may cut a request that is idle for too long; how long that is, nobody tells, so it is found out.
"""

from __future__ import annotations

from typing import Optional

__all__ = ["Polls"]

# Shorter than this a wait is not worth its requests, whatever cuts it.
SHORTEST_SECONDS = 1.0
# A wait that was not cut lets the next one be longer by this part of it.
GROWTH = 1 / 16


class Polls:
    """What the requests that waited tell. Threads may share this: a wrong guess costs one request."""

    def __init__(self) -> None:
        self.cuts_in_a_row = 0
        self._longest: Optional[float] = None

    def bound(self, wish: float) -> float:
        """How long a request may wait that wishes to wait for so long."""
        return wish if self._longest is None else min(wish, self._longest)

    def cut(self, asked: float, held: float) -> None:
        """A request that `asked` to wait was cut after it was `held`, and the server was there."""
        # What is cut sooner than any wait is worth says nothing of how long an idle request may be.
        shorter = max(SHORTEST_SECONDS, asked / 2 if held < SHORTEST_SECONDS else min(asked / 2, held))
        # Those that wait together are cut together, and that is one cut.
        self._longest = shorter if self._longest is None else min(self._longest, shorter)
        self.cuts_in_a_row += 1

    def answered(self, asked: float, *, granted: bool) -> None:
        """A request that `asked` to wait was answered."""
        self.cuts_in_a_row = 0
        if self._longest is not None and not granted:
            self._longest = max(self._longest, asked * (1 + GROWTH))
