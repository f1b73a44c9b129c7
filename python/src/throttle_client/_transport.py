"""Sending requests from an event loop, and repeating them where that is safe."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

from ._answers import Answer
from ._clock import now
from ._connections import Connections
from ._dialect import Dialect
from ._errors import ServerUnreachable
from ._log import log
from ._pace import Pace
from ._polls import Polls
from ._protocol import Request
from ._retry import Retry, is_transient
from ._servers import without_password
from ._settings import Settings
from ._trace import trace_headers

__all__ = ["Ask", "AsyncLink", "within"]

T = TypeVar("T")
# Makes a request that waits for so long, or goes on waiting in a state of the server where it is pending.
Ask = Callable[[Optional[float], Optional[str]], Request]


MOST_NEW_PEERS = 16
# Shorter trouble is not worth a line: a server that is started anew is back by then.
PATIENCE_SECONDS = 2.0


class AsyncLink:
    """Sends requests from one event loop. The connections are opened by the first of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dialect = Dialect(without_password(settings.url))
        self.polls = Polls()
        # Peers that are made at once: connections are opened for them, which takes its time.
        self.pace = Pace(MOST_NEW_PEERS)
        self._connections: Optional[Connections] = None

    async def exchange(
        self, request: Request, give_up_at: Optional[float] = None, limit: Optional[float] = None
    ) -> tuple[Answer, float]:
        """Send, repeat where that is safe, and return the answer and when its request was sent.

        An attempt may take `limit` seconds, besides the time that it asks the server to wait.
        """
        return await self._exchange(self._retry(request, give_up_at), limit)

    async def wait(self, ask: Ask, block_for: Optional[float]) -> Answer:
        """Send what asks to wait, in as many parts as what stands between makes of it."""
        end, pending_in = now() + (block_for or 0.0), None
        while True:
            retry = self._retry(ask(_part(self.polls, block_for, end), pending_in))
            part, asked_at = retry.request.block_for, now()
            answer, _ = await self._exchange(retry)
            if _is_last(answer, retry, end, ended_early=now() - asked_at < part):
                return answer
            pending_in = answer.instance

    async def once(self, request: Request, limit: float) -> Answer:
        """Send to each server once, until one answers, and return the answer if it is a success."""
        return (await self.exchange(request, give_up_at=now(), limit=limit))[0]

    async def aclose(self) -> None:
        """Close all connections. The next request opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.aclose()

    def _retry(self, request: Request, give_up_at: Optional[float] = None) -> Retry:
        until = now() + request.block_for + self.settings.retry_for
        until = until if give_up_at is None else give_up_at
        return Retry(request, until, self.dialect, self.polls, self.settings.servers)

    async def _exchange(self, retry: Retry, limit: Optional[float] = None) -> tuple[Answer, float]:
        trouble = _Trouble(retry)
        while True:
            sent_at, url = now(), retry.url
            try:
                answer = await self._attempt(retry, limit)
            except ServerUnreachable as error:
                delay = retry.after_failure(error, now(), now() - sent_at)
                if delay is None:
                    raise
                trouble.goes_on(str(error))
            else:
                delay = retry.after_answer(answer, now(), now() - sent_at)
                if delay is None:
                    return retry.last_word(answer), sent_at
                if is_transient(answer.status):
                    trouble.goes_on(f"{without_password(url)} answers with status {answer.status}")
            await asyncio.sleep(delay)

    async def _attempt(self, retry: Retry, limit: Optional[float]) -> Answer:
        """Send once. This ends within `limit` seconds, and those for which it asks the server to wait."""
        url, request = retry.url, retry.request
        limit = request.block_for + (self.settings.timeout if limit is None else limit)
        connections = self._connections
        if connections is None or connections.is_closed:
            connections = self._connections = Connections(self.settings)
        headers = {**self.settings.headers(), **trace_headers()}
        try:
            return await within(limit, connections.send(url, request, headers, limit))
        except asyncio.TimeoutError:
            raise ServerUnreachable(
                f"{without_password(url)} did not answer {request.method} {request.path} within {limit:.3g} s"
            ) from None


class _Trouble:
    """Tells once, by the log, of trouble that lasts: else nobody knows what a request waits for."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._since = now()
        self._is_told = False

    def goes_on(self, why: str) -> None:
        """It is tried again for this reason."""
        if self._is_told or now() - self._since < PATIENCE_SECONDS:
            return
        self._is_told = True
        ending = "" if why.endswith("?") else "."
        left = self._retry.left(now())
        log(logging.WARNING, "%s%s It is tried again and again, for %.0f s more", why, ending, left)


def _part(polls: Polls, block_for: Optional[float], end: float) -> Optional[float]:
    return None if block_for is None else polls.bound(max(0.0, end - now()))


def _is_last(answer: Answer, retry: Retry, end: float, *, ended_early: bool) -> bool:
    """Whether this answers the whole wait. A server that ends one early has a reason, such as its own end."""
    return answer.status != 202 or now() >= end or (ended_early and not retry.repeated)


async def within(limit: float, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for `limit` seconds at most, else raise `asyncio.TimeoutError`."""
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(limit):
            return await work
    return await within_by_task(limit, work)


async def within_by_task(limit: float, work: Coroutine[Any, Any, T]) -> T:
    """Do so before Python 3.11, where nothing else is sure not to swallow a cancellation."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_swallow)
    if not task.done():
        raise asyncio.TimeoutError
    return task.result()


def _swallow(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
