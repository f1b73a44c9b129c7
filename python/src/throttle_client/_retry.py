"""What to send next, where to and after how long: the same, or the same in other words.

Time comes from the caller.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import replace
from typing import Optional

from ._answers import Answer, check, lacks_route
from ._dialect import Dialect
from ._errors import CertificateRejected, ServerError, ServerUnreachable, ThrottleError
from ._polls import Polls
from ._protocol import Request
from ._servers import Round, Servers, without_password

__all__ = ["Retry", "backoff", "is_transient", "may_pass"]

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
# Of a request that was cut as it waited.
LONGEST_PAUSE_SECONDS = 1.0

# Requests that the server never got, or that it will answer in the same way each time.
_FINAL_STATUSES = frozenset([501, 505, 506, 507, 508, 510, 511])
# The others do not keep method and body.
_REDIRECTS = frozenset([307, 308])
_TRANSIENT_CLIENT_STATUSES = frozenset([408, 429, 444, 499])


class Retry:
    """The attempts of one request: `request` is what to send, to the server at `url`.

    It says after each answer or failure, which `took` some time to come, how long to wait before the next
    attempt; `None` if it was the last. A request that waits at the server is repeated without the wait.

    Where there are several servers, the next one is asked without a pause, until each was asked in vain.
    """

    def __init__(
        self,
        wish: Request,
        give_up_at: float,
        dialect: Optional[Dialect] = None,
        polls: Optional[Polls] = None,
        servers: Optional[Servers] = None,
    ) -> None:
        self._dialect = Dialect("the server") if dialect is None else dialect
        self._polls = Polls() if polls is None else polls
        self._round = Round(Servers([""]) if servers is None else servers)
        self._give_up_at = give_up_at
        self._pauses = 0
        self._asked = wish.block_for
        self._held: Optional[float] = None
        self._refused: Optional[Answer] = None
        self._redirect: Optional[ServerError] = None
        # In this round one failed in a way that may pass; and the pause that it asked for.
        self._hopes = False
        self._at_least: Optional[float] = None
        self.repeated = False
        self.request = self._dialect.choose(wish)

    @property
    def url(self) -> str:
        """The server to send it to."""
        return self._round.url

    def left(self, now: float) -> float:
        """For how many seconds it is still repeated."""
        return max(0.0, self._give_up_at - now)

    def after_failure(self, error: ServerUnreachable, now: float, took: float = 0.0) -> Optional[float]:
        """No answer arrived. Whether the server did its work is unknown if the request was sent."""
        self._redirect = None
        if isinstance(error, CertificateRejected):
            return self._elsewhere(now)
        if error.sent and not self.request.repeatable:
            self._round.move_on()  # For others.
            return None
        return self._again(now, took if error.sent else None)

    def after_answer(self, answer: Answer, now: float, took: float = 0.0) -> Optional[float]:
        """An answer arrived; `None` if it is final, be it good or bad."""
        self._redirect = None
        status = answer.status
        if status in _REDIRECTS and "location" in answer.headers:
            return self._follow(answer, now)
        self._dialect.learn(self.request, answer, self._refused)
        if status == 503:
            # The server says that it did nothing, so even creating a peer may be repeated.
            return self._again(now, None, answer, took)
        if is_transient(status) and status != 429:
            if not self.request.repeatable:
                self._round.move_on()  # For others.
                return None
            return self._again(now, took)
        self._round.answered()
        if status == 429:
            # The limit is that of all servers.
            delay = self._delay(now, _retry_after(answer))
            self._ask_at_once(None)
            return delay
        if 200 <= status < 300:
            self._learn(granted=status != 202)
            return None
        other = self._other_words(answer)
        if other is not None:
            self.request = other
            return 0.0
        if status == 410 and self.request.key is not None:
            # The peer that this request made has ended before its id could be learned; so another is made.
            self.request = replace(self.request, key=uuid.uuid4().hex)
            return self._delay(now, None)
        return None

    def last_word(self, answer: Answer) -> Answer:
        """The last answer, if it is a success; else raise what it means."""
        if self._redirect is not None:
            raise self._redirect
        return check(answer, self.request)

    def _follow(self, answer: Answer, now: float) -> Optional[float]:
        """Ask the server that this one names, if it is one of the list."""
        by, where = self.url, self._round.redirect(answer.headers["location"], self.request.path)
        if where is None:
            return 0.0
        redirects = f"{self.request.method} {self.request.path}: {without_password(by)} redirects to"
        if where.is_known:
            # The status is what it comes to.
            self._redirect = ServerError(
                f"{redirects} {where.target}, which is of no use at this moment", status=503
            )
            return self._again(now, None, answer)
        self._redirect = ServerError(
            f"{redirects} {where.target}, which is not in the list of servers and gets nothing from here; "
            "servers of one cluster are given as a list, such as http://a:8000,http://b:8000",
            status=answer.status,
        )
        return self._elsewhere(now)

    def _learn(self, *, granted: bool) -> None:
        """The server is there: what became of a request that waited is the work of what stands between."""
        if self._held is not None:
            self._polls.cut(self._asked, self._held)
        elif self.request.at_once is not None:
            self._polls.answered(self._asked, granted=granted)

    def _again(
        self, now: float, held: Optional[float], answer: Optional[Answer] = None, took: float = 0.0
    ) -> Optional[float]:
        """After a request that was `held` for so long, or did nothing (`None`), as its `answer` says."""
        self._hopes, self._at_least = True, None if answer is None else _retry_after(answer)
        is_next = self._moves_on(now)
        if is_next and held is None:
            self.repeated = True
            return 0.0  # The next server may just as well let it wait.
        delay = 0.0 if is_next else self._pause(now)
        if answer is not None:
            # Of several servers, those that do not lead say so.
            self._ask_at_once(took if self._round.is_single and answer.status == 503 else None)
        elif self._ask_at_once(held) and held is not None:
            # It may have reached the queue, so what became of it is asked for in any case. Those that are cut
            # at once, again and again, must not become a flood. Whoever was cut after a while has waited long
            # enough.
            pause = backoff(self._polls.cuts_in_a_row, FIRST_DELAY_SECONDS, LONGEST_PAUSE_SECONDS)
            # The time for the repeat itself has to remain.
            delay = min(max(0.0, pause - held), max(0.0, self._give_up_at - now) / 2)
        return delay

    def _elsewhere(self, now: float) -> Optional[float]:
        """After one that cannot serve it, however often it is asked: another one may."""
        return 0.0 if self._moves_on(now) else self._pause(now)

    def _moves_on(self, now: float) -> bool:
        """Turn to the next server that was not asked yet, if there is one, and time for it."""
        is_due = self._round.is_first or now < self._give_up_at
        return self._round.move_on() and is_due

    def _pause(self, now: float) -> Optional[float]:
        """Each server was asked in vain: how long to wait, if that may pass."""
        hopes, self._hopes = self._hopes, False
        return self._delay(now, self._at_least) if hopes else None

    def _ask_at_once(self, held: Optional[float]) -> bool:
        """Repeat a request that waits without its wait; returns whether it was one."""
        self.repeated = True
        if self.request.at_once is None:
            return False
        self.request, self._held = self.request.at_once, held
        return True

    def _other_words(self, answer: Answer) -> Optional[Request]:
        """The same request as this server may understand it."""
        request = self.request
        if request.is_v1 and lacks_route(answer):
            self._refused = answer
            return request.classic
        return request.bare if answer.status == 400 else None

    def _delay(self, now: float, at_least: Optional[float]) -> Optional[float]:
        delay = backoff(self._pauses, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
        self._pauses += 1
        if at_least is not None:
            # Jitter on top, so that those who were told the same do not come back together.
            delay = at_least + delay / 2
        return delay if now + delay < self._give_up_at else None


def is_transient(status: int) -> bool:
    """Whether the same request may be answered otherwise a little later."""
    return status in _TRANSIENT_CLIENT_STATUSES or (status >= 500 and status not in _FINAL_STATUSES)


def may_pass(error: ThrottleError) -> bool:
    """Whether the same request may succeed a little later, without anybody's doing."""
    if isinstance(error, ServerError):
        return is_transient(error.status)
    return isinstance(error, ServerUnreachable) and not isinstance(error, CertificateRejected)


def backoff(failures: int, first: float, longest: float) -> float:
    """Exponential delay with jitter: between the half and the whole of `first`, doubled each time."""
    whole: float = min(first * 2.0 ** min(failures, 30), longest)
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 (nothing secret)


def _retry_after(answer: Answer) -> Optional[float]:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return None
