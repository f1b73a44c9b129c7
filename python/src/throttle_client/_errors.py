"""The exceptions of this package: one tree below `ThrottleError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

__all__ = [
    "CertificateRejected",
    "ConfigurationError",
    "CountExceedsMax",
    "HierarchyViolation",
    "LockLost",
    "NotAuthorized",
    "RequestRefused",
    "ServerError",
    "ServerUnreachable",
    "ThrottleError",
    "Timeout",
    "UnknownPeer",
    "UnknownSemaphore",
]


class ThrottleError(Exception):
    """Base of everything that this package raises on purpose."""


class ConfigurationError(ThrottleError, ValueError):
    """An argument or an environment variable does not make sense; nothing was sent."""


class Timeout(ThrottleError, TimeoutError):
    """The lock was not granted within `timeout`. Nothing is held and nothing is waited for any more."""


class LockLost(ThrottleError):
    """A lock ended before its holder released it: someone else may hold it by now.

    `reason` is one of

    * `"expired"`: no renewal succeeded in the promised time,
    * `"released"`: the server ended it, by an operator's hand or because it expired there,
    * `"not restored"`: the server started anew and did not take the lock back,
    * `"forked"`: this is a child process, and the lock belongs to its parent.
    """

    def __init__(self, message: str, *, reason: str = "expired", semaphores: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.semaphores = tuple(semaphores)


class UnknownPeer(ThrottleError):
    """The server does not know this peer: it expired, was released, or the server lost its state.

    `instance` is the id of the server's state at that moment, or `None` if the server sends none.
    """

    def __init__(self, message: str = "Unknown peer", *, instance: Optional[str] = None) -> None:
        super().__init__(message)
        self.instance = instance


class RequestRefused(ThrottleError, ValueError):
    """The server understood the request and says no (400 or 409). Repeating it does not help."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class UnknownSemaphore(RequestRefused):
    """No semaphore of that name is configured on the server."""


class CountExceedsMax(RequestRefused):
    """The count is larger than the semaphore's `max`, so the lock could never be granted."""


class HierarchyViolation(RequestRefused):
    """The peer already holds a lock whose level is not above the level of the one it asks for."""


class ServerError(ThrottleError):
    """The server, or something between, answered with a status that says nothing about the lock."""

    def __init__(self, message: str, *, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class NotAuthorized(ServerError):
    """The bearer token is missing, wrong, or not good enough (401 or 403)."""


class ServerUnreachable(ThrottleError, ConnectionError):
    """No answer arrived. `sent` is false if it is certain that the request never left."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class CertificateRejected(ServerUnreachable):
    """The server's TLS certificate is not trusted."""
