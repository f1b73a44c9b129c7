"""The blocking low-level client: one method for each route."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional, Union, overload

from . import _answers, _protocol
from ._blocking import SyncLink
from ._durations import Duration, optional_seconds, seconds
from ._errors import ConfigurationError, UnknownPeer
from ._labels import Labels, checked, new_peer
from ._servers import ServerUrl, without_password
from ._settings import DEFAULT_RETRY_SECONDS, DEFAULT_TIMEOUT_SECONDS, Settings

if TYPE_CHECKING:
    from ._peer import Peer

__all__ = ["Client"]

PeerRef = Union[int, str, "Peer"]


class Client:
    """Speaks the HTTP interface of a Throttle server. For a lock that looks after itself see `lock`.

    Connections are pooled. A client can be shared between threads, pickled (the token goes along), and used
    after a fork. Every request has a timeout and is repeated, with backoff and jitter, after errors that may
    pass: no connection, no answer, 5xx, 429. It speaks `/v1` where the server has it (since 0.6), else the
    older dialect, and finds out by itself.

    * `base_url`: e.g. `"http://localhost:8000"`; without a scheme it is http; default `THROTTLE_URL`. Servers
      of one cluster are a list: `"http://a:8000,http://b:8000"`, or a sequence of URLs. The one that answered
      last is asked, and the next one if it is out of reach or answers 503; a redirect (307) is followed to
      servers of the list only.
    * `expiration_time`: expiry of peers that `acquire(semaphore)` creates.
    * `token`, `token_file`: bearer token, default `THROTTLE_TOKEN` or `THROTTLE_TOKEN_FILE`.
    * `cacert`: file with the certificates to trust, default `THROTTLE_CACERT`.
    * `timeout`: how long an answer of one server may take, beyond what a request asks the server to wait.
    * `retry_for`: how long a request is repeated before its error is raised. Each of several servers is asked
      once in any case.
    * `labels`: what its peers tell of themselves, for people who look at who holds what: `default_labels()`
      if not given, none if empty. Servers before 0.6 know no labels.
    """

    def __init__(
        self,
        base_url: Optional[ServerUrl] = None,
        expiration_time: Duration = timedelta(minutes=15),
        *,
        token: Optional[str] = None,
        token_file: Optional[str] = None,
        cacert: Optional[str] = None,
        timeout: Duration = DEFAULT_TIMEOUT_SECONDS,
        retry_for: Duration = DEFAULT_RETRY_SECONDS,
        labels: Optional[Labels] = None,
    ) -> None:
        settings = Settings.resolve(
            base_url, token=token, token_file=token_file, cacert=cacert, timeout=timeout, retry_for=retry_for
        )
        self.base_url = base_url if isinstance(base_url, str) else settings.url
        self.expiration_time = timedelta(seconds=seconds(expiration_time, "expiration_time"))
        self.labels = checked(labels)
        self._link = SyncLink(settings)

    @classmethod
    def _from_settings(cls, settings: Settings) -> Client:
        client = cls.__new__(cls)
        expiry = timedelta(minutes=15)
        client.__setstate__(
            {"base_url": settings.url, "expiration_time": expiry, "labels": None, "settings": settings}
        )
        return client

    def __getstate__(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "expiration_time": self.expiration_time,
            "labels": self.labels,
            "settings": self._link.settings,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.base_url = state["base_url"]
        self.expiration_time = state["expiration_time"]
        self.labels = state["labels"]
        self._link = SyncLink(state["settings"])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({without_password(self.base_url)!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections. The client stays usable."""
        self._link.close()

    def new_peer(self, expires_in: Duration) -> int:
        """Create a peer and return its id. Match it with `release`.

        A key lets the server find the peer again if the answer was lost and the request is repeated. Servers
        before 0.6 know no such keys: there it is not repeated once it was sent, but a `ServerUnreachable` is
        raised, and the server may keep a peer that nobody knows. That does no harm: it holds nothing, and
        expires by itself after `expires_in`.
        """
        request = new_peer(seconds(expires_in, "expires_in"), self.labels)
        return _answers.parse_peer_id(self._link.exchange(request))

    @overload
    def acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Duration] = None,
        block_for: Optional[Duration] = None,
    ) -> bool: ...

    @overload
    def acquire(self, semaphore: str, count: int = 1, expires_in: Optional[Duration] = None) -> Peer: ...

    def acquire(self, *args: Any, **kwargs: Any) -> Union[bool, Peer]:
        """Ask for a lock.

        `acquire(peer_id, semaphore, count=1, expires_in=None, block_for=None)` returns `True` if it is
        granted and `False` if it is pending; with `block_for` the answer comes when it is granted or that
        time is over; `expires_in` also moves the peer's expiry.

        `acquire(semaphore, count=1, expires_in=None)`, the form of 0.1, creates a peer for the lock and
        returns it; see `Peer.has_pending` and `block_until_acquired`.
        """
        if "peer_id" in kwargs or (args and isinstance(args[0], int)):
            return self._acquire(*args, **kwargs)
        return self._acquire_with_new_peer(*args, **kwargs)

    def _acquire(
        self,
        peer_id: int,
        semaphore: str,
        count: int = 1,
        expires_in: Optional[Duration] = None,
        block_for: Optional[Duration] = None,
    ) -> bool:
        expires = optional_seconds(expires_in, "expires_in")

        def ask(wait: Optional[float], if_pending: Optional[str]) -> _protocol.Request:
            return _protocol.acquire(peer_id, {semaphore: count}, expires, wait, if_pending=if_pending)

        answer = self._link.wait(ask, optional_seconds(block_for, "block_for"))
        return _answers.parse_acquired(answer)

    def _acquire_with_new_peer(
        self, semaphore: str, count: int = 1, expires_in: Optional[Duration] = None
    ) -> Peer:
        from ._peer import Peer

        peer = Peer(self, expiration_time=self.expiration_time if expires_in is None else expires_in)
        try:
            if not peer.acquire(semaphore, count):
                peer.pending[semaphore] = count
        except BaseException:
            peer.remove_from_server()
            raise
        return peer

    def block_until_acquired(self, peer: Peer, block_for: Duration) -> bool:
        """Wait for what a peer from `acquire(semaphore)` has pending; `True` if it still is (as in 0.1)."""
        for semaphore, count in list(peer.pending.items()):
            try:
                granted = peer.acquire(semaphore, count, block_for=block_for)
            except UnknownPeer:
                peer.restore()
                granted = False
            if granted:
                del peer.pending[semaphore]
        return peer.has_pending()

    def restore(
        self,
        peer_id: int,
        acquired: Mapping[str, int],
        expires_in: Duration,
        tokens: Optional[Mapping[str, int]] = None,
    ) -> None:
        """Bring a peer that the server forgot back under its id, with the locks in `acquired`.

        The server cannot know whether the locks were granted to someone else meanwhile; this method does what
        it is told. `Peer.restore` and `lock` restore only after the server lost its state.
        """
        self._link.exchange(_protocol.restore(peer_id, acquired, seconds(expires_in, "expires_in"), tokens))

    def remainder(self, semaphore: str) -> int:
        """What is left of a semaphore; negative if restored peers overcommit it."""
        return _answers.parse_int(self._link.exchange(_protocol.remainder(semaphore)))

    def is_token_live(self, semaphore: str, token: int) -> bool:
        """Whether the grant with this fencing token still holds: it was neither released nor has it expired.

        A resource asks this before it takes a write, where several may write at once (`max` above 1). Servers
        before 0.6 cannot tell, which raises `ServerError`.
        """
        return _answers.parse_live(self._link.exchange(_protocol.is_token_live(semaphore, token)))

    def is_acquired(self, peer_id: PeerRef) -> bool:
        """Whether nothing of the peer is pending."""
        return _answers.parse_bool(self._link.exchange(_protocol.is_acquired(_id(peer_id))))

    def release(self, peer_id: PeerRef) -> None:
        """End a peer: all its locks are released, and what it waits for is withdrawn."""
        self._link.exchange(_protocol.release_peer(_id(peer_id)))

    def release_lock(self, peer_id: PeerRef, semaphore: str) -> None:
        """Release one lock of a peer, or withdraw its request for it."""
        self._link.exchange(_protocol.release_lock(_id(peer_id), semaphore))

    def heartbeat(self, peer_id: PeerRef, expires_in: Optional[Duration] = None) -> None:
        """Move the expiry of a peer.

        With a `Peer` (the form of 0.1) `expires_in` may be left out, and the peer is restored if the server
        lost its state.
        """
        if expires_in is None and not isinstance(peer_id, (int, str)):
            try:
                peer_id.heartbeat()
            except UnknownPeer:
                peer_id.restore()
            return
        expires = self.expiration_time if expires_in is None else expires_in
        self._link.exchange(_protocol.heartbeat(_id(peer_id), seconds(expires, "expires_in")))

    def list_of_peers(self) -> list[dict[str, Any]]:
        """All peers that the server knows, each with at least its `id`."""
        return _answers.parse_peers(self._link.exchange(_protocol.list_of_peers()))

    def remove_expired(self) -> int:
        """Remove expired peers and return how many there were. Servers since 0.6 do so on their own: 0."""
        return _answers.parse_int(self._link.exchange(_protocol.remove_expired()))

    def freeze(self, time: Duration) -> None:
        """Stall the server, for tests with a server 0.1. Others answer 404, which raises `ServerError`."""
        self._link.exchange(_protocol.freeze(seconds(time, "time")))

    def version(self) -> str:
        """Version of the server."""
        return self._link.exchange(_protocol.version()).text.strip()


def _id(peer: PeerRef) -> int:
    if isinstance(peer, (int, str)):
        try:
            return int(peer)
        except ValueError:
            raise ConfigurationError(f"the peer id is {peer!r}; a number is needed") from None
    return peer.id
