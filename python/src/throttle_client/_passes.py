"""What `lock` and `adopt` have in common: `with`, `async with`, and what both are told."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Callable, Optional, Union

from . import _local
from ._async_client import AsyncClient
from ._client import Client
from ._durations import Duration, optional_seconds
from ._errors import ConfigurationError, LockLost
from ._handle import Handle
from ._holding import Plan
from ._peer import Peer
from ._servers import ServerUrl
from ._session import Session
from ._settings import Settings

__all__ = ["Notify", "Passes", "checked_on_lost", "checked_ttl", "resolve"]

Notify = Callable[[LockLost], object]

ON_LOST = ("raise", "cancel", "ignore")


class Passes:
    """Those who are inside, threads and tasks alike, by one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sessions: dict[object, list[Session]] = {}

    def __enter__(self) -> Handle:
        if self._plan.on_lost == "cancel":
            raise ConfigurationError(
                "on_lost='cancel' works in `async with` only: a thread cannot be cancelled. "
                "Use on_lost='raise' with handle.check(), or notify=."
            )
        session = Session(self._plan)
        handle = session.enter()
        self._push(session)
        return handle

    def __exit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._pop().exit(exc)

    async def __aenter__(self) -> Handle:
        session = Session(self._plan)
        handle = await session.aenter()
        self._push(session)
        return handle

    async def __aexit__(
        self,
        exc_type: Optional[type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self._pop().aexit(exc)

    def _push(self, session: Session) -> None:
        self._sessions.setdefault(_local.owner(), []).append(session)

    def _pop(self) -> Session:
        """The last session of this thread or task; or, if it was entered elsewhere, the only other one."""
        key = _local.owner()
        if key not in self._sessions:
            others = list(self._sessions)
            if len(others) != 1:
                raise RuntimeError(f"{self!r} was not entered by {key!r}")
            key = others[0]
        stack = self._sessions[key]
        session = stack.pop()
        if not stack:
            del self._sessions[key]
        return session


def checked_on_lost(value: str) -> str:
    """What to do when it is lost, checked."""
    if value not in ON_LOST:
        raise ConfigurationError(f"on_lost is {value!r}; one of {', '.join(map(repr, ON_LOST))} is needed")
    return value


def checked_ttl(value: Optional[Duration]) -> Optional[float]:
    """The expiry in seconds, checked."""
    expiry = optional_seconds(value, "ttl")
    if expiry == 0:
        raise ConfigurationError("ttl is 0, so the lock would be gone at once; e.g. ttl=30 keeps it for 30 s")
    return expiry


def resolve(
    target: Union[ServerUrl, AsyncClient, Client, Peer, None],
    token: Optional[str],
    token_file: Optional[str],
    cacert: Optional[str],
) -> Union[Settings, Client, Peer]:
    """The server, or what a lock belongs to."""
    if target is None or isinstance(target, (str, Sequence)):
        return Settings.resolve(target, token=token, token_file=token_file, cacert=cacert)
    if token is not None or token_file is not None or cacert is not None:
        raise ConfigurationError(
            "token, token_file and cacert belong to a URL; give them to the client instead"
        )
    if isinstance(target, AsyncClient):
        return target._settings
    if isinstance(target, (Client, Peer)):
        return target
    raise ConfigurationError(f"lock() got {target!r}; a URL, a Client, an AsyncClient or a Peer is needed")
