"""The public API as type checkers see it. This file is checked by mypy and never run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Callable, Optional

from throttle_client import (
    AlreadyPending,
    AsyncClient,
    CertificateRejected,
    Client,
    ConfigurationError,
    CountExceedsMax,
    Deadlock,
    Duration,
    Handle,
    HierarchyViolation,
    LockLost,
    LossEvent,
    NotAcquired,
    NotAuthorized,
    Peer,
    PeerWithHeartbeat,
    RequestRefused,
    ServerError,
    ServerUnreachable,
    ThrottleError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
    adopt,
    clear_peers,
    default_labels,
    get_local_peer,
    lock,
    set_local_peer,
)

URL = "http://localhost:8000"
MINUTE = timedelta(minutes=1)
duration: Duration = 1.5


def shapes(client: Client, async_client: AsyncClient, peer: Peer) -> None:
    lock(URL, "A")
    lock(URL, "A", 2, MINUTE)
    lock([URL, URL], "A", token="t")
    lock(server_url=(URL, URL), semaphore="A")
    lock(URL, "A", count=2, timeout=5, ttl=30, on_lost="cancel", notify=print)
    lock(URL, {"A": 1, "B": 2}, timeout=MINUTE, token="t", token_file="f", cacert="c")
    lock(URL, "A", priority=5, labels={**default_labels(), "job": "nightly"})
    lock(client, "A", priority=5, labels={})
    lock(async_client, "A", priority=-5, labels={"job": "nightly"})
    lock(peer=peer, semaphore="A", priority=5)
    lock(None, "A")
    lock(semaphore="A", ttl=0.5)
    lock(server_url=URL, semaphore="A", timeout=MINUTE)
    lock(client, "A", 1, MINUTE, MINUTE)
    lock(client, "A", count=1, heartbeat_interval=None, timeout=MINUTE)
    lock(client=client, semaphore="A")
    lock(async_client, "A", ttl=30)
    lock(peer, "A", heartbeat_interval=MINUTE)
    lock(peer=peer, semaphore="A")
    lock(5, "A")  # type: ignore[call-overload]
    lock(URL, "A", priority="high")  # type: ignore[call-overload]
    lock(peer=peer, semaphore="A", labels={})  # type: ignore[call-overload]
    lock(URL, "A", ttl="5m")  # type: ignore[call-overload]
    lock(URL, "A", heartbeat_interval=MINUTE)  # type: ignore[call-overload]


def handles() -> None:
    with lock(URL, "A") as handle:
        same: Handle = handle
        peer: Peer = handle
        token: Optional[int] = handle.token
        tokens: dict[str, int] = handle.tokens
        since: datetime = handle.held_since
        held: bool = handle.is_held
        remaining: float = handle.remaining
        semaphores: dict[str, int] = handle.semaphores
        lost: LossEvent = handle.lost
        was_lost: bool = lost.wait(1.0) and lost.is_set()
        loss: Optional[LockLost] = lost.loss
        handle.check()
        print(same, peer, token, tokens, since, held, remaining, semaphores, was_lost, loss)


async def async_handles() -> None:
    async with lock(URL, "A", on_lost="cancel") as handle:
        loss: LockLost = await handle.lost
        reason: str = loss.reason
        names: tuple[str, ...] = loss.semaphores
        detail: Optional[str] = loss.detail
        print(reason, names, detail)


def adopting(client: Client, async_client: AsyncClient, peer: Peer) -> None:
    adopt(URL, 15)
    adopt([URL, URL], "15", ttl=30, on_lost="cancel", notify=print, token="t", token_file="f", cacert="c")
    adopt(None, 15, ttl=MINUTE)
    adopt(client, 15)
    adopt(async_client, 15)
    adopt(peer, 15)  # type: ignore[arg-type]
    adopt(URL)  # type: ignore[call-arg]
    with adopt(URL, "15") as handle:
        same: Handle = handle
        print(same.semaphores)


async def adopting_async() -> None:
    async with adopt(URL, "15") as handle:
        loss: LockLost = await handle.lost
        print(loss)


@lock(URL, "A")
def decorated(number: int, *, text: str = "") -> bool:
    return bool(number) and bool(text)


@lock(URL, "A")
async def decorated_async(number: int) -> str:
    return str(number)


async def decorators() -> None:
    kept: bool = decorated(1, text="x")
    also_kept: str = await decorated_async(1)
    decorated("x")  # type: ignore[arg-type]
    print(kept, also_kept)


def clients() -> None:
    with Client(URL, MINUTE, token="t", token_file="f", cacert="c", timeout=5, retry_for=MINUTE) as client:
        peer_id: int = client.new_peer(MINUTE)
        granted: bool = client.acquire(peer_id, "A", 1, MINUTE, MINUTE)
        granted = client.acquire(peer_id, semaphore="A", count=1, expires_in=None, block_for=5)
        of_its_own: Peer = client.acquire("A", 1, MINUTE)
        still_pending: bool = client.block_until_acquired(of_its_own, MINUTE)
        client.restore(peer_id, {"A": 1}, expires_in=MINUTE, tokens={"A": 1})
        left: int = client.remainder("A")
        all_acquired: bool = client.is_acquired(peer_id) and client.is_acquired(of_its_own)
        client.heartbeat(peer_id, MINUTE)
        client.heartbeat(of_its_own)
        client.release_lock(peer_id, "A")
        client.release(peer_id)
        removed: int = client.remove_expired()
        peers: list[dict[str, Any]] = client.list_of_peers()
        version: str = client.version()
        url: str = client.base_url
        live: bool = client.is_token_live("A", 1)
        labels: Optional[dict[str, str]] = Client([URL, URL], labels={"job": "nightly"}).labels
        print(live, labels)
        print(granted, still_pending, left, all_acquired, removed, peers, version, url)


async def async_clients() -> None:
    async with AsyncClient(URL, token="t", token_file="f", cacert="c", timeout=5, retry_for=MINUTE) as client:
        peer_id: int = await client.new_peer(MINUTE)
        granted: bool = await client.acquire(peer_id, "A", 1, MINUTE, MINUTE)
        await client.restore(peer_id, {"A": 1}, MINUTE, tokens={"A": 1})
        left: int = await client.remainder("A")
        all_acquired: bool = await client.is_acquired(peer_id)
        await client.heartbeat(peer_id, MINUTE)
        await client.release_lock(peer_id, "A")
        await client.release(peer_id)
        removed: int = await client.remove_expired()
        peers: list[dict[str, Any]] = await client.list_of_peers()
        version: str = await client.version()
        live: bool = await client.is_token_live("A", 1)
        labels: Optional[dict[str, str]] = AsyncClient((URL, URL), labels={"job": "nightly"}).labels
        print(live, labels)
        print(granted, left, all_acquired, removed, peers, version)


def peers(client: Client) -> None:
    peer = Peer(client, id=1, acquired={"A": 1}, expiration_time=MINUTE)
    PeerWithHeartbeat(client, labels={"job": "nightly"})
    Peer(client, labels={})
    renewed: PeerWithHeartbeat = PeerWithHeartbeat.from_server_url(URL)
    PeerWithHeartbeat(client=client, id=1, acquired={}, expiration_time=MINUTE, heartbeat_interval=MINUTE)
    granted: bool = peer.acquire("A", count=1, block_for=MINUTE)
    holds: bool = peer.has_acquired() or peer.has_active() or peer.has_pending()
    number: int = peer.id
    expiry: timedelta = peer.expiration_time
    acquired: dict[str, int] = peer.acquired
    peer.restore()
    peer.heartbeat()
    peer.release("A")
    peer.start_heartbeat()
    peer.stop_heartbeat()
    peer.remove_from_server()
    local: Peer = get_local_peer([URL, URL])
    previous: Optional[Peer] = set_local_peer(URL, peer)
    clear_peers()
    print(renewed, granted, holds, number, expiry, acquired, local, previous)


def errors() -> None:
    tree: list[type[ThrottleError]] = [
        CertificateRejected,
        ConfigurationError,
        CountExceedsMax,
        HierarchyViolation,
        LockLost,
        NotAuthorized,
        RequestRefused,
        ServerError,
        ServerUnreachable,
        Timeout,
        UnknownPeer,
        UnknownSemaphore,
    ]
    as_builtin: list[type[Exception]] = [*tree]
    refusals: list[type[RequestRefused]] = [AlreadyPending, Deadlock, NotAcquired]
    code: Optional[str] = RequestRefused("", status=409, code="deadlock").code
    value_error: type[ValueError] = RequestRefused
    timeout: type[TimeoutError] = Timeout
    connection: type[ConnectionError] = ServerUnreachable
    callback: Callable[[LockLost], object] = print
    print(as_builtin, refusals, code, value_error, timeout, connection, callback)
