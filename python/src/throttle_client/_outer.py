"""The peer of a lock around this process, and the right to use it.

`throttle run` tells of it by environment variables. To the server all that is asked for in the name of one
peer comes from one thread of execution. So one thread or task of one process at a time may ask in its name,
else two that ask for the same lock would both hold the one that the first of them got.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ._errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Claim", "Outer", "outer"]

PEER_ID = "THROTTLE_PEER_ID"
PEER_URL = "THROTTLE_PEER_URL"
PEER_TTL_MS = "THROTTLE_PEER_TTL_MS"
PEER_LOCK_FILE = "THROTTLE_PEER_LOCK_FILE"
TOKENS = "THROTTLE_FENCING_TOKENS"


@dataclass(frozen=True)
class Outer:
    """The peer of a lock around this process."""

    peer_id: int
    # Seconds. The length of its lease, which is not to be changed from here.
    ttl: float
    # The server, as whoever made the peer reaches it. The same one may have other names.
    url: Optional[str] = None
    # The file that is locked by whoever asks in the name of the peer.
    lock_file: Optional[str] = None
    # The fencing tokens of all that is held around this process.
    tokens: Mapping[str, int] = field(default_factory=dict)


def outer(environment: Optional[Mapping[str, str]] = None) -> Optional[Outer]:
    """What the environment tells. Without an id and the length of the lease there is nothing to share."""
    found = os.environ if environment is None else environment
    peer_id, ttl_ms = _number(found.get(PEER_ID)), _number(found.get(PEER_TTL_MS))
    if peer_id is None or not ttl_ms:
        return None
    return Outer(
        peer_id,
        ttl_ms / 1000,
        found.get(PEER_URL) or None,
        found.get(PEER_LOCK_FILE) or None,
        _tokens(found.get(TOKENS)),
    )


class Claim:
    """The right to ask in the name of a peer. The system takes it from a process that ends."""

    def __init__(self, descriptor: int) -> None:
        # What was asked for and is not released yet.
        self.noted: frozenset[str] = frozenset()
        self._descriptor = descriptor
        _claims.add(self)

    @classmethod
    def take(cls, path: Optional[str]) -> Optional[Claim]:
        """Take it; `None` if another has it, or if it is not to be had."""
        if path is None:
            return None
        try:
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        claim = cls(descriptor)
        try:
            _lock(descriptor)
            # What one that was killed left in the peer is given back by the owner of the peer.
            is_free = os.fstat(descriptor).st_size == 0
        except OSError:
            is_free = False
        if is_free:
            return claim
        claim.end()
        return None

    def note(self, names: Iterable[str]) -> None:
        """Take note of what is asked for, before it is; of nothing, once it is released."""
        noted = frozenset(names)
        try:
            text = json.dumps(sorted(noted)).encode() if noted else b""
            # At no moment is it empty while there is something to note.
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)
            os.ftruncate(self._descriptor, len(text))
        except OSError as error:
            raise ConfigurationError(
                f"the file that {PEER_LOCK_FILE} names cannot be written: {error.strerror}"
            ) from error
        self.noted = noted

    def end(self) -> None:
        """Let others ask in the name of the peer. What is still noted, its owner releases."""
        # Explicitly: a forked child may have the file open for a moment.
        with contextlib.suppress(OSError):
            _unlock(self._descriptor)
        self._close()

    @property
    def is_over(self) -> bool:
        """Whether it was ended."""
        return self._descriptor < 0

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        with contextlib.suppress(OSError):
            os.close(descriptor)


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # A child neither has the claims of its parent, nor keeps them from others once the parent is dead.
    for claim in list(_claims):
        claim._close()
    _claims.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _tokens(text: Optional[str]) -> dict[str, int]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = {name: _number(token) for name, token in found.items() if isinstance(token, str)}
    return {name: number for name, number in numbers.items() if number is not None}
