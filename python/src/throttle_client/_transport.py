"""The two ways to put requests on the wire: blocking and async, both on httpx with pooled connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

import httpx

from ._clock import now
from ._dialect import Dialect
from ._errors import CertificateRejected, ConfigurationError, ServerUnreachable
from ._polls import Polls
from ._protocol import Answer, Request
from ._proxy import proxy_before
from ._retry import Retry
from ._servers import without_password
from ._settings import Settings
from ._trace import trace_headers

__all__ = ["AsyncLink", "SyncLink", "within"]

T = TypeVar("T")

CONNECT_SECONDS = 5.0
# A process may have any number of threads waiting at once, and none may keep a heartbeat from its connection.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=20.0)

# Pools that a forked child inherited. They are kept, for closing them could speak on the parent's
# connections.
_inherited: list[object] = []


class SyncLink:
    """Sends requests from the calling thread. Threads may share it; a forked child gets its own pool."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dialect = Dialect(without_password(settings.url))
        self.polls = Polls()
        self._pool: Optional[_Pool] = None

    def exchange(self, request: Request) -> Answer:
        """Send, repeat where that is safe, and return the answer if it is a success."""
        return self._exchange(self._retry(request))

    def wait(self, ask: Callable[[Optional[float]], Request], block_for: Optional[float]) -> Answer:
        """Send what asks to wait, in as many parts as what stands between makes of it."""
        end = now() + (block_for or 0.0)
        while True:
            retry = self._retry(ask(_part(self.polls, block_for, end)))
            part, asked_at = retry.request.block_for, now()
            answer = self._exchange(retry)
            if _is_last(answer, retry, end, ended_early=now() - asked_at < part):
                return answer

    def _retry(self, request: Request) -> Retry:
        until = now() + request.block_for + self.settings.retry_for
        return Retry(request, until, self.dialect, self.polls, self.settings.servers)

    def _exchange(self, retry: Retry) -> Answer:
        while True:
            sent_at = now()
            try:
                answer = self._attempt(retry)
            except ServerUnreachable as error:
                delay = retry.after_failure(error, now(), now() - sent_at)
                if delay is None:
                    raise
            else:
                delay = retry.after_answer(answer, now(), now() - sent_at)
                if delay is None:
                    return retry.last_word(answer)
            time.sleep(delay)

    def close(self) -> None:
        """Close the idle connections. The next request opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _attempt(self, retry: Retry) -> Answer:
        url, request = retry.url, retry.request
        limit = request.block_for + self.settings.timeout
        try:
            response = self._client().request(**_arguments(self.settings, url, request, limit))
        except httpx.HTTPError as error:
            raise _translate(error, url, request) from error
        return _answer(response)

    def _client(self) -> httpx.Client:
        pool = self._pool
        pid = os.getpid()
        if pool is None or pool.pid != pid:
            pool = self._pool = _Pool(pid, self.settings)
        return pool.http


class _Pool:
    """The connections of a process to the servers. Those that a forked child inherits it never closes."""

    def __init__(self, pid: int, settings: Settings) -> None:
        self.pid = pid
        self.http = httpx.Client(verify=settings.ssl_context(), limits=_LIMITS)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def close(self) -> None:
        if self.pid == os.getpid():
            self.http.close()
        else:
            _inherited.append(self.http)


class AsyncLink:
    """Sends requests from one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.dialect = Dialect(without_password(settings.url))
        self.polls = Polls()
        self._http = httpx.AsyncClient(verify=settings.ssl_context(), limits=_LIMITS)

    async def exchange(
        self,
        request: Request,
        give_up_at: Optional[float] = None,
        limit: Optional[float] = None,
        gate: Optional[asyncio.Lock] = None,
    ) -> tuple[Answer, float]:
        """Send, repeat where that is safe, and return the answer and when its request was sent.

        An attempt may take `limit` seconds, besides the time that it asks the server to wait; `gate` is held
        during each, but not between them.
        """
        return await self._exchange(self._retry(request, give_up_at), limit, gate)

    async def wait(self, ask: Callable[[Optional[float]], Request], block_for: Optional[float]) -> Answer:
        """Send what asks to wait, in as many parts as what stands between makes of it."""
        end = now() + (block_for or 0.0)
        while True:
            retry = self._retry(ask(_part(self.polls, block_for, end)))
            part, asked_at = retry.request.block_for, now()
            answer, _ = await self._exchange(retry)
            if _is_last(answer, retry, end, ended_early=now() - asked_at < part):
                return answer

    def _retry(self, request: Request, give_up_at: Optional[float] = None) -> Retry:
        until = now() + request.block_for + self.settings.retry_for
        until = until if give_up_at is None else give_up_at
        return Retry(request, until, self.dialect, self.polls, self.settings.servers)

    async def _exchange(
        self, retry: Retry, limit: Optional[float] = None, gate: Optional[asyncio.Lock] = None
    ) -> tuple[Answer, float]:
        while True:
            if gate is not None:
                await gate.acquire()
            sent_at = now()
            try:
                answer = await self._attempt(retry, limit)
            except ServerUnreachable as error:
                delay = retry.after_failure(error, now(), now() - sent_at)
                if delay is None:
                    raise
            else:
                delay = retry.after_answer(answer, now(), now() - sent_at)
                if delay is None:
                    return retry.last_word(answer), sent_at
            finally:
                if gate is not None:
                    gate.release()
            await asyncio.sleep(delay)

    async def once(self, request: Request, limit: float) -> Answer:
        """Send to each server once, until one answers, and return the answer if it is a success."""
        return (await self.exchange(request, give_up_at=now(), limit=limit))[0]

    async def _attempt(self, retry: Retry, limit: Optional[float]) -> Answer:
        """Send once. This ends within `limit` seconds, and those for which it asks the server to wait."""
        url, request = retry.url, retry.request
        limit = request.block_for + (self.settings.timeout if limit is None else limit)
        arguments = _arguments(self.settings, url, request, limit)
        try:
            response = await within(limit, self._http.request(**arguments))
        except asyncio.TimeoutError:
            raise ServerUnreachable(
                f"{without_password(url)} did not answer {request.method} {request.path} within {limit:.3g} s"
            ) from None
        except httpx.HTTPError as error:
            raise _translate(error, url, request) from error
        return _answer(response)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _part(polls: Polls, block_for: Optional[float], end: float) -> Optional[float]:
    return None if block_for is None else polls.bound(max(0.0, end - now()))


