"""The clients 0.1: a request for a lock makes a peer, and a heartbeat repeats what is held."""

import threading
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from importlib import import_module
from typing import Any

import scenarios
from parties import MINUTES, NEVER, PROMPT, Party, Release, Scenario, Visitor, refused
from server import Server

throttle_client: Any = import_module("throttle_client")
requests: Any = import_module("requests")


class Party01(Party):
    """A client and, once it has asked, the peer that came of it."""

    def __init__(self, url: str, expires_in: timedelta, heartbeat: timedelta) -> None:
        """No request is sent yet."""
        super().__init__()
        self.client = throttle_client.Client(url, expiration_time=expires_in)
        self.peer: Any = None
        self._heartbeat = heartbeat
        self._blocks = False
        block_until_acquired = self.client.block_until_acquired

        def block(*arguments: Any) -> Any:
            self._blocks = True
            return block_until_acquired(*arguments)

        self.client.block_until_acquired = block

    def ask(self, semaphore: str, count: int = 1) -> bool:
        self.peer = self.client.acquire(semaphore, count)
        return not self.peer.has_pending()

    def is_granted(self) -> bool:
        if hasattr(self.client, "is_acquired"):
            return self.client.is_acquired(self.peer) is True
        return self.client.block_until_acquired(self.peer, timedelta(0)) is False

    def lock(
        self, semaphore: str, count: int = 1, timeout: timedelta | None = None
    ) -> AbstractContextManager[object]:
        held: AbstractContextManager[object] = throttle_client.lock(
            self.client, semaphore, count, heartbeat_interval=self._heartbeat, timeout=timeout
        )
        return held

    def outlives_server(self) -> bool:
        # The request that makes the peer is not repeated by 0.1.1.
        return self._blocks

    def live_for(self, duration: timedelta) -> None:
        self.client.expiration_time = duration
        self.client.heartbeat(self.peer)

    def come_back(self) -> None:
        self.client.expiration_time = MINUTES
        self.client.heartbeat(self.peer)

    def leave(self) -> None:
        self.client.release(self.peer)


class Release01(Release):
    """A release 0.1."""

    timeout_error = throttle_client.Timeout

    def party(self, url: str, expires_in: timedelta = MINUTES, heartbeat: timedelta = NEVER) -> Party01:
        return Party01(url, expires_in, heartbeat)

    def remainder(self, url: str, semaphore: str) -> int:
        return int(throttle_client.Client(url).remainder(semaphore))

    def remove_expired(self, url: str) -> int:
        return int(throttle_client.Client(url).remove_expired())


release = Release01()


def leak_on_exception(server: Server) -> None:
    """An exception leaks the lock; it comes free when the peer expires."""
    # The heartbeat of a leaked lock would keep this process alive.
    throttle_client.Thread = partial(threading.Thread, daemon=True)
    party = release.party(server.url)
    try:
        with party.lock("A") as peer:
            party.peer = peer
            raise KeyError("inside")
    except KeyError:
        pass
    assert release.remainder(server.url, "A") == 0
    second = Visitor(release.party(server.url), "A")
    server.await_pending("A", 1)
    party.live_for(timedelta(milliseconds=200))
    second.await_entry(PROMPT)
    second.leave()
    assert release.remainder(server.url, "A") == 1


def slash(server: Server) -> None:
    """The name is sent in a body; these releases cannot ask for the remainder of `/&`."""
    first, second = release.party(server.url), release.party(server.url)
    assert first.ask("/&")
    assert not second.ask("/&")
    first.leave()
    assert second.is_granted()
    second.leave()
    with release.party(server.url).lock("/&"):
        assert not second.ask("/&")
    assert second.is_granted()
    second.leave()
    with refused(ValueError, "Unknown semaphore"):
        release.remainder(server.url, "/&")


def freeze_is_gone(server: Server) -> None:
    """The server is not stalled by a client."""
    with refused(requests.HTTPError, "404"):
        throttle_client.Client(server.url).freeze(timedelta(milliseconds=1))


SCENARIOS: dict[str, Scenario] = {
    **scenarios.common(release),
    "leak_on_exception": leak_on_exception,
    "slash": slash,
}
if hasattr(throttle_client.Client, "freeze"):
    SCENARIOS["freeze_is_gone"] = freeze_is_gone
