"""Requests and answers as values. Nothing here does I/O; both clients and the renewal share it.

In `/v1` the name of a semaphore stands in a body or a query, never in a path: many proxies decode `%2F`
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional, Union
from urllib.parse import quote

from ._durations import format_duration
from ._errors import (
    AlreadyPending,
    ConfigurationError,
    CountExceedsMax,
    Deadlock,
    HierarchyViolation,
    NoSuchRoute,
    NotAcquired,
    NotAuthorized,
    RequestRefused,
    ServerError,
    ThrottleError,
    UnknownPeer,
    UnknownSemaphore,
)
from ._text import name

__all__ = [
    "Answer",
    "Request",
    "acquire",
    "acquire_one",
    "check",
    "freeze",
    "heartbeat",
    "heartbeat_and_look",
    "heartbeats",
    "is_acquired",
    "is_token_live",
    "lacks_route",
    "list_of_peers",
    "new_peer",
    "new_peer_with_locks",
    "parse_acquired",
    "parse_bool",
    "parse_counts",
    "parse_gone",
    "parse_int",
    "parse_live",
    "parse_locks",
    "parse_peer_id",
    "parse_peers",
    "parse_tokens",
    "parse_wait",
    "release_lock",
    "release_peer",
    "remainder",
    "remove_expired",
    "restore",
    "version",
]

INSTANCE_HEADER = "throttle-instance"
TOKEN_HEADER = "throttle-fencing-token"  # noqa: S105 (a name)
PROBLEM_TYPE = "application/problem+json"


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
    # The same without the wait: what a request that waits is repeated as. The answer tells at once whether
    # the first one reached the queue, which a second wait would not.
    at_once: Optional[Request] = None
    # The same in the dialect of servers without /v1, as far as it has words for it.
    classic: Optional[Request] = None
    # The same without what nobody asked for: to be sent if the server does not take that.
    bare: Optional[Request] = None
    # A status that is an answer here, though it looks like a refusal.
    also: Optional[int] = None

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
        """Fencing token of the grant that this answers, in the older dialect."""
        return _digits(self.headers.get(TOKEN_HEADER))

    @property
    def code(self) -> Optional[str]:
        """Why the request was refused, as `/v1` says it to programs."""
        code = self.problem.get("code")
        return code if isinstance(code, str) else None

    @property
    def problem(self) -> dict[str, Any]:
        """The refusal as `/v1` gives it; empty if this is none."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.document if kind == PROBLEM_TYPE else {}

    @property
    def document(self) -> dict[str, Any]:
        """The body if it is a JSON object, else an empty one."""
        try:
            document = json.loads(self.text)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


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
    classic = Request("POST", "/new_peer", json=dict(body), repeatable=False)
    if labels:
        body["labels"] = dict(labels)
    return Request("POST", "/v1/peers", json=body, key=key, classic=classic, bare=bare)


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
    classic = new_peer(expires_in, key).classic
    return Request("POST", "/v1/locks", json=body, block_for=wait, key=key, classic=classic, bare=bare)


def acquire(
    peer_id: int,
    locks: Mapping[str, int],
    expires_in: Optional[float] = None,
    block_for: Optional[float] = None,
    priority: int = 0,
) -> Request:
    """Ask for locks, all or nothing in a single step; the older dialect can ask for one only.

    With `block_for` the server answers when they are granted, or when that time is over.
    """
    body: dict[str, Any] = {"locks": {name(semaphore): count for semaphore, count in locks.items()}}
    if expires_in is not None:
        body["expires_in"] = format_duration(expires_in)
    if block_for is not None:
        body["wait"] = format_duration(block_for)
    if priority:
        body["priority"] = priority
    one = next(iter(locks.items())) if len(locks) == 1 else None
    return Request(
        "PUT",
        f"/v1/peers/{peer_id}/locks",
        json=body,
        block_for=block_for or 0.0,
        at_once=acquire(peer_id, locks, expires_in, None, priority) if block_for else None,
        classic=None if one is None else acquire_one(peer_id, *one, expires_in, block_for),
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
        at_once=acquire_one(peer_id, semaphore, count, expires_in) if block_for else None,
    )


def heartbeat(peer_id: int, expires_in: float) -> Request:
    """Move the peer's expiry."""
    body = {"expires_in": format_duration(expires_in)}
    classic = Request("PUT", f"/peers/{peer_id}", json=body)
    return Request("POST", f"/v1/peers/{peer_id}/heartbeat", json=body, classic=classic)


def heartbeat_and_look(peer_id: int, expires_in: float) -> Request:
    """Move the peer's expiry, and see it: the older dialect cannot."""
    return replace(heartbeat(peer_id, expires_in), classic=None)


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
    classic = Request("DELETE", f"/peers/{peer_id}/{_segment(semaphore)}")
    return Request("POST", f"/v1/peers/{peer_id}/release", json={"locks": [name(semaphore)]}, classic=classic)


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


def lacks_route(answer: Answer) -> bool:
    """Whether the server has no such route. What a route of `/v1` does not find has a code of its own."""
    return answer.status in (404, 405) and answer.code in (None, "not_found", "method_not_allowed")


