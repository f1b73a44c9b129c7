"""Requests and answers as values. Nothing here does I/O; both clients and the renewal share it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union
from urllib.parse import quote

from ._durations import format_duration
from ._errors import (
    ConfigurationError,
    CountExceedsMax,
    HierarchyViolation,
    NotAuthorized,
    RequestRefused,
    ServerError,
    ThrottleError,
    UnknownPeer,
    UnknownSemaphore,
)

__all__ = [
    "Answer",
    "Request",
    "acquire",
    "check",
    "freeze",
    "heartbeat",
    "is_acquired",
    "list_of_peers",
    "new_peer",
    "parse_acquired",
    "parse_bool",
    "parse_int",
    "parse_peers",
    "release_lock",
    "release_peer",
    "remainder",
    "remove_expired",
    "restore",
    "version",
]

INSTANCE_HEADER = "throttle-instance"
TOKEN_HEADER = "throttle-fencing-token"  # noqa: S105 (a name)


@dataclass(frozen=True)
class Request:
    """One request: what to send, how long the server may hold it back, and whether a repeat is safe."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    json: Optional[Union[int, dict[str, Any]]] = None
    block_for: float = 0.0
    repeatable: bool = True


@dataclass(frozen=True)
class Answer:
    """One answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def instance(self) -> Optional[str]:
        """Id of the server's state; `None` from servers that cannot tell (up to 0.5)."""
        return self.headers.get(INSTANCE_HEADER)

    @property
    def token(self) -> Optional[int]:
        """Fencing token of the grant that this answers."""
        text = self.headers.get(TOKEN_HEADER)
        return int(text) if text is not None and text.isdigit() else None


def new_peer(expires_in: float) -> Request:
    """Create a peer. Not repeatable: a repeat would leave a second peer behind."""
    return Request("POST", "/new_peer", json={"expires_in": format_duration(expires_in)}, repeatable=False)


def acquire(
    peer_id: int,
    semaphore: str,
    count: int,
    expires_in: Optional[float] = None,
    block_for: Optional[float] = None,
) -> Request:
    """Ask for a lock; with `block_for` the server answers when it is granted, or when that time is over."""
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
    )


def heartbeat(peer_id: int, expires_in: float) -> Request:
    """Move the peer's expiry."""
    return Request("PUT", f"/peers/{peer_id}", json={"expires_in": format_duration(expires_in)})


def restore(
    peer_id: int, acquired: Mapping[str, int], expires_in: float, tokens: Optional[Mapping[str, int]] = None
) -> Request:
    """Bring a peer back that the server forgot, with the locks that it holds."""
    body: dict[str, Any] = {
        "expires_in": format_duration(expires_in),
        "peer_id": peer_id,
        "acquired": dict(acquired),
    }
    if tokens:
        body["tokens"] = {name: str(token) for name, token in tokens.items()}
    return Request("POST", "/restore", json=body)


def release_peer(peer_id: int) -> Request:
    """End a peer with all it holds and waits for."""
    return Request("DELETE", f"/peers/{peer_id}")


def release_lock(peer_id: int, semaphore: str) -> Request:
    """Release one lock, or withdraw the request for it."""
    return Request("DELETE", f"/peers/{peer_id}/{_segment(semaphore)}")


def is_acquired(peer_id: int) -> Request:
    """Ask whether nothing of the peer is pending."""
    return Request("GET", f"/peers/{peer_id}/is_acquired")


def remainder(semaphore: str) -> Request:
    """Ask what is left of a semaphore."""
    return Request("GET", "/remainder", query=(("semaphore", semaphore),))


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


def check(answer: Answer, request: Request) -> Answer:
    """Return the answer if it is a success, else raise what it means."""
    if 200 <= answer.status < 300:
        return answer
    text = answer.text.strip()
    if answer.status in (400, 409):
        raise _refusal(answer, text)
    what = f"{request.method} {request.path}"
    if answer.status in (401, 403):
        raise NotAuthorized(
            f"{what} was not authorized (status {answer.status}): {_short(text)}. "
            "Pass token=, or set THROTTLE_TOKEN or THROTTLE_TOKEN_FILE.",
            status=answer.status,
        )
    if answer.status == 404:
        text = "no such route; is the URL that of a Throttle server, and is the server recent enough?"
    raise ServerError(
        f"{what} was answered with status {answer.status}: {_short(text)}", status=answer.status
    )


def _refusal(answer: Answer, text: str) -> ThrottleError:
    if text == "Unknown peer":
        return UnknownPeer(
            "Unknown peer: it expired, was released, or the server started anew", instance=answer.instance
        )
    if text.startswith("Unknown semaphore"):
        return UnknownSemaphore(
            f"{text}. The name is looked up in the section [semaphores] of the server's configuration.",
            status=answer.status,
        )
    if text.startswith("Lock can never be acquired."):
        return CountExceedsMax(text, status=answer.status)
    if text.startswith(("Lock hierarchy violation", "Lock hierachy violation")):  # up to 0.5 it was misspelt
        return HierarchyViolation(
            f"{text} (Take locks from high to low levels; see `level` in the server's configuration.)",
            status=answer.status,
        )
    return RequestRefused(_short(text) or f"refused with status {answer.status}", status=answer.status)


def parse_int(answer: Answer) -> int:
    """Read a body that is one integer."""
    try:
        return int(answer.text)
    except ValueError:
        raise ServerError(
            f"a number was expected, but the answer is {_short(answer.text)!r}; is this a Throttle server?",
            status=answer.status,
        ) from None


def parse_bool(answer: Answer) -> bool:
    """Read a body that is `true` or `false`."""
    text = answer.text.strip()
    if text not in ("true", "false"):
        raise ServerError(
            f"true or false was expected, but the answer is {_short(text)!r}; is this a Throttle server?",
            status=answer.status,
        )
    return text == "true"


def parse_acquired(answer: Answer) -> bool:
    """Tell a grant (200) from a place in the queue (202)."""
    if answer.status in (200, 201):
        return True
    if answer.status == 202:
        return False
    raise ServerError(f"200 or 202 was expected, not {answer.status}", status=answer.status)


def parse_peers(answer: Answer) -> list[dict[str, Any]]:
    """Read the list of peers."""
    try:
        peers = json.loads(answer.text)
    except ValueError:
        peers = None
    if not isinstance(peers, list):
        raise ServerError(
            f"a list of peers was expected, but the answer is {_short(answer.text)!r}", status=answer.status
        )
    return peers


def _segment(semaphore: str) -> str:
    if not isinstance(semaphore, str) or not semaphore:
        raise ConfigurationError(f"the semaphore is {semaphore!r}; a name like 'A' is needed")
    # Dots alone would be taken for steps in the path.
    return quote(semaphore, safe="") if semaphore.strip(".") else semaphore.replace(".", "%2E")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
