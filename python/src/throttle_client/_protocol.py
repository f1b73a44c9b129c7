"""Requests as values. Nothing here does I/O; all clients and the renewal share it.

In `/v1` the name of a semaphore stands in a body or a query, never in a path: many proxies decode `%2F`
there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Callable, Optional, Union
from urllib.parse import quote

from ._durations import format_duration
from ._errors import ConfigurationError
from ._text import name

__all__ = [
    "Request",
    "acquire",
    "acquire_one",
    "freeze",
    "heartbeat",
    "heartbeat_and_look",
    "heartbeats",
    "is_acquired",
    "is_token_live",
    "list_of_peers",
    "new_peer",
    "new_peer_with_locks",
    "new_peer_without_key",
    "release_lock",
    "release_peer",
    "remainder",
    "remove_expired",
    "restore",
    "version",
]


@dataclass(frozen=True)
class Request:
    """One request: what to send, how long the server may hold it back, and whether a repeat is safe."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Optional[Union[int, dict[str, Any]]] = None
    block_for: float = 0.0
    repeatable: bool = True
    # Marks a request that makes something, so that a repeat finds what the first one made.
    key: Optional[str] = None
    # Both are seldom needed, and made when they are.
    make_at_once: Optional[Callable[[], Request]] = field(default=None, compare=False, repr=False)
    make_classic: Optional[Callable[[], Request]] = field(default=None, compare=False, repr=False)
    # The same without what nobody asked for: to be sent if the server does not take that.
    bare: Optional[Request] = None
    # A status that is an answer here, though it looks like a refusal.
    also: Optional[int] = None

    @cached_property
    def at_once(self) -> Optional[Request]:
        """The same without the wait: what a request that waits is repeated as.

        The answer tells at once whether the first one reached the queue, which a second wait would not.
        """
        return None if self.make_at_once is None else self.make_at_once()

    @cached_property
    def classic(self) -> Optional[Request]:
        """The same in the dialect of servers without `/v1`, as far as it has words for it."""
        return None if self.make_classic is None else self.make_classic()

    @property
    def body(self) -> Optional[bytes]:
        """What is sent, as JSON. The same request has the same bytes."""
        if self.json is None:
            return None
        return json.dumps(self.json, ensure_ascii=False, separators=(",", ":")).encode()

    @property
    def is_v1(self) -> bool:
        """Whether only servers since 0.6 have this route."""
        return self.path.startswith("/v1/")


def new_peer(
    expires_in: float,
    key: str,
    labels: Optional[Mapping[str, str]] = None,
    bare: Optional[Request] = None,
) -> Request:
    """Create a peer. The `key` makes a repeat find the peer that the first request made.

    The older dialect has no keys: there a repeat would leave a second peer behind.
    """
    body: dict[str, Any] = {"expires_in": format_duration(expires_in)}
    if labels:
        body["labels"] = dict(labels)
    classic = partial(new_peer_without_key, expires_in)
    return Request("POST", "/v1/peers", json=body, key=key, make_classic=classic, bare=bare)


def new_peer_without_key(expires_in: float) -> Request:
    """`new_peer` in the older dialect."""
    body = {"expires_in": format_duration(expires_in)}
    return Request("POST", "/new_peer", json=body, repeatable=False)


def new_peer_with_locks(
    locks: Mapping[str, int],
    expires_in: float,
    key: str,
    labels: Optional[Mapping[str, str]] = None,
    priority: int = 0,
    wait: float = 0.0,
    bare: Optional[Request] = None,
) -> Request:
    """Create a peer and ask for its locks, all or nothing. The older dialect can only create the peer."""
    body: dict[str, Any] = {
        "locks": {name(semaphore): count for semaphore, count in locks.items()},
        "expires_in": format_duration(expires_in),
    }
    if wait:
        body["wait"] = format_duration(wait)
    if priority:
        body["priority"] = priority
    if labels:
        body["labels"] = dict(labels)
    classic = partial(new_peer_without_key, expires_in)
    return Request("POST", "/v1/locks", json=body, block_for=wait, key=key, make_classic=classic, bare=bare)


def acquire(
    peer_id: int,
    locks: Mapping[str, int],
    expires_in: Optional[float] = None,
    block_for: Optional[float] = None,
    priority: int = 0,
    if_pending: Optional[str] = None,
) -> Request:
    """Ask for locks, all or nothing in a single step; the older dialect can ask for one only.

    With `block_for` the server answers when they are granted, or when that time is over; with `if_pending`,
    the instance that said they are pending, it does not ask anew for what was withdrawn since.
    """
    body: dict[str, Any] = {"locks": {name(semaphore): count for semaphore, count in locks.items()}}
    if expires_in is not None:
        body["expires_in"] = format_duration(expires_in)
    if block_for is not None:
        body["wait"] = format_duration(block_for)
    if priority:
        body["priority"] = priority
    if if_pending is not None:
        body["if_pending"] = if_pending
    at_once = partial(acquire, peer_id, locks, expires_in, None, priority, if_pending)
    one = next(iter(locks.items())) if len(locks) == 1 else None
    return Request(
        "PUT",
        f"/v1/peers/{peer_id}/locks",
        json=body,
        block_for=block_for or 0.0,
        make_at_once=at_once if block_for else None,
        make_classic=None if one is None else partial(acquire_one, peer_id, *one, expires_in, block_for),
    )


