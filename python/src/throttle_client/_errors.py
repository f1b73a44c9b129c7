"""The exceptions of this package: one tree below `ThrottleError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

__all__ = [
    "AlreadyPending",
    "CertificateRejected",
    "ConfigurationError",
    "CountExceedsMax",
    "Deadlock",
    "HierarchyViolation",
    "LockLost",
    "NoSuchRoute",
    "NotAcquired",
    "NotAuthorized",
    "NotReleased",
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

    A wait that an operator ended is told of in the same way; no `semaphores` are lost then.

    `reason` is one of

    * `"expired"`: no renewal succeeded in the promised time,
    * `"released"`: the server ended it, by an operator's hand or because it expired there,
    * `"not restored"`: the server started anew and did not take the lock back,
    * `"forked"`: this is a child process, and the lock belongs to its parent.

    `detail` is what the server says about it, with the reason that an operator gave; `None` if it says
    nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "expired",
        semaphores: Sequence[str] = (),
        detail: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.semaphores = tuple(semaphores)
        self.detail = detail


class NotReleased(ThrottleError):
    """The server, or something between, does not take a release: `semaphores` are still held.

    The message says until when. The release is repeated in the background until then, and what refused it is
    the `__cause__`.
    """

    def __init__(self, message: str, *, semaphores: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.semaphores = tuple(semaphores)


class UnknownPeer(ThrottleError):
    """The server does not know this peer: it expired, was released, or the server lost its state.

    `instance` is the id of the server's state at that moment, or `None` if the server sends none. `detail` is
    what the server says about the end of the peer, if it says anything. `by_operator` tells whether an
    operator ended it, as far as the server says so.
    """

    def __init__(
        self,
        message: str = "Unknown peer",
        *,
        instance: Optional[str] = None,
        detail: Optional[str] = None,
        by_operator: bool = False,
    ) -> None:
        super().__init__(message)
        self.instance = instance
        self.detail = detail
        self.by_operator = by_operator


class RequestRefused(ThrottleError, ValueError):
    """The server understood the request and says no. Repeating it does not help.

    `code` is the server's word for programs, such as `"deadlock"`; `None` from servers without `/v1`.
    """

    def __init__(self, message: str, *, status: int = 400, code: Optional[str] = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UnknownSemaphore(RequestRefused):
    """No semaphore of that name is configured on the server."""


class CountExceedsMax(RequestRefused):
    """The count is larger than the semaphore's `max`, so the lock could never be granted."""


class HierarchyViolation(RequestRefused):
    """The peer holds a lock whose level is not above that of what it asks for, or a smaller count of it."""


class Deadlock(RequestRefused):
    """The request would wait for ever, as those it waits for wait for this peer. Nothing is waited for."""


class AlreadyPending(RequestRefused):
    """The peer waits for other locks already, and a peer has at most one request that waits."""


class NotAcquired(RequestRefused):
    """The request was withdrawn while it waited: someone released it, or removed the semaphore."""


class ServerError(ThrottleError):
    """The server, or something between, answered with a status that says nothing about the lock.

    `code` is the server's word for programs, such as `"limit_reached"`, if it sent one.
    """

    def __init__(self, message: str, *, status: int = 500, code: Optional[str] = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NoSuchRoute(ServerError):
    """The server does not offer this: it is too old, or no Throttle server."""


class NotAuthorized(ServerError):
    """The bearer token is missing, wrong, or not good enough (401 or 403)."""


class ServerUnreachable(ThrottleError, ConnectionError):
    """No answer arrived. `sent` is false if it is certain that the request never left."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class CertificateRejected(ServerUnreachable):
    """The server's TLS certificate is not trusted."""
