"""Semaphores for distributed systems: the client of a Throttle server.

>>> from throttle_client import lock
>>> with lock("http://localhost:8000", "A"):
...     pass  # at most as many processes as the semaphore allows are here at once
"""

from ._adopt import adopt
from ._async_client import AsyncClient
from ._client import Client
from ._durations import Duration
from ._errors import (
    AlreadyPending,
    CertificateRejected,
    ConfigurationError,
    CountExceedsMax,
    Deadlock,
    HierarchyViolation,
    LockLost,
    NotAcquired,
    NotAuthorized,
    NotReleased,
    RequestRefused,
    ServerError,
    ServerUnreachable,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
)
from ._handle import Handle, LossEvent
from ._labels import default_labels
from ._local import clear_peers, get_local_peer, set_local_peer
from ._lock import lock
from ._peer import Peer, PeerWithHeartbeat

__all__ = [
    "AlreadyPending",
    "AsyncClient",
    "CertificateRejected",
    "Client",
    "ConfigurationError",
    "CountExceedsMax",
    "Deadlock",
    "Duration",
    "Handle",
    "HierarchyViolation",
    "LockLost",
    "LossEvent",
    "NotAcquired",
    "NotAuthorized",
    "NotReleased",
    "Peer",
    "PeerWithHeartbeat",
    "RequestRefused",
    "ServerError",
    "ServerUnreachable",
    "ThrottleError",
    "Timeout",
    "UnknownPeer",
    "UnknownSemaphore",
    "adopt",
    "clear_peers",
    "default_labels",
    "get_local_peer",
    "lock",
    "set_local_peer",
]

__version__ = "0.6.0"