def acquire_one(
    peer_id: int,
    semaphore: str,
    count: int,
    expires_in: Optional[float] = None,
    block_for: Optional[float] = None,
) -> Request:
    """`acquire` in the older dialect."""
    query: list[tuple[str, str]] = []
    if expires_in is not None:
        query.append(("expires_in", format_duration(expires_in)))
    if block_for is not None:
        query.append(("block_for", format_duration(block_for)))
    return Request(
        "PUT",
        f"/peers/{peer_id}/{_segment(semaphore)}",
        query=tuple(query),
        json=count,
        block_for=block_for or 0.0,
        make_at_once=partial(acquire_one, peer_id, semaphore, count, expires_in) if block_for else None,
    )


def heartbeat(peer_id: int, expires_in: float) -> Request:
    """Move the peer's expiry."""
    body = {"expires_in": format_duration(expires_in)}
    classic = partial(Request, "PUT", f"/peers/{peer_id}", json=body)
    return Request("POST", f"/v1/peers/{peer_id}/heartbeat", json=body, make_classic=classic)


def heartbeat_and_look(peer_id: int, expires_in: float) -> Request:
    """Move the peer's expiry, and see it: the older dialect cannot."""
    return replace(heartbeat(peer_id, expires_in), make_classic=None)


def heartbeats(peers: Sequence[int], expires_in: float) -> Request:
    """Move the expiry of many peers. The answer does not tell what they hold."""
    body = {"expires_in": format_duration(expires_in), "peers": [str(peer) for peer in peers]}
    return Request("POST", "/v1/heartbeats", json=body)


def is_token_live(semaphore: str, token: int) -> Request:
    """Ask whether the grant with this fencing token still holds."""
    if not isinstance(token, int) or isinstance(token, bool) or token < 0:
        raise ConfigurationError(f"the fencing token is {token!r}; a whole number is needed")
    query = (("semaphore", name(semaphore)), ("token", str(token)))
    return Request("GET", "/v1/token", query=query, also=410)


def restore(
    peer_id: int,
    acquired: Mapping[str, int],
    expires_in: float,
    tokens: Optional[Mapping[str, int]] = None,
    labels: Optional[Mapping[str, str]] = None,
) -> Request:
    """Bring a peer back that the server forgot, with the locks that it holds."""
    body: dict[str, Any] = {
        "expires_in": format_duration(expires_in),
        "peer_id": peer_id,
        "acquired": {name(semaphore): count for semaphore, count in acquired.items()},
    }
    if tokens:
        body["tokens"] = {name(semaphore): str(token) for semaphore, token in tokens.items()}
    if labels:
        body["labels"] = dict(labels)
    return Request("POST", "/restore", json=body)


def release_peer(peer_id: int) -> Request:
    """End a peer with all it holds and waits for."""
    return Request("DELETE", f"/peers/{peer_id}")


def release_lock(peer_id: int, semaphore: str) -> Request:
    """Release one lock, or withdraw the request for it."""
    classic = partial(Request, "DELETE", f"/peers/{peer_id}/{_segment(semaphore)}")
    path = f"/v1/peers/{peer_id}/release"
    return Request("POST", path, json={"locks": [name(semaphore)]}, make_classic=classic)


def is_acquired(peer_id: int) -> Request:
    """Ask whether nothing of the peer is pending."""
    return Request("GET", f"/peers/{peer_id}/is_acquired")


def remainder(semaphore: str) -> Request:
    """Ask what is left of a semaphore."""
    return Request("GET", "/remainder", query=(("semaphore", name(semaphore)),))


def list_of_peers() -> Request:
    """Ask for all peers."""
    return Request("GET", "/peers/")


def remove_expired() -> Request:
    """Remove expired peers (of interest up to server 0.4)."""
    return Request("POST", "/remove_expired")


def freeze(time: float) -> Request:
    """Stall the server. Only test builds of 0.1 did that; others answer 404."""
    return Request("POST", "/freeze", query=(("for", format_duration(time)),), repeatable=False)


def version() -> Request:
    """Ask for the server's version."""
    return Request("GET", "/version")


def _segment(semaphore: str) -> str:
    semaphore = name(semaphore)
    # Dots alone would be taken for steps in the path.
    return quote(semaphore, safe="") if semaphore.strip(".") else semaphore.replace(".", "%2E")
