"""The peer of this thread or task: nested locks meet in it, so that the server sees their hierarchy."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from typing import Optional

from ._client import Client
from ._peer import Peer, PeerWithHeartbeat
from ._servers import ServerUrl, normalize_urls
from ._settings import Settings

__all__ = ["clear_peers", "get_local_peer", "obtain", "owner", "set_local_peer"]

Peers = dict[str, Peer]


class _Store(threading.local):
    # The process id is part of it, for a forked child must not find its parent's peers.
    of_thread: tuple[int, Peers] = (0, {})


_store = _Store()
_of_tasks: weakref.WeakKeyDictionary[asyncio.Task[object], tuple[int, Peers]] = weakref.WeakKeyDictionary()
_mutex = threading.Lock()


def current_task() -> Optional[asyncio.Task[object]]:
    """The running task, or `None` in code that is not async."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def owner() -> object:
    """Whoever runs this: the task in async code, else the thread."""
    return current_task() or threading.current_thread()


def _peers() -> Peers:
    pid = os.getpid()
    task = current_task()
    if task is None:
        if _store.of_thread[0] != pid:
            _store.of_thread = (pid, {})
        return _store.of_thread[1]
    # Not a context variable: a child task would inherit its value, and with it the peer.
    with _mutex:
        entry = _of_tasks.get(task)
        if entry is None or entry[0] != pid:
            entry = _of_tasks[task] = (pid, {})
        return entry[1]


def _living(peers: Peers, key: str) -> Optional[Peer]:
    peer = peers.get(key)
    if peer is not None and peer._lease.ended:
        del peers[key]
        return None
    return peer


def obtain(settings: Settings) -> Peer:
    """The local peer for a server; a new one is created on the server only when it first asks for a lock."""
    peers = _peers()
    peer = _living(peers, settings.url)
    if peer is None:
        peer = peers[settings.url] = PeerWithHeartbeat._without_request(Client._from_settings(settings))
        peer._lease.may_share = True
    return peer


def get_local_peer(url: ServerUrl) -> Peer:
    """Return the peer of this thread (or task) for the server at `url`; create it if there is none."""
    peers = _peers()
    key = normalize_urls(url)
    peer = _living(peers, key)
    if peer is None:
        peer = peers[key] = PeerWithHeartbeat.from_server_url(url)
    return peer


def set_local_peer(url: ServerUrl, peer: Peer) -> Optional[Peer]:
    """Let `lock(url, …)` in this thread (or task) use `peer` next, and return the one that it replaces."""
    peers = _peers()
    key = normalize_urls(url)
    old = _living(peers, key)
    peer._lease.ended = False
    peers[key] = peer
    return old


def clear_peers() -> None:
    """Forget all peers of this thread (or task). Nothing is sent to a server."""
    _peers().clear()


def _after_fork_in_child() -> None:
    global _mutex
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
