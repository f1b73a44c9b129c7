"""The pooled connections of one event loop, on aiohttp: how they are made, and how they end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import os
import socket
import weakref
from base64 import b64encode
from typing import Any, Optional
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from ._answers import Answer
from ._errors import CertificateRejected, ConfigurationError, ServerUnreachable
from ._protocol import Request
from ._proxy import proxy_before
from ._servers import without_password
from ._settings import Settings

__all__ = ["Connections"]

CONNECT_SECONDS = 5.0
# Less than servers and proxies usually keep an idle connection, so they seldom end one that is just needed.
IDLE_SECONDS = 20.0

# Pools that a forked child inherited. They are kept, for closing them could speak on the parent's
# connections.
_inherited: list[object] = []
# What is not closed when the interpreter ends.
_open: weakref.WeakSet[Connections] = weakref.WeakSet()


class _Pool(aiohttp.TCPConnector):
    """A pool that may be left to itself. aiohttp writes errors to the log for one that nobody closed."""

    def __del__(self, _warnings: Any = None) -> None:
        pass  # The sockets close themselves.


class Connections:
    """The connections to the servers of one list. To be made and used in one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._servers = {url: _Server(url) for url in settings.servers.urls}
        # A process may have any number of requests waiting at once, and none may keep a heartbeat from its
        # connection; so their number has no limit.
        pool = _Pool(
            limit=0,
            keepalive_timeout=IDLE_SECONDS,
            # Reading certificates takes its time.
            ssl=settings.ssl_context() if any(map(_Server.needs_tls, self._servers.values())) else True,
            resolver=aiohttp.ThreadedResolver(),
        )
        self._http = aiohttp.ClientSession(
            connector=pool,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding",),
            middlewares=(_send_once,),
        )
        # It keeps both alive until then.
        abandoned = weakref.finalize(
            self, _abandon, os.getpid(), asyncio.get_running_loop(), self._http, pool
        )
        abandoned.atexit = False  # type: ignore[misc]  # a property that typeshed takes for a slot
        _open.add(self)

    @property
    def is_closed(self) -> bool:
        """Whether no request can be sent any more."""
        return self._http.closed

    async def send(self, url: str, request: Request, headers: dict[str, str], limit: float) -> Answer:
        """Send once to the server at `url`. The caller ends this after `limit` seconds."""
        server = self._servers[url]
        if self.is_closed:  # Only just: the next attempt opens another.
            raise ServerUnreachable(f"the connections to {server.shown} are closed", sent=False)
        if server.authorization is not None:
            headers["Authorization"] = server.authorization
        body = request.body
        if body is not None:
            headers["Content-Type"] = "application/json"
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        try:
            async with self._http.request(
                request.method,
                URL(f"{server.base}{request.path}{_query(request)}", encoded=True),
                data=body,
                headers=headers,
                proxy=server.proxy,
                timeout=aiohttp.ClientTimeout(total=None, connect=min(limit, CONNECT_SECONDS)),
                allow_redirects=False,
            ) as response:
                text = (await response.read()).decode(errors="replace")
                return Answer(response.status, response.headers, text)
        except aiohttp.ClientError as error:
            raise _translate(error, server, request) from error
        except _Failed as failed:
            raise _translate(failed.error, server, request) from failed.error

    def detach(self) -> None:
        """Be closed without a word, when it is too late to close anything."""
        self._http.detach()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.close()


@atexit.register  # It runs after the last releases, which register later.
def _detach_all() -> None:
    for connections in list(_open):
        connections.detach()


def _abandon(
    pid: int, loop: asyncio.AbstractEventLoop, http: aiohttp.ClientSession, pool: aiohttp.TCPConnector
) -> None:
    """Close what nobody closed, as far as that is possible."""
    if pid != os.getpid():
        _inherited.append((http, pool))
        return
    if http.closed:
        return
    http.detach()

    async def close() -> None:
        await pool.close()

    if loop.is_closed():
        pool.close().__await__()  # It counts as closed from then on; there is nothing to wait for.
    else:
        with contextlib.suppress(RuntimeError):  # That loop was closed only just.
            loop.call_soon_threadsafe(lambda: loop.create_task(close()))


class _Server:
    """One server: the URL that requests begin with, and what stands before it."""

    def __init__(self, url: str) -> None:
        given = URL(url)
        self.shown = without_password(url)
        self.base = str(given.with_user(None)).rstrip("/")
        self.authorization: Optional[str] = None
        if given.user is not None or given.password is not None:
            pair = f"{given.user or ''}:{given.password or ''}"
            self.authorization = f"Basic {b64encode(pair.encode()).decode()}"
        way = proxy_before(url)
        self.proxy = None if way is None else way.url
        self.proxy_shown = None if way is None else str(way)
        if way is not None and URL(way.url).scheme not in ("http", "https"):
            raise ConfigurationError(f"the proxy {way} is none for HTTP, and others are not supported")

    def needs_tls(self) -> bool:
        """Whether certificates matter on the way to it."""
        return any(url.startswith("https:") for url in (self.base, self.proxy or ""))


class _Failed(Exception):
    """The server got the request, or part of it, but no answer came."""

    def __init__(self, error: aiohttp.ClientError) -> None:
        super().__init__(error)
        self.error = error


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a request by itself: what to repeat, and where, is decided elsewhere."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Failed(error) from error


def _query(request: Request) -> str:
    pairs = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in request.query)
    return f"?{pairs}" if pairs else ""


def _cause(error: aiohttp.ClientError) -> Optional[str]:
    """Why there is no connection, in a few words, if it is one of the usual reasons."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "nothing came in time"
    reason = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused"
    if isinstance(reason, OSError):
        return {
            errno.ECONNREFUSED: "connection refused",
            errno.EHOSTUNREACH: "no way leads there",
            errno.ENETUNREACH: "no way leads there",
            errno.ETIMEDOUT: "nothing came in time",
        }.get(reason.errno or 0)
    return None


def _translate(error: aiohttp.ClientError, server: _Server, request: Request) -> Exception:
    what = f"{request.method} {server.shown}{request.path}"
    detail = str(error) or type(error).__name__
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(f"{what}: {detail}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return CertificateRejected(
            f"{what}: the server's certificate is not trusted ({detail}). "
            "Pass cacert= or set THROTTLE_CACERT to the file of the authority that signed it.",
            sent=False,
        )
    way = f", by way of the proxy {server.proxy_shown}" if server.proxy else ""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        missing = f"no connection to the proxy {server.proxy_shown}, so the server itself was not asked"
        return ServerUnreachable(f"{what}: {missing} ({detail})", sent=False)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refused = f"it answers {error.status} {error.message}".rstrip()
        return ServerUnreachable(f"{what}: no connection to the server{way} ({refused})", sent=False)
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        cause = _cause(error)
        missing = f"no connection to the server{way}: {cause or detail}"
        advice = ". Is it running there, and are host and port right?" if cause and not way else ""
        return ServerUnreachable(f"{what}: {missing}{advice}", sent=False)
    hint = ""
    if not request.repeatable:
        hint = "; the server may have done it, so it is not repeated. A peer left behind just expires"
    return ServerUnreachable(f"{what}: no answer{way} ({detail}){hint}", sent=True)
