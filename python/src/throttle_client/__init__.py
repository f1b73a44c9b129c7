"""Semaphores for distributed systems: the client of a Throttle server.

>>> from throttle_client import lock
>>> with lock("http://localhost:8000", "A"):
...     pass  # at most as many processes as the semaphore allows are here at once
"""

from ._async_client import AsyncClient
from ._client import Client
from ._durations import Duration
from ._errors import (
    CertificateRejected,
    ConfigurationError,
    CountExceedsMax,
    HierarchyViolation,
    LockLost,
    NotAuthorized,
    RequestRefused,
    ServerError,
    ServerUnreachable,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
)
from ._handle import Handle, LossEvent
from ._local import clear_peers, get_local_peer, set_local_peer
from ._lock import lock
from ._peer import Peer, PeerWithHeartbeat

__all__ = [
    "AsyncClient",
    "CertificateRejected",
    "Client",
    "ConfigurationError",
    "CountExceedsMax",
    "Duration",
    "Handle",
    "HierarchyViolation",
    "LockLost",
    "LossEvent",
    "NotAuthorized",
    "Peer",
    "PeerWithHeartbeat",
    "RequestRefused",
    "ServerError",
    "ServerUnreachable",
    "ThrottleError",
    "Timeout",
    "UnknownPeer",
    "UnknownSemaphore",
    "clear_peers",
    "get_local_peer",
    "lock",
    "set_local_peer",
]

__version__ = "0.6.0"
