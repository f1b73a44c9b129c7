"""The clients 0.2: a peer is made first, and passed to `lock`."""

from contextlib import AbstractContextManager
from datetime import timedelta
from importlib import import_module
from typing import Any
from urllib.parse import quote

import scenarios
from parties import MINUTES, NEVER, Party, Release, Scenario, refused
from server import Server

throttle_client: Any = import_module("throttle_client")
client: Any = import_module("throttle_client.client")


class PartyWithPeer(Party):
    """A peer of a release from 0.2 on."""

    def __init__(self, peer: Any) -> None:
        """A peer that the server knows."""
        super().__init__()
        self.peer = peer
        peer.heartbeat = self.recorded(peer.heartbeat)

    def ask(self, semaphore: str, count: int = 1) -> bool:
        granted: bool = self.peer.acquire(semaphore, count)
        return granted

    def is_granted(self) -> bool:
        return self.peer.client.is_acquired(self.peer.id) is True

    def live_for(self, duration: timedelta) -> None:
        self.peer.client.heartbeat(self.peer.id, duration)

    def come_back(self) -> None:
        with refused(client.UnknownPeer):
            self.peer.heartbeat()
        self.peer.restore()
        self.peer.heartbeat()

    def leave(self) -> None:
        self.peer.remove_from_server()


class Party02(PartyWithPeer):
    """A peer, and the heartbeat that its locks are to have."""

    def __init__(self, url: str, expires_in: timedelta, heartbeat: timedelta) -> None:
        """Asks the server for the peer."""
        super().__init__(throttle_client.Peer(throttle_client.Client(url), expiration_time=expires_in))
        self._heartbeat = heartbeat

    def lock(
        self, semaphore: str, count: int = 1, timeout: timedelta | None = None
    ) -> AbstractContextManager[object]:
        held: AbstractContextManager[object] = throttle_client.lock(
            self.peer, semaphore, count, heartbeat_interval=self._heartbeat, timeout=timeout
        )
        return held


class Release02(Release):
    """A release 0.2."""

    timeout_error = throttle_client.Timeout

    def party(self, url: str, expires_in: timedelta = MINUTES, heartbeat: timedelta = NEVER) -> Party02:
        return Party02(url, expires_in, heartbeat)

    def remainder(self, url: str, semaphore: str) -> int:
        return int(throttle_client.Client(url).remainder(semaphore))

    def remove_expired(self, url: str) -> int:
        return int(throttle_client.Client(url).remove_expired())

    def spelled(self, semaphore: str) -> str:
        """These releases send a name as it is: who has one like `/&` has to quote it."""
        return quote(semaphore, safe="")


release = Release02()


def bare_slash(server: Server) -> None:
    """`/&` sent as it is means another path, which must not be taken for a semaphore."""
    party = release.party(server.url)
    with refused(Exception, "404"):
        party.ask("/&")
    with refused(ValueError, "Unknown semaphore"):
        release.remainder(server.url, "/&")


SCENARIOS: dict[str, Scenario] = {
    **scenarios.common(release),
    **scenarios.since_0_2(release),
    "bare_slash": bare_slash,
}
