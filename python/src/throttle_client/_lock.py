"""`lock`: the way in for nearly every program."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Callable, Optional, TypeVar, Union, overload

from ._async_client import AsyncClient
from ._client import Client
from ._durations import Duration, optional_seconds
from ._errors import ConfigurationError
from ._holding import Plan
from ._labels import Labels, checked
from ._passes import Notify, Passes, checked_on_lost, checked_ttl, resolve
from ._peer import Peer
from ._servers import ServerUrl
from ._text import name as checked_name

__all__ = ["lock"]

F = TypeVar("F", bound=Callable[..., Any])
Semaphores = Union[str, Mapping[str, int]]

HIGHEST_PRIORITY = 2**31 - 1
_UNSET: Any = object()


class lock(Passes):  # noqa: N801 (the released name)
    """Hold one or more semaphores of a Throttle server: `with`, `async with`, or a decorator.

    >>> with lock("http://localhost:8000", "A") as handle:
    ...     handle.check()

    * `target`: URL of the server (default: `THROTTLE_URL`), or of those of one cluster, as for `Client`; or
      an `AsyncClient`: nested locks of one thread, or of one task in async code, share a peer, so the server
      sees their hierarchy. A `Client`: this lock gets a peer of its own (as in 0.1). A `Peer`: that one is
      used (as in 0.2).
    * `semaphore`: a name, or several with their counts: `{"A": 1, "B": 2}`. Several are one request: they are
      granted in a single step, all of them or none. (From servers before 0.6 they are acquired one after the
      other in the given order, which must go from high to low levels.)
    * `count`: how much of the semaphore to take.
    * `timeout`: raise `Timeout` if it is not granted by then; 0 tries once; `None` waits.
    * `ttl`: the expiry, 5 minutes by default: how long the lock outlives a holder that died, and how long it
      can be held while the server is out of reach. It is renewed at a third of it. Nested locks share the
      shortest.
    * `on_lost`: when the lock is lost, `"raise"` raises `LockLost` from the end of the `with` and from
      `handle.check()`; `"cancel"` also cancels the body at once (`async with` only); `"ignore"` leaves it to
      `handle.lost`, `handle.check()` and `notify`.
    * `notify`: called with the `LockLost`, in a thread of its own.
    * `priority`: higher ones are served first, but waiting long enough outranks any. Servers before 0.6
      know no priorities and serve in order of arrival.
    * `labels`: what the peer tells of itself, for people who look at who holds what: `default_labels()` if
      not given, none if empty. Nested locks share a peer, which has the labels of the outermost.
    * `token`, `token_file`, `cacert`: as in `Client`; for a URL only.
    * `heartbeat_interval`: released with 0.1 and 0.2; at most a third of the expiry is used, and `None`
      turns the renewal off.

    One `lock` may be entered any number of times, also from several threads or tasks at once.
    """

    @overload
    def __init__(
        self,
        target: Union[ServerUrl, AsyncClient, None],
        semaphore: Semaphores,
        count: int = ...,
        timeout: Optional[Duration] = ...,
        *,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
        labels: Optional[Labels] = ...,
        token: Optional[str] = ...,
        token_file: Optional[str] = ...,
        cacert: Optional[str] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        target: Union[Client, Peer],
        semaphore: Semaphores,
        count: int = ...,
        heartbeat_interval: Optional[Duration] = ...,
        timeout: Optional[Duration] = ...,
        *,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
        labels: Optional[Labels] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        server_url: ServerUrl,
        semaphore: Semaphores,
        count: int = ...,
        timeout: Optional[Duration] = ...,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
        labels: Optional[Labels] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        client: Client,
        semaphore: Semaphores,
        count: int = ...,
        heartbeat_interval: Optional[Duration] = ...,
        timeout: Optional[Duration] = ...,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
        labels: Optional[Labels] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        peer: Peer,
        semaphore: Semaphores,
        count: int = ...,
        heartbeat_interval: Optional[Duration] = ...,
        timeout: Optional[Duration] = ...,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        semaphore: Semaphores,
        count: int = ...,
        timeout: Optional[Duration] = ...,
        ttl: Optional[Duration] = ...,
        on_lost: str = ...,
        notify: Optional[Notify] = ...,
        priority: int = ...,
        labels: Optional[Labels] = ...,
        token: Optional[str] = ...,
        token_file: Optional[str] = ...,
        cacert: Optional[str] = ...,
    ) -> None: ...

    def __init__(
        self,
        target: Union[ServerUrl, AsyncClient, Client, Peer, None] = None,
        semaphore: Semaphores = _UNSET,
        count: int = 1,
        *positional: Optional[Duration],
        heartbeat_interval: Optional[Duration] = _UNSET,
        timeout: Optional[Duration] = _UNSET,
        ttl: Optional[Duration] = None,
        on_lost: str = "raise",
        notify: Optional[Notify] = None,
        priority: int = 0,
        labels: Optional[Labels] = None,
        token: Optional[str] = None,
        token_file: Optional[str] = None,
        cacert: Optional[str] = None,
        server_url: Optional[ServerUrl] = None,
        client: Optional[Client] = None,
        peer: Optional[Peer] = None,
    ) -> None:
        target = next((item for item in (target, server_url, client, peer) if item is not None), None)
        heartbeat_interval, timeout = _positional(target, positional, heartbeat_interval, timeout)
        expiry = checked_ttl(ttl)
        interval = (
            None
            if heartbeat_interval is _UNSET
            else optional_seconds(heartbeat_interval, "heartbeat_interval")
        )
        if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > HIGHEST_PRIORITY:
            raise ConfigurationError(
                f"priority is {priority!r}; a whole number up to {HIGHEST_PRIORITY} is needed, 0 is usual"
            )
        if isinstance(target, Peer) and labels is not None:
            raise ConfigurationError("labels belong to the peer; give them to Peer(…, labels=…)")
        if isinstance(target, AsyncClient) and labels is None:
            labels = target.labels
        plan = Plan(
            target=resolve(target, token, token_file, cacert),
            wanted=_wanted(semaphore, count),
            timeout=optional_seconds(timeout, "timeout"),
            ttl=expiry,
            interval=interval or None,
            renewing=heartbeat_interval is not None,
            on_lost=checked_on_lost(on_lost),
            notify=notify,
            priority=priority,
            labels=checked(labels),
        )
        super().__init__(plan)

    def __repr__(self) -> str:
        return f"<lock on {dict(self._plan.wanted)}>"

    def __call__(self, function: F) -> F:
        """Decorate a function, plain or async, so that each call holds the lock."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function!r} is a generator: its body would run after the lock is released. "
                "Use `with lock(…)` inside it."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return async_wrapper  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


