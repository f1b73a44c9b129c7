"""What a peer tells of itself, so that people see who holds a lock."""

from __future__ import annotations

import functools
import os
import socket
import sys
import uuid
from collections.abc import Mapping
from pathlib import PurePath
from typing import Optional

from . import _protocol
from ._errors import ConfigurationError
from ._text import sendable

__all__ = ["Labels", "checked", "default_labels", "new_peer", "new_peer_with_locks", "or_default"]

Labels = Mapping[str, str]

# What servers take unless they are told otherwise.
LONGEST_VALUE = 255


def default_labels() -> dict[str, str]:
    """The labels of a peer that is given none: `host`, `pid`, `user` and `program`, as far as they are known.

    To add one: `labels={**default_labels(), "job": "nightly"}`.
    """
    return _default_labels(os.getpid(), sys.argv[0] if sys.argv else "").copy()


@functools.lru_cache(maxsize=4)
def _default_labels(pid: int, program: str) -> dict[str, str]:
    found = {"host": socket.gethostname(), "pid": str(pid), "user": _user(), "program": _program(program)}
    # What the system gives may be no text at all; then the server gets what can be shown of it.
    readable = {key: value.encode(errors="replace").decode() for key, value in found.items()}
    return {key: value[:LONGEST_VALUE] for key, value in readable.items() if value}


def checked(labels: Optional[Labels]) -> Optional[dict[str, str]]:
    """The labels as given, or what is wrong with them. How many and how long they may be, the server says."""
    if labels is None:
        return None
    if not isinstance(labels, Mapping):
        raise ConfigurationError(
            f"labels is {labels!r}; names with values are needed, {{'job': 'nightly'}}, or {{}} for none"
        )
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigurationError(f"the label {key!r} is {value!r}; both must be text")
        sendable(key, "the name of a label", "text")
        sendable(value, f"the label {key!r}", "text")
    return dict(labels)


def or_default(labels: Optional[Labels]) -> Labels:
    """The labels, or the default ones if there are none (`None`)."""
    return default_labels() if labels is None else labels


def new_peer(expires_in: float, labels: Optional[Labels]) -> _protocol.Request:
    """The request for a new peer, with a key of its own; without labels (`None`) it gets the default ones."""
    key = uuid.uuid4().hex
    if labels is not None:
        return _protocol.new_peer(expires_in, key, labels)
    bare = _protocol.new_peer(expires_in, key)
    return _protocol.new_peer(expires_in, key, default_labels(), bare=bare)


def new_peer_with_locks(
    locks: Mapping[str, int], expires_in: float, labels: Optional[Labels], priority: int, wait: float
) -> _protocol.Request:
    """The request for a new peer with its locks, as `new_peer`."""
    key = uuid.uuid4().hex
    if labels is not None:
        return _protocol.new_peer_with_locks(locks, expires_in, key, labels, priority, wait)
    bare = _protocol.new_peer_with_locks(locks, expires_in, key, None, priority, wait)
    return _protocol.new_peer_with_locks(locks, expires_in, key, default_labels(), priority, wait, bare)


def _user() -> str:
    """As `throttle run` and the Rust client tell it: `USER`, else `LOGNAME`, else what the system knows."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "")
    named = os.environ.get("USER") or os.environ.get("LOGNAME")
    if named:
        return named
    import pwd

    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name or str(number)
    except KeyError:
        return str(number)  # A container may run under a number that has no name.


def _program(started_as: str) -> str:
    path = PurePath(started_as)
    name = path.parent.name if path.name == "__main__.py" else path.name
    return "" if name in ("-c", "-m") else name