def check(answer: Answer, request: Request) -> Answer:
    """Return the answer if it is a success, else raise what it means."""
    if 200 <= answer.status < 300 or answer.status == request.also:
        return answer
    text = answer.text.strip()
    what = f"{request.method} {request.path}"
    if answer.status in (401, 403):
        raise NotAuthorized(
            f"{what} was not authorized (status {answer.status}): {_short(text)}. "
            "Pass token=, or set THROTTLE_TOKEN or THROTTLE_TOKEN_FILE.",
            status=answer.status,
        )
    if lacks_route(answer):
        raise NoSuchRoute(
            f"{what} was answered with status {answer.status}: no such route; is the URL that of a Throttle "
            "server, and is the server recent enough?",
            status=answer.status,
        )
    if answer.code is not None:
        raise _problem(answer, what)
    if answer.status in (400, 409):
        raise _refusal(answer, text)
    raise ServerError(
        f"{what} was answered with status {answer.status}: {_short(text)}", status=answer.status
    )


# What the codes of /v1 are here, and how the message begins.
_REFUSALS: dict[str, tuple[type[RequestRefused], str]] = {
    "invalid_request": (RequestRefused, ""),
    "unknown_semaphore": (UnknownSemaphore, "Unknown semaphore. "),
    "count_exceeds_max": (CountExceedsMax, "Lock can never be acquired. "),
    "hierarchy_violation": (HierarchyViolation, "Lock hierarchy violation. "),
    "already_pending": (AlreadyPending, ""),
    "deadlock": (Deadlock, "Deadlock. "),
    "not_acquired": (NotAcquired, ""),
}


def _problem(answer: Answer, what: str) -> ThrottleError:
    code, status = answer.code, answer.status
    detail = str(answer.problem.get("detail") or answer.problem.get("title") or code)
    if code == "peer_gone":
        return UnknownPeer(detail, instance=answer.instance, detail=detail)
    if code in _REFUSALS:
        error, begin = _REFUSALS[code]
        return error(begin + detail, status=status, code=code)
    if status in (400, 409):
        return RequestRefused(detail, status=status, code=code)
    return ServerError(f"{what} was answered with status {status}: {detail}", status=status, code=code)


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
    if text.startswith("Deadlock: "):
        return Deadlock(text, status=answer.status)
    return RequestRefused(_short(text) or f"refused with status {answer.status}", status=answer.status)


def parse_int(answer: Answer) -> int:
    """Read a body that is one integer."""
    try:
        return int(answer.text)
    except ValueError:
        raise _no_number(answer) from None


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


def parse_peer_id(answer: Answer) -> int:
    """Read the id of a new peer, in either dialect."""
    if not answer.document:
        return parse_int(answer)
    peer_id = _digits(answer.document.get("id"))
    if peer_id is None:
        raise _no_number(answer)
    return peer_id


def parse_locks(answer: Answer) -> Optional[dict[str, Optional[int]]]:
    """The locks that the peer holds, with their fencing tokens; `None` if the dialect does not tell."""
    locks = answer.document.get("locks")
    if not isinstance(locks, list):
        return None
    try:
        return {str(lock["semaphore"]): _digits(lock["token"]) for lock in locks}
    except (KeyError, TypeError):
        raise ServerError(
            f"locks were expected, but the answer is {_short(answer.text)!r}", status=answer.status
        ) from None


def parse_gone(answer: Answer) -> set[int]:
    """Those of many peers that the server does not know any more."""
    gone = answer.document.get("gone")
    numbers = [_digits(peer) for peer in gone] if isinstance(gone, list) else [None]
    if None in numbers:
        raise ServerError(
            f"a list of peers was expected, but the answer is {_short(answer.text)!r}", status=answer.status
        )
    return {number for number in numbers if number is not None}


def parse_counts(answer: Answer) -> dict[str, int]:
    """The locks that the peer holds, with their counts."""
    locks = answer.document.get("locks")
    try:
        return {str(lock["semaphore"]): int(lock["count"]) for lock in locks or ()}
    except (KeyError, TypeError, ValueError):
        raise ServerError(
            f"locks were expected, but the answer is {_short(answer.text)!r}", status=answer.status
        ) from None


def parse_tokens(answer: Answer, semaphores: Iterable[str]) -> dict[str, Optional[int]]:
    """The fencing token of each semaphore, from the answer that grants them in either dialect."""
    locks = parse_locks(answer)
    return {each: answer.token if locks is None else locks.get(each) for each in semaphores}


def parse_wait(answer: Answer) -> str:
    """Why a request waits, as far as the dialect tells: its place, and who holds what it waits for."""
    pending = answer.document.get("pending")
    if not isinstance(pending, dict):
        return ""
    holders = "; ".join(
        f"{item.get('semaphore')!r} is held by peer {item.get('peer')} {_labels(item.get('labels'))}".rstrip()
        for item in pending.get("blocked_by") or ()
        if isinstance(item, dict)
    )
    place = f"its place in the queue was {pending.get('position')}"
    return f"{place}; {holders}" if holders else place


def parse_live(answer: Answer) -> bool:
    """Read whether a fencing token is live."""
    if answer.status == 410 and answer.code != "token_gone":
        raise ServerError(f"the answer is {_short(answer.text)!r}; is this a Throttle server?", status=410)
    return answer.status != 410


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
    semaphore = name(semaphore)
    # Dots alone would be taken for steps in the path.
    return quote(semaphore, safe="") if semaphore.strip(".") else semaphore.replace(".", "%2E")


def _no_number(answer: Answer) -> ServerError:
    return ServerError(
        f"a number was expected, but the answer is {_short(answer.text)!r}; is this a Throttle server?",
        status=answer.status,
    )


def _digits(value: object) -> Optional[int]:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _labels(labels: object) -> str:
    if not isinstance(labels, dict) or not labels:
        return ""
    return f"({', '.join(f'{key} {value}' for key, value in labels.items())})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