def _positional(
    target: object, positional: tuple[Any, ...], heartbeat_interval: Any, timeout: Any
) -> tuple[Any, Optional[Duration]]:
    """Sort out what follows the count: the interval came first up to 0.2, for a Client or a Peer."""
    names = ["heartbeat_interval", "timeout"] if isinstance(target, (Client, Peer)) else ["timeout"]
    if len(positional) > len(names):
        raise TypeError(
            f"lock() takes at most {3 + len(names)} positional arguments here: …, {', '.join(names)}"
        )
    values = {"heartbeat_interval": heartbeat_interval, "timeout": timeout}
    for name, value in zip(names, positional):
        if values[name] is not _UNSET:
            raise TypeError(f"lock() got {name} twice")
        values[name] = value
    return values["heartbeat_interval"], None if values["timeout"] is _UNSET else values["timeout"]


def _wanted(semaphore: Semaphores, count: int) -> dict[str, int]:
    if semaphore is _UNSET:
        raise TypeError("lock() needs a semaphore, e.g. lock('http://localhost:8000', 'A')")
    if isinstance(semaphore, str):
        wanted = {semaphore: count}
    elif isinstance(semaphore, Mapping) and semaphore:
        if count != 1:
            raise ConfigurationError(
                "count goes with one semaphore; for several give each its own: {'A': 1, 'B': 2}"
            )
        wanted = dict(semaphore)
    else:
        raise ConfigurationError(
            f"the semaphore is {semaphore!r}; a name, or names with counts {{'A': 1}}, is needed"
        )
    for name, number in wanted.items():
        checked_name(name)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise ConfigurationError(
                f"the count for {name!r} is {number!r}; a whole number from 1 on is needed"
            )
    return wanted