def _is_last(answer: Answer, retry: Retry, end: float, *, ended_early: bool) -> bool:
    """Whether this answers the whole wait. A server that ends one early has a reason, such as its own end."""
    return answer.status != 202 or now() >= end or (ended_early and not retry.repeated)


def _arguments(settings: Settings, url: str, request: Request, limit: float) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "method": request.method,
        "url": url + request.path,
        "headers": {**settings.headers(), **trace_headers()},
        "timeout": httpx.Timeout(limit, connect=min(limit, CONNECT_SECONDS)),
    }
    if request.query:
        arguments["params"] = request.query
    if request.json is not None:
        arguments["json"] = request.json
    if request.key is not None:
        arguments["headers"]["Idempotency-Key"] = request.key
    return arguments


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.text)


def _translate(error: httpx.HTTPError, url: str, request: Request) -> Exception:
    what = f"{request.method} {without_password(url)}{request.path}"
    if isinstance(error, httpx.UnsupportedProtocol):
        return ConfigurationError(f"{what}: {error}")
    detail = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in detail:
        return CertificateRejected(
            f"{what}: the server's certificate is not trusted ({detail}). "
            "Pass cacert= or set THROTTLE_CACERT to the file of the authority that signed it.",
            sent=False,
        )
    proxy = proxy_before(url)
    way = f", by way of the proxy {proxy}" if proxy else ""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)) and proxy and "SSL" not in detail:
        missing = f"no connection to the proxy {proxy}, so the server itself was not asked"
        return ServerUnreachable(f"{what}: {missing} ({detail})", sent=False)
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        return ServerUnreachable(f"{what}: no connection to the server{way} ({detail})", sent=False)
    hint = ""
    if not request.repeatable:
        hint = "; the server may have done it, so it is not repeated. A peer left behind just expires"
    return ServerUnreachable(f"{what}: no answer{way} ({detail}){hint}", sent=True)


async def within(limit: float, work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for `limit` seconds at most, else raise `asyncio.TimeoutError`.

    Before Python 3.12 `asyncio.wait_for` could swallow a cancellation; this does not.
    """
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
