"""What to send next and after how long: the same, or the same in other words. Time comes from the caller."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from typing import Optional

from ._dialect import Dialect
from ._errors import CertificateRejected, ServerUnreachable
from ._protocol import Answer, Request, lacks_route

__all__ = ["Retry", "backoff", "is_transient"]

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0

# Requests that the server never got, or that it will answer in the same way each time.
_FINAL_STATUSES = frozenset([501, 505, 506, 507, 508, 510, 511])
_TRANSIENT_CLIENT_STATUSES = frozenset([408, 429, 444, 499])


class Retry:
    """The attempts of one request: `request` is what to send.

    It says after each answer or failure how long to wait before the next attempt; `None` if it was the last.
    """

    def __init__(self, wish: Request, give_up_at: float, dialect: Optional[Dialect] = None) -> None:
        self._dialect = Dialect("the server") if dialect is None else dialect
        self._give_up_at = give_up_at
        self._failures = 0
        self._refused: Optional[Answer] = None
        self.request = self._dialect.choose(wish)

    def after_failure(self, error: ServerUnreachable, now: float) -> Optional[float]:
        """No answer arrived. Whether the server did its work is unknown if the request was sent."""
        if isinstance(error, CertificateRejected) or (error.sent and not self.request.repeatable):
            return None
        return self._delay(now, None)

    def after_answer(self, answer: Answer, now: float) -> Optional[float]:
        """An answer arrived; `None` if it is final, be it good or bad."""
        self._dialect.learn(self.request, answer, self._refused)
        status = answer.status
        if status in (429, 503):
            # The server says that it did nothing, so even creating a peer may be repeated.
            return self._delay(now, _retry_after(answer))
        other = self._other_words(answer)
        if other is not None:
            self.request = other
            return 0.0
        if status == 410 and self.request.key is not None:
            # The peer that this request made has ended before its id could be learned; so another is made.
            self.request = replace(self.request, key=uuid.uuid4().hex)
            return self._delay(now, None)
        if not self.request.repeatable:
            return None
        return self._delay(now, None) if is_transient(status) else None

    def _other_words(self, answer: Answer) -> Optional[Request]:
        """The same request as this server may understand it."""
        request = self.request
        if request.is_v1 and lacks_route(answer):
            self._refused = answer
            return request.classic
        return request.bare if answer.status == 400 else None

    def _delay(self, now: float, at_least: Optional[float]) -> Optional[float]:
        delay = backoff(self._failures, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._failures += 1
        if at_least is not None:
            # Jitter on top, so that those who were told the same do not come back together.
            delay = at_least + delay / 2
        return delay if now + delay < self._give_up_at else None


def is_transient(status: int) -> bool:
    """Whether the same request may be answered otherwise a little later."""
    return status in _TRANSIENT_CLIENT_STATUSES or (status >= 500 and status not in _FINAL_STATUSES)


def backoff(failures: int, first: float, longest: float) -> float:
    """Exponential delay with jitter: between the half and the whole of `first`, doubled each time."""
    whole: float = min(first * 2.0 ** min(failures, 30), longest)
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 (nothing secret)


def _retry_after(answer: Answer) -> Optional[float]:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return None
