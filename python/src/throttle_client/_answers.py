"""Answers as values: what they say, and what a refusal means. Nothing here does I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Optional

from ._errors import (
    AlreadyPending,
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
from ._protocol import Request

__all__ = [
    "Answer",
    "check",
    "lacks_route",
    "parse_acquired",
    "parse_bool",
    "parse_counts",
    "parse_gone",
    "parse_in_the_way",
    "parse_int",
    "parse_labels",
    "parse_live",
    "parse_locks",
    "parse_peer_id",
    "parse_peers",
    "parse_tokens",
    "parse_wait",
]

INSTANCE_HEADER = "throttle-instance"
TOKEN_HEADER = "throttle-fencing-token"  # noqa: S105 (a name)
PROBLEM_TYPE = "application/problem+json"
# Who knows these that are in the way on a semaphore knows enough.
NAMED = 3


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

    @cached_property
    def document(self) -> dict[str, Any]:
        """The body if it is a JSON object, else an empty one."""
        try:
            document = json.loads(self.text)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


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
        by_operator = answer.problem.get("cause") == "operator"
        return UnknownPeer(detail, instance=answer.instance, detail=detail, by_operator=by_operator)
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


def parse_labels(answer: Answer) -> dict[str, str]:
    """What the peer tells of itself."""
    labels = answer.document.get("labels")
    return {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def parse_tokens(answer: Answer, semaphores: Iterable[str]) -> dict[str, Optional[int]]:
    """The fencing token of each semaphore, from the answer that grants them in either dialect."""
    locks = parse_locks(answer)
    return {each: answer.token if locks is None else locks.get(each) for each in semaphores}


def parse_wait(answer: Answer) -> str:
    """Why a request waits, as far as the dialect tells: its place, and who is in its way."""
    pending = answer.document.get("pending")
    if not isinstance(pending, dict):
        return ""
    said = [f"its place in the queue was {pending.get('position')}"]
    blockers = _blockers(answer)
    if not blockers:
        said.append("nobody's release would help: the max is smaller, or nothing is granted just now")
    for name in parse_in_the_way(answer):
        found = [item for item in blockers if item.get("semaphore") == name]
        said += map(_in_the_way, found[:NAMED])
        if len(found) > NAMED:
            said.append(f"and {len(found) - NAMED} more for {name!r}")
    return "; ".join(said)


def parse_in_the_way(answer: Answer) -> list[object]:
    """The semaphores on which somebody is in the way of a request, each once."""
    return list(dict.fromkeys(item.get("semaphore") for item in _blockers(answer)))


def _blockers(answer: Answer) -> list[dict[str, Any]]:
    pending = answer.document.get("pending")
    found = pending.get("blocked_by") if isinstance(pending, dict) else None
    return [item for item in found or () if isinstance(item, dict)]


def _in_the_way(item: dict[str, Any]) -> str:
    """Who or what is in the way of a request, and how. Later servers may know more kinds."""
    kind, semaphore = item.get("kind", "holder"), repr(item.get("semaphore"))
    if kind == "paused":
        return f"{semaphore} is paused"
    if kind == "rate":
        until = item.get("until")
        return f"{semaphore} is held back by its rate" + (f" until {until}" if until else "")
    peer, who = f"peer {item.get('peer')}", _who(item.get("labels"))
    who = f"{who} ({peer})" if who else peer
    if kind == "holder":
        return f"{semaphore} is held by {who}"
    if kind == "ahead":
        others = ", ".join(map(repr, item.get("waits_for") or ()))
        return f"ahead of it for {semaphore} is {who}" + (f", which waits for {others}" if others else "")
    return f"{semaphore} is not to be had yet" + (f", because of {who}" if item.get("peer") else "")


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


def _no_number(answer: Answer) -> ServerError:
    return ServerError(
        f"a number was expected, but the answer is {_short(answer.text)!r}; is this a Throttle server?",
        status=answer.status,
    )


def _digits(value: object) -> Optional[int]:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _who(labels: object) -> str:
    """A peer in the words of its labels, the usual ones first: `import.sh jane@w1 pid 7 team=blue`."""
    if not isinstance(labels, dict):
        return ""
    user, host, pid = labels.get("user"), labels.get("host"), labels.get("pid")
    words = [
        labels.get("program"),
        f"{user or ''}@{host}" if host else user,
        f"pid {pid}" if pid else None,
        *(f"{key}={value}" for key, value in labels.items() if key not in ("program", "user", "host", "pid")),
    ]
    return " ".join(str(word) for word in words if word)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
