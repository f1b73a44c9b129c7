"""The clients 0.3 to 0.5: `lock` takes the URL, and finds the peer of its thread."""

from contextlib import AbstractContextManager
from datetime import timedelta
from importlib import import_module
from typing import Any

import scenarios
from client_0_2 import PartyWithPeer
from parties import MINUTES, NEVER, Release, Scenario

throttle_client: Any = import_module("throttle_client")
peers: Any = import_module("throttle_client.peer")


class Party03(PartyWithPeer):
    """A peer with a heartbeat of its own."""

    def __init__(self, url: str, expires_in: timedelta, heartbeat: timedelta) -> None:
        """Asks the server for the peer."""
        client = throttle_client.Client(url)
        super().__init__(
            peers.PeerWithHeartbeat(client, expiration_time=expires_in, heartbeat_interval=heartbeat)
        )
        self._url = url

    def lock(
        self, semaphore: str, count: int = 1, timeout: timedelta | None = None
    ) -> AbstractContextManager[object]:
        throttle_client.set_local_peer(self._url, self.peer)
        held: AbstractContextManager[object] = throttle_client.lock(
            self._url, semaphore, count, timeout=timeout
        )
        return held


class Release03(Release):
    """A release from 0.3 on."""

    timeout_error = throttle_client.Timeout

    def party(self, url: str, expires_in: timedelta = MINUTES, heartbeat: timedelta = NEVER) -> Party03:
        return Party03(url, expires_in, heartbeat)

    def remainder(self, url: str, semaphore: str) -> int:
        return int(throttle_client.Client(url).remainder(semaphore))

    def remove_expired(self, url: str) -> int:
        return int(throttle_client.Client(url).remove_expired())


release = Release03()

SCENARIOS: dict[str, Scenario] = {
    **scenarios.common(release),
    **scenarios.since_0_2(release),
    **scenarios.since_0_3(release),
}
if not hasattr(throttle_client.Client, "remove_expired"):
    del SCENARIOS["remove_expired"]
