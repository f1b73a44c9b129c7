"""A forked child has no part in the locks of its parent."""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from typing import Any, Callable

import pytest
from conftest import Server

from throttle_client import LockLost, Peer, Timeout, get_local_peer, lock

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def in_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run `work` in a forked child and return what it found."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads, which is what this is about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        except BaseException:  # noqa: BLE001 (the child must not run the parent's tests)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the child failed"
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_child_neither_holds_nor_releases_what_its_parent_holds(server: Server) -> None:
    outer = lock(server.url, "A", ttl=1)
    handle = outer.__enter__()

    def child() -> dict[str, Any]:
        reason = None
        try:
            handle.check()
        except LockLost as loss:
            reason = loss.reason
        held = handle.is_held
        outer.__exit__(None, None, None)
        try:
            with lock(server.url, "A", timeout=0.1):
                taken = True
        except Timeout:
            taken = False
        with lock(server.url, "C", ttl=1.5) as own:
            pid = server.labels(own.id).get("pid") if server.has_v1 else str(os.getpid())
            lost = own.lost.wait(3)
        labelled = pid == str(os.getpid())
        return {
            "reason": reason,
            "held": held,
            "taken": taken,
            "own": own.id,
            "labelled": labelled,
            "lost": lost,
        }

    try:
        found = in_child(child)
        assert found["reason"] == "forked"
        assert not found["held"]
        assert not found["taken"]
        assert found["own"] != handle.id
        assert found["labelled"]
        assert not found["lost"], "the renewal did not start again in the child"
        assert handle.is_held
        assert server.client.remainder("A") == 0
        assert server.client.remainder("C") == 3
    finally:
        outer.__exit__(*sys.exc_info())
    assert server.peers() == 0


def test_a_child_gets_peers_and_connections_of_its_own(server: Server) -> None:
    peer = get_local_peer(server.url)
    mine = peer.id
    labelled = Peer(server.client, labels={"job": "nightly"})

    def child() -> dict[str, Any]:
        local = get_local_peer(server.url).id
        same_object = peer.id
        found: dict[str, Any] = {
            "local": local,
            "same_object": same_object,
            "remainder": server.client.remainder("A"),
        }
        if server.has_v1:
            found["labels"] = server.labels(labelled.id)
            server.client.release(labelled.id)
        server.client.release(local)
        server.client.release(same_object)
        return found

    found = in_child(child)
    assert found["remainder"] == 1
    assert found.get("labels", {"job": "nightly"}) == {"job": "nightly"}
    assert len({mine, found["local"], found["same_object"]}) == 3
    assert peer.id == mine
    assert server.client.is_acquired(mine)
    server.client.release(mine)
