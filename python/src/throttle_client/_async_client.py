"""The async low-level client: the twin of `Client`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Optional

from . import _answers, _protocol
from ._durations import Duration, optional_seconds, seconds
from ._labels import Labels, checked, new_peer
from ._servers import ServerUrl, without_password
from ._settings import DEFAULT_RETRY_SECONDS, DEFAULT_TIMEOUT_SECONDS, Settings
from ._transport import AsyncLink

__all__ = ["AsyncClient"]


class AsyncClient:
    """`Client` for asyncio: the same routes, arguments, timeouts and repeats; use it with `async with`.

    A client belongs to the event loop that it was first used in; in another loop, or after a fork, it opens
    new connections. See `Client` for the arguments.
    """

    def __init__(
        self,
        base_url: Optional[ServerUrl] = None,
        *,
        token: Optional[str] = None,
        token_file: Optional[str] = None,
        cacert: Optional[str] = None,
        timeout: Duration = DEFAULT_TIMEOUT_SECONDS,
        retry_for: Duration = DEFAULT_RETRY_SECONDS,
        labels: Optional[Labels] = None,
    ) -> None:
        self._settings = Settings.resolve(
            base_url, token=token, token_file=token_file, cacert=cacert, timeout=timeout, retry_for=retry_for
        )
        self.base_url = base_url if isinstance(base_url, str) else self._settings.url
        self.labels = checked(labels)
        self._pool: Optional[tuple[int, asyncio.AbstractEventLoop, AsyncLink]] = None

    def __getstate__(self) -> dict[str, Any]:
        return {"base_url": self.base_url, "labels": self.labels, "settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.base_url = state["base_url"]
        self.labels = state["labels"]
        self._settings = state["settings"]
        self._pool = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_password(self.base_url)!r})"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pooled connections. The client stays usable."""
        pool, self._pool = self._pool, None
        if pool is not None and pool[:2] == (os.getpid(), asyncio.get_running_loop()):
            await pool[2].aclose()

    async def new_peer(self, expires_in: Duration) -> int:
        """Create a peer and return its id; see `Client.new_peer`."""
        request = new_peer(seconds(expires_in, "expires_in"), self.labels)
        return _answers.parse_peer_id(await self._exchange(request))

    async def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Duration] = None,
        block_for: Optional[Duration] = None,
    ) -> bool:
        """Ask for a lock: `True` if it is granted, `False` if it is pending when `block_for` is over."""
        expires = optional_seconds(expires_in, "expires_in")

        def ask(wait: Optional[float], if_pending: Optional[str]) -> _protocol.Request:
            return _protocol.acquire(peer_id, {semaphore: count}, expires, wait, if_pending=if_pending)

        answer = await self._link().wait(ask, optional_seconds(block_for, "block_for"))
        return _answers.parse_acquired(answer)

    async def restore(
        self,
        peer_id: int,
        acquired: Mapping[str, int],
        expires_in: Duration,
        tokens: Optional[Mapping[str, int]] = None,
    ) -> None:
        """Bring a peer that the server forgot back under its id; see `Client.restore`."""
        await self._exchange(_protocol.restore(peer_id, acquired, seconds(expires_in, "expires_in"), tokens))

    async def remainder(self, semaphore: str) -> int:
        """What is left of a semaphore; negative if restored peers overcommit it."""
        return _answers.parse_int(await self._exchange(_protocol.remainder(semaphore)))

    async def is_token_live(self, semaphore: str, token: int) -> bool:
        """Whether the grant with this fencing token still holds; see `Client.is_token_live`."""
        return _answers.parse_live(await self._exchange(_protocol.is_token_live(semaphore, token)))

    async def is_acquired(self, peer_id: int) -> bool:
        """Whether nothing of the peer is pending."""
        return _answers.parse_bool(await self._exchange(_protocol.is_acquired(peer_id)))

    async def release(self, peer_id: int) -> None:
        """End a peer: all its locks are released, and what it waits for is withdrawn."""
        await self._exchange(_protocol.release_peer(peer_id))

    async def release_lock(self, peer_id: int, semaphore: str) -> None:
        """Release one lock of a peer, or withdraw its request for it."""
        await self._exchange(_protocol.release_lock(peer_id, semaphore))

    async def heartbeat(self, peer_id: int, expires_in: Duration) -> None:
        """Move the expiry of a peer."""
        await self._exchange(_protocol.heartbeat(peer_id, seconds(expires_in, "expires_in")))

    async def list_of_peers(self) -> list[dict[str, Any]]:
        """All peers that the server knows, each with at least its `id`."""
        return _answers.parse_peers(await self._exchange(_protocol.list_of_peers()))

    async def remove_expired(self) -> int:
        """Remove expired peers and return how many there were. Servers since 0.6 do so on their own: 0."""
        return _answers.parse_int(await self._exchange(_protocol.remove_expired()))

    async def version(self) -> str:
        """Version of the server."""
        return (await self._exchange(_protocol.version())).text.strip()

    async def _exchange(self, request: _protocol.Request) -> _answers.Answer:
        answer, _ = await self._link().exchange(request)
        return answer

    def _link(self) -> AsyncLink:
        here = (os.getpid(), asyncio.get_running_loop())
        pool = self._pool
        if pool is None or pool[:2] != here:
            pool = (*here, AsyncLink(self._settings))
            self._pool = pool
        return pool[2]
