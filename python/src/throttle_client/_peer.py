"""Peers: what a lock belongs to on the server. `lock` makes and ends them; few need them directly."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import Any, Optional, TypeVar, Union

from . import _answers, _protocol
from ._background import background
from ._client import Client
from ._clock import now
from ._durations import Duration, optional_seconds, seconds
from ._errors import ConfigurationError, RequestRefused
from ._keeper import start_keeping, stop_keeping
from ._labels import Labels, checked, new_peer
from ._lease import DEFAULT_TTL_SECONDS, Lease
from ._servers import ServerUrl
from ._settings import Settings

__all__ = ["Peer", "PeerWithHeartbeat"]

P = TypeVar("P", bound="Peer")

STOP_SECONDS = 5.0


class Peer:
    """A peer of a Throttle server; this class does not renew it by itself.

    * `client`: the server to talk to.
    * `id`: of an existing peer; without it a new one is created on the server.
    * `acquired`: the locks which that existing peer holds.
    * `expiration_time`: its expiry, 5 minutes by default.
    * `labels`: what it tells of itself when it is created; those of the client if not given.

    The form of 0.1, `Peer(id, active, pending)`, works too; such a peer has no server to talk to.

    A forked child gets a new peer on first use: it never shares that of its parent.
    """

    def __init__(
        self,
        client: Union[Client, str, int, None] = None,
        id: Union[int, str, dict[str, int], None] = None,  # noqa: A002 (the released name)
        acquired: Optional[dict[str, int]] = None,
        expiration_time: Optional[Duration] = None,
        *,
        active: Optional[dict[str, int]] = None,
        pending: Optional[dict[str, int]] = None,
        labels: Optional[Labels] = None,
    ) -> None:
        if isinstance(client, (str, int)) or (client is None and id is not None):
            # Released with 0.1: Peer(id, active={}, pending={})
            if isinstance(id, dict):
                active = id
            pending = acquired if pending is None and isinstance(client, (str, int)) else pending
            peer_id = id if client is None else client
            self._begin(None, _number(peer_id), active, pending, None)
            return
        if client is None:
            raise ConfigurationError("a Peer needs a client, e.g. Peer(Client('http://localhost:8000'))")
        peer_id = None if id is None else _number(id)
        self._begin(client, peer_id, active if acquired is None else acquired, pending, expiration_time)
        if labels is not None:
            self._state.labels = checked(labels)
        if peer_id is None:
            self._create()

    def _begin(
        self,
        client: Optional[Client],
        peer_id: Optional[int],
        acquired: Optional[dict[str, int]],
        pending: Optional[dict[str, int]],
        expiration_time: Optional[Duration],
    ) -> None:
        ttl = optional_seconds(expiration_time, "expiration_time") or DEFAULT_TTL_SECONDS
        settings = Settings(url="") if client is None else client._link.settings
        self._client = client
        labels = None if client is None else client.labels
        self._state: Lease = Lease(settings, ttl, peer_id, acquired, labels=labels)
        self.pending: dict[str, int] = {} if pending is None else pending

    @classmethod
    def _without_request(cls: type[P], client: Client, ttl: Optional[float] = None) -> P:
        """A peer that comes into existence on the server when it is first needed."""
        peer = cls.__new__(cls)
        peer._begin(client, None, None, None, ttl)
        return peer

    @classmethod
    def from_server_url(cls: type[P], baseurl: ServerUrl) -> P:
        """Create a new peer on the server at `baseurl`."""
        return cls(Client(baseurl))

    @property
    def client(self) -> Client:
        """The client that this peer talks through."""
        if self._client is None:
            raise ConfigurationError("this peer was made from an id alone, so it has no server to talk to")
        return self._client

    @property
    def _lease(self) -> Lease:
        lease = self._state
        if lease.pid != os.getpid():
            lease = Lease(lease.settings, lease.ttl, interval=lease.wanted_interval, labels=lease.labels)
            self._state = lease
            self.pending = {}
        return lease

    def _create(self) -> int:
        lease = self._lease
        sent_at = now()
        answer = self.client._link.exchange(new_peer(lease.ttl, lease.labels))
        lease.peer_id = _answers.parse_peer_id(answer)
        lease.confirm(sent_at, answer.instance)
        return lease.peer_id

    @property
    def id(self) -> int:
        """Id of the peer on the server."""
        peer_id = self._lease.peer_id
        return self._create() if peer_id is None else peer_id

    @id.setter
    def id(self, peer_id: int) -> None:
        self._lease.peer_id = peer_id

    @property
    def expiration_time(self) -> timedelta:
        """How long the server keeps the peer without a sign of life."""
        return timedelta(seconds=self._lease.ttl)

    @expiration_time.setter
    def expiration_time(self, value: Duration) -> None:
        self._lease.ttl = seconds(value, "expiration_time")

    @property
    def acquired(self) -> dict[str, int]:
        """The locks that the peer holds, with their counts."""
        return self._lease.acquired

    @property
    def active(self) -> dict[str, int]:
        """Another name for `acquired`, as in 0.1."""
        return self._lease.acquired

    def has_acquired(self) -> bool:
        """Whether the peer holds locks."""
        return bool(self.acquired)

    def has_active(self) -> bool:
        """Whether the peer holds locks, as in 0.1."""
        return bool(self.acquired)

    def has_pending(self) -> bool:
        """Whether locks that were asked for by `Client.acquire(semaphore)` are not granted yet."""
        return bool(self.pending)

    def acquire(self, semaphore: str, count: int = 1, block_for: Optional[Duration] = None) -> bool:
        """Ask for a lock: `True` if it is granted, `False` if it is pending when `block_for` is over."""
        lease = self._lease
        lease.forget_seen_loss()
        peer_id = self.id

        def ask(wait: Optional[float], if_pending: Optional[str]) -> _protocol.Request:
            return _protocol.acquire(peer_id, {semaphore: count}, lease.ttl, wait, if_pending=if_pending)

        sent_at = now()
        answer = self.client._link.wait(ask, optional_seconds(block_for, "block_for"))
        lease.confirm(sent_at, answer.instance)
        if not _answers.parse_acquired(answer):
            return False
        lease.grant(semaphore, count, _answers.parse_tokens(answer, [semaphore])[semaphore])
        return True

    def restore(self) -> None:
        """Bring the peer back with its locks, after the server answered `Unknown peer`.

        That is right after the server lost its state. If the state is still the one which granted the locks,
        they ended there and may be granted to others: then nothing is restored, and `LockLost` is raised.
        (Servers up to 0.5 do not tell their state; there the locks are always restored.)
        """
        lease = self._lease
        lease.forget_seen_loss()
        peer_id = self.id
        if lease.acquired and lease.instance is not None:
            current = self.client._link.exchange(_protocol.version()).instance
            if not lease.may_restore(current):
                raise lease.lose("released", "the server ended it, and its state is the one that granted it")
        request = _protocol.restore(
            peer_id, lease.acquired, lease.ttl, lease.tokens, lease.labels_to_restore()
        )
        sent_at = now()
        try:
            answer = self.client._link.exchange(request)
        except RequestRefused as error:
            if lease.acquired and error.status == 409:
                raise lease.lose("not restored", str(error)) from error
            raise
        lease.confirm(sent_at, answer.instance)

    def release(self, semaphore: str) -> None:
        """Release one lock on the server."""
        # First, else a renewal in between would find it gone and take it for lost.
        self._lease.drop(semaphore)
        self.client.release_lock(self.id, semaphore)

    def heartbeat(self) -> None:
        """Renew the peer, once."""
        lease = self._lease
        sent_at = now()
        answer = self.client._link.exchange(_protocol.heartbeat(self.id, lease.ttl))
        lease.confirm(sent_at, answer.instance)

    def remove_from_server(self) -> None:
        """End the peer on the server, and with it all its locks."""
        lease = self._lease
        if lease.peer_id is not None:
            for semaphore in list(lease.acquired):
                lease.drop(semaphore)
            self.client.release(lease.peer_id)

    def start_heartbeat(self) -> None:
        """Do nothing: this peer is not renewed by itself. See `PeerWithHeartbeat`."""

    def stop_heartbeat(self) -> None:
        """Do nothing: this peer is not renewed by itself. See `PeerWithHeartbeat`."""


class PeerWithHeartbeat(Peer):
    """A peer that can be renewed in the background, by the one thread which does so for all locks.

    `heartbeat_interval` is the longest time between renewals; a third of the expiry is the most that is used.
    """

    def __init__(
        self,
        client: Client,
        id: Optional[int] = None,  # noqa: A002 (the released name)
        acquired: Optional[dict[str, int]] = None,
        expiration_time: Optional[Duration] = None,
        heartbeat_interval: Optional[Duration] = None,
        *,
        labels: Optional[Labels] = None,
    ) -> None:
        super().__init__(
            client=client, id=id, acquired=acquired, expiration_time=expiration_time, labels=labels
        )
        self._lease.wanted_interval = optional_seconds(heartbeat_interval, "heartbeat_interval")

    @property
    def interval_sec(self) -> float:
        """Seconds between renewals."""
        return self._lease.interval

    def start_heartbeat(self) -> None:
        """Renew the peer in the background from now on, as long as it holds locks."""
        thread, lease = background(), self._lease

        async def start() -> None:
            start_keeping(thread, lease)

        thread.submit(start).wait(STOP_SECONDS)

    def stop_heartbeat(self) -> None:
        """End the renewal. No heartbeat is under way any more when this returns."""
        lease = self._lease
        if lease.keeper is not None:
            background().submit(lambda: _stop(lease)).wait(STOP_SECONDS)


async def _stop(lease: Lease) -> None:
    await asyncio.shield(stop_keeping(lease, wait=True))


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"the peer id is {value!r}; a number is needed") from None
