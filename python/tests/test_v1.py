"""What servers since 0.6 offer: labels, joint requests, priorities, reasons, keys, tokens. And without it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import CONFIGURATION, Gateway, Server, eventually, serving

from throttle_client import (
    AlreadyPending,
    AsyncClient,
    Client,
    ConfigurationError,
    Deadlock,
    LockLost,
    NotAcquired,
    Peer,
    RequestRefused,
    ServerError,
    Timeout,
    UnknownPeer,
    UnknownSemaphore,
    clear_peers,
    default_labels,
    lock,
)
from throttle_client._client import PeerRef
from throttle_client._lease import Lease
from throttle_client._settings import Settings

pytestmark = pytest.mark.usefixtures("v1")
either_dialect = pytest.mark.either_dialect

TTL = 1.0
SOON = 10.0


@pytest.fixture
def gateway(server: Server) -> Iterator[Gateway]:
    """The way to the server, which sees all requests and can be made as old as one likes."""
    with contextlib.closing(Gateway(server.port)) as instance:
        yield instance


def paths(gateway: Gateway, method: str) -> list[str]:
    return [path for how, path, _ in gateway.requests if how == method]


def wait_in_thread(granted: list[Any], name: Any, *arguments: Any, **options: Any) -> threading.Thread:
    """Wait for a lock, and note the name when it is granted."""

    def wait() -> None:
        with lock(*arguments, **options):
            granted.append(name)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# The dialect


def test_a_server_with_v1_is_asked_nothing_twice(gateway: Gateway) -> None:
    with lock(gateway.url, "A"):
        pass
    assert [method for method, _, _ in gateway.requests] == ["POST", "DELETE"]
    assert paths(gateway, "POST") == ["/v1/locks"]


def test_whoever_has_to_wait_does_so_in_a_request_of_its_own(server: Server, gateway: Gateway) -> None:
    granted: list[str] = []
    with lock(server.url, "A"):
        waiter = wait_in_thread(granted, "A", gateway.url, "A", timeout=30)
        eventually(lambda: paths(gateway, "PUT"))
        assert server.pending("A") == 1
    waiter.join()
    assert paths(gateway, "POST") == ["/v1/locks"]
    assert [path.rpartition("/")[2] for path in paths(gateway, "PUT")] == ["locks"]


def test_that_a_server_is_old_is_found_out_once(gateway: Gateway) -> None:
    gateway.old = True
    for _ in range(3):
        with lock(gateway.url, {"B": 1, "A": 1}):
            pass
    assert paths(gateway, "POST") == ["/v1/locks", *["/new_peer"] * 3]
    assert not [path for path in paths(gateway, "PUT") if path.startswith("/v1")]


def test_a_lock_outlives_the_replacement_of_its_server_by_a_newer_one(
    server: Server, gateway: Gateway
) -> None:
    gateway.old = True
    with lock(gateway.url, "A", ttl=3 * TTL) as handle:
        server.stop()
        gateway.old = False
        server.start()
        eventually(lambda: server.client.remainder("A") == 0)
        eventually(lambda: f"/v1/peers/{handle.id}/heartbeat" in paths(gateway, "POST"))
        handle.check()
    assert server.peers() == 0


def test_a_lock_outlives_the_replacement_of_its_server_by_an_older_one(
    server: Server, gateway: Gateway
) -> None:
    with lock(gateway.url, {"A": 1, "B": 1}, ttl=3 * TTL) as handle:
        server.stop()
        gateway.old = True
        server.start()
        eventually(lambda: server.client.remainder("A") == 0)
        asked = len(gateway.requests)
        eventually(lambda: f"/peers/{handle.id}" in [path for _, path, _ in gateway.requests[asked:]])
        handle.check()
    assert server.client.remainder("B") == 1


def test_a_joint_request_goes_on_with_an_older_server(server: Server, gateway: Gateway) -> None:
    granted: list[str] = []
    with lock(server.url, "A", ttl=60) as holder:
        waiter = wait_in_thread(granted, "both", gateway.url, {"B": 1, "A": 1}, timeout=30)
        eventually(lambda: server.pending("B") == 1)
        gateway.old = True
        server.stop()
        server.start()
        server.client.restore(holder.id, {"A": 1}, 60)
        eventually(lambda: server.pending("A") == 1)
        assert server.client.remainder("B") == 0
    waiter.join()
    assert granted == ["both"]


# Labels


@pytest.mark.either_dialect
def test_peers_tell_who_they_are(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/jobs/nightly.py", "--all"])
    with lock(server.url, "A") as handle, lock(Client(server.url), "C") as other:
        expected = default_labels() if server.has_v1 else {}
        assert server.labels(handle.id) == server.labels(other.id) == expected
    assert default_labels()["pid"] == str(os.getpid())
    assert default_labels()["program"] == "nightly.py"
    assert default_labels()["host"]


def test_a_server_that_forgot_a_peer_learns_anew_who_it_is(server: Server) -> None:
    mine = {"job": "nightly"}
    with lock(server.url, "A", ttl=5 * TTL, labels=mine) as handle:
        server.stop()
        server.start()
        eventually(lambda: server.client.remainder("A") == 0)
        assert server.labels(handle.id) == mine
    peer = Peer(Client(server.url), labels=mine)
    assert server.labels(peer.id) == mine
    server.stop()
    server.start()
    peer.restore()
    assert server.labels(peer.id) == mine


@pytest.mark.either_dialect
def test_labels_of_ones_own(server: Server) -> None:
    mine = {"job": "nightly"}

    def seen(labels: dict[str, str]) -> dict[str, str]:
        return labels if server.has_v1 else {}

    async def main() -> None:
        async with AsyncClient(server.url, labels=mine) as client:
            assert server.labels(await client.new_peer(60)) == seen(mine)
            async with lock(client, "A") as handle:
                assert server.labels(handle.id) == seen(mine)

    with lock(server.url, "A", labels=mine) as handle:
        assert server.labels(handle.id) == seen(mine)
    with lock(server.url, "A", labels={}) as handle:
        assert server.labels(handle.id) == {}
    asyncio.run(main())
    client = Client(server.url, labels=mine)
    with lock(client, "A") as handle:
        assert server.labels(handle.id) == seen(mine)
    with lock(client, "A", labels={"job": "other"}) as handle:
        assert server.labels(handle.id) == seen({"job": "other"})
    assert server.labels(client.new_peer(60)) == seen(mine)
    assert server.labels(Peer(client).id) == seen(mine)
    peer = Peer(client, labels={"job": "third"})
    assert server.labels(peer.id) == seen({"job": "third"})
    with pytest.raises(ConfigurationError, match="belong to the peer"):
        lock(peer, "A", labels=mine)
    with pytest.raises(ConfigurationError, match="both must be text"):
        lock(server.url, "A", labels={"pid": 12})  # type: ignore[dict-item]


def test_a_server_that_takes_fewer_labels_gets_none_of_the_default_ones(tmp_path: Path) -> None:
    server = Server(tmp_path, f"{CONFIGURATION}\n[limits]\nlabels_per_peer = 1\n")
    try:
        with lock(server.url, "A") as handle:
            assert server.labels(handle.id) == {}
        with pytest.raises(RequestRefused, match="at most 1") as caught:
            Client(server.url, labels={"a": "1", "b": "2"}).new_peer(60)
        assert caught.value.code == "invalid_request"
    finally:
        server.client.close()
        server.stop()
        clear_peers()


# Several at once


def test_several_are_one_request_that_holds_nothing_while_it_waits(server: Server, gateway: Gateway) -> None:
    granted: list[str] = []
    with lock(server.url, "A"):
        waiter = wait_in_thread(granted, "both", gateway.url, {"B": 1, "A": 1}, timeout=30)
        eventually(lambda: server.pending("A") == server.pending("B") == 1)
        assert server.client.remainder("B") == 1, "B is not held while A is waited for"
        assert paths(gateway, "PUT") == [f"{paths(gateway, 'PUT')[0]}"]
        with lock(Client(server.url), "C"):
            pass
    waiter.join()
    assert granted == ["both"]
    # In whatever order they are given, for there is no order in a single step.
    with lock(server.url, {"A": 1, "B": 1, "C": 2}) as handle:
        assert handle.tokens.keys() == {"A", "B", "C"}
        assert all(server.client.is_token_live(name, token) for name, token in handle.tokens.items())
    assert server.peers() == 0


def test_what_an_outer_lock_holds_stays_as_it_is(server: Server) -> None:
    with lock(server.url, "B") as outer:
        with lock(server.url, {"A": 1, "B": 1}) as inner:
            assert inner.tokens["B"] == outer.token
            assert inner.tokens["A"] > inner.tokens["B"]
        assert server.client.remainder("A") == 1
        with lock(server.client, "A"), pytest.raises(Timeout), lock(server.url, {"A": 1, "B": 1}, timeout=0):
            pass
        assert server.pending("A") == 0
        assert server.client.remainder("B") == 0
        outer.check()


@pytest.mark.either_dialect
def test_who_waited_in_vain_learns_why(server: Server) -> None:
    with lock(server.url, "A", labels={"job": "nightly"}) as holder:
        with pytest.raises(Timeout) as caught, lock(Client(server.url), {"B": 1, "A": 1}, timeout=0.1):
            pass
        reason = f"'A' is held by job=nightly (peer {holder.id})"
        assert (reason in str(caught.value)) == server.has_v1
        assert ("its place in the queue was 1" in str(caught.value)) == server.has_v1
    assert server.peers() == 0


def test_all_that_was_missing_is_named(server: Server) -> None:
    labels = {"program": "import.sh", "user": "jane", "host": "w1", "pid": "7"}
    with lock(server.url, "A", labels=labels) as a, lock(Client(server.url), "B", labels={}) as b:
        wanted = {"C": 1, "A": 1, "B": 1}
        with pytest.raises(Timeout) as caught, lock(Client(server.url), wanted, timeout=0):
            pass
    said = str(caught.value)
    assert said.startswith("'A' (count 1) and 'B' (count 1) were not granted in time by ")
    assert f"'A' is held by import.sh jane@w1 pid 7 (peer {a.id}); 'B' is held by peer {b.id}" in said


def test_a_semaphore_that_is_removed_meanwhile_was_no_wrong_name(server: Server) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            with lock(Client(server.url), {"C": 1, "A": 1}, timeout=30):
                pass
        except NotAcquired as error:
            raised.append(error)

    with pytest.raises(LockLost), lock(server.url, "A", ttl=TTL) as holder:
        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: server.pending("A") == 1)
        assert httpx.delete(f"{server.url}/v1/semaphores/A?force=true").status_code == 204
        waiter.join()
        eventually(lambda: holder.lost.is_set())
    expected = "the semaphore 'A' was removed from the server while a lock on it was waited for"
    assert [str(error) for error in raised] == [expected]


# Priorities


@pytest.mark.either_dialect
def test_higher_priorities_are_served_first_if_the_server_knows_them(server: Server) -> None:
    granted: list[int] = []
    waiters: list[threading.Thread] = []

    def waiting(number: int) -> bool:
        return server.pending("A") == number

    with lock(server.url, "A"):
        for number, priority in enumerate([0, -5, 5]):
            waiters.append(
                wait_in_thread(granted, priority, Client(server.url), "A", priority=priority, timeout=30)
            )
            eventually(partial(waiting, number + 1))
    for waiter in waiters:
        waiter.join()
    assert granted == ([5, 0, -5] if server.has_v1 else [0, -5, 5])
    for wrong in (1.5, True, 2**31):
        with pytest.raises(ConfigurationError, match="priority is"):
            lock(server.url, "A", priority=wrong)  # type: ignore[arg-type]


# Losses


def test_who_waits_for_what_is_paused_is_told_that(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "[semaphores]\nA = 0\n") as paused,
        pytest.raises(Timeout, match="its place in the queue was 1; 'A' is paused"),
        lock(paused.url, "A", timeout=0.1),
    ):
        pass


def test_a_wait_that_an_operator_ends_is_over(server: Server) -> None:
    ended: list[LockLost] = []

    def wait() -> None:
        with (
            pytest.raises(LockLost, match=r"the wait for a lock was ended .*not today") as caught,
            lock(server.url, "A", ttl=TTL),
        ):
            pass
        ended.append(caught.value)

    with lock(server.url, "A"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        eventually(lambda: server.pending("A") == 1)
        (waiter,) = server.see("/v1/semaphores/A")["queue"]
        server.kick(int(waiter["peer"]), "not today")
        waiting.join(SOON)
        assert [loss.semaphores for loss in ended] == [()]
        assert server.pending("A") == 0


def test_a_loss_tells_the_reason_of_the_operator(server: Server) -> None:
    with pytest.raises(LockLost) as caught, lock(server.url, "A", ttl=TTL) as handle:
        server.kick(handle.id, "stuck since noon")
        assert handle.lost.wait(SOON)
        with pytest.raises(LockLost, match="stuck since noon"):
            handle.check()
    assert caught.value.reason == "released"
    assert "stuck since noon" in str(caught.value)
    assert "stuck since noon" in (caught.value.detail or "")
    with pytest.raises(UnknownPeer, match="stuck since noon"):
        server.client.heartbeat(handle.id, 60)


def test_a_loss_tells_the_reason_of_the_operator_async(server: Server) -> None:
    async def main() -> None:
        async with lock(server.url, {"A": 1, "B": 1}, ttl=TTL, on_lost="cancel") as handle:
            server.kick(handle.id, "stuck since noon")
            await asyncio.sleep(SOON)

    with pytest.raises(LockLost, match="stuck since noon") as caught:
        asyncio.run(main())
    assert caught.value.semaphores == ("A", "B")


def test_an_old_server_cannot_tell_the_reason(server: Server, gateway: Gateway) -> None:
    gateway.old = True
    with pytest.raises(LockLost, match="released by an operator, or expired there") as caught:  # noqa: SIM117
        with lock(gateway.url, "A", ttl=TTL) as handle:
            server.kick(handle.id, "stuck since noon")
            assert handle.lost.wait(SOON)
    assert caught.value.detail is None


def test_a_lock_that_was_taken_from_a_living_peer_is_lost(server: Server) -> None:
    with pytest.raises(LockLost, match="released 'A' and let the peer live") as caught:  # noqa: SIM117
        with lock(server.url, {"A": 1, "B": 1}, ttl=TTL) as handle:
            server.client.release_lock(handle.id, "A")
            assert handle.lost.wait(SOON)
            assert not handle.is_held
    assert caught.value.reason == "released"
    eventually(lambda: server.peers() == 0)


def test_a_lock_that_was_released_by_hand_is_not_lost(server: Server) -> None:
    class Watching(Client):
        def release_lock(self, peer_id: PeerRef, semaphore: str) -> None:
            # From here on a renewal may be told that it is not held.
            assert semaphore not in peer.acquired
            super().release_lock(peer_id, semaphore)

    peer = Peer(Watching(server.url))
    assert peer.acquire("A")
    peer.release("A")
    assert server.client.remainder("A") == 1


def test_what_was_granted_while_the_server_was_asked_is_not_lost() -> None:
    lease = Lease(Settings("http://localhost"), 60.0, 1)
    lease.grant("A", 1, 7)
    before = dict(lease.tokens)
    lease.drop("A")
    lease.grant("A", 1, 8)
    lease.grant("C", 1, 9)
    lease.compare(before, {})
    assert lease.loss is None
    lease.compare(dict(lease.tokens), {"A": 8, "C": 9})
    lease.compare(dict(lease.tokens), None)
    assert lease.loss is None
    lease.compare(dict(lease.tokens), {"A": 8})
    assert lease.loss is not None


# Keys


def test_a_peer_whose_creation_went_unanswered_is_found_again(server: Server) -> None:
    with contextlib.closing(Gateway(server.port, lose=2)) as gateway:
        Client(gateway.url).new_peer(60)
        keys = [headers["Idempotency-Key"] for _, _, headers in gateway.requests]
        assert len(keys) == 3
        assert len(set(keys)) == 1
        assert server.peers() == 1
        gateway.lose = 1
        with lock(gateway.url, "A") as handle:
            assert server.peers() == 2
            handle.check()
        assert server.peers() == 1

        async def main() -> None:
            gateway.lose = 1
            async with AsyncClient(gateway.url) as client:
                await client.new_peer(60)
                await client.new_peer(60)

        asyncio.run(main())
        assert server.peers() == 3


def test_a_peer_that_ended_before_its_id_was_learned_is_made_anew(server: Server) -> None:
    with contextlib.closing(Gateway(server.port, lose=1)) as gateway:
        # Its time is over before the first repeat.
        peer = Client(gateway.url).new_peer(0)
        assert peer
        keys = [headers["Idempotency-Key"] for _, _, headers in gateway.requests]
        assert len(keys) == 3
        assert keys[0] == keys[1] != keys[2]


# Tokens


def test_whether_a_token_is_live(server: Server) -> None:
    async def ask(semaphore: str, token: int) -> bool:
        async with AsyncClient(server.url) as client:
            return await client.is_token_live(semaphore, token)

    with lock(server.url, "/&") as handle:
        assert handle.token is not None
        assert server.client.is_token_live("/&", handle.token)
        assert asyncio.run(ask("/&", handle.token))
        assert not server.client.is_token_live("A", handle.token)
    assert not server.client.is_token_live("/&", handle.token)
    assert not asyncio.run(ask("/&", handle.token))
    with pytest.raises(UnknownSemaphore, match="Unknown semaphore"):
        server.client.is_token_live("nope", 1)
    with pytest.raises(ConfigurationError, match="fencing token is -1"):
        server.client.is_token_live("A", -1)


def test_an_old_server_cannot_tell_whether_a_token_is_live(gateway: Gateway) -> None:
    gateway.old = True
    with pytest.raises(ServerError, match="recent enough"):
        Client(gateway.url).is_token_live("A", 1)


# Refusals


@pytest.fixture
def detecting(tmp_path: Path) -> Iterator[Server]:
    """A server with X and Y, where requests that would deadlock are refused."""
    server = Server(
        tmp_path, "".join(f"[semaphores.{name}]\nmax = 1\ndeadlock = 'detect'\n" for name in "XY")
    )
    try:
        yield server
    finally:
        server.client.close()
        server.stop()
        clear_peers()


@pytest.mark.parametrize("old", [False, True])
def test_a_deadlock_is_refused(detecting: Server, old: bool) -> None:
    with contextlib.closing(Gateway(detecting.port, old=old)) as gateway:
        granted: list[str] = []
        other = Peer(Client(gateway.url))
        with lock(gateway.url, "X"):
            with lock(other, "Y"):
                waiter = wait_in_thread(granted, "X", other, "X", timeout=30)
                eventually(lambda: detecting.pending("X") == 1)
                with pytest.raises(Deadlock) as caught, lock(gateway.url, "Y", timeout=30):
                    pass
                assert caught.value.code == (None if old else "deadlock")
            assert not granted
        waiter.join()
        assert granted == ["X"]


@pytest.mark.either_dialect
def test_a_peer_waits_for_one_request_only(server: Server) -> None:
    client = server.client
    first, second = client.new_peer(60), client.new_peer(60)
    assert client.acquire(first, "A")
    assert not client.acquire(second, "A")
    with pytest.raises(RequestRefused) as caught:
        client.acquire(second, "C")
    assert isinstance(caught.value, AlreadyPending) == server.has_v1
    client.release(first)
    client.release(second)


def test_a_request_that_is_withdrawn_while_it_waits(server: Server) -> None:
    raised: list[BaseException] = []
    peer = Peer(server.client)

    def wait() -> None:
        try:
            with lock(peer, "A", timeout=30):
                pass
        except NotAcquired as error:
            raised.append(error)

    with lock(server.url, "A"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        eventually(lambda: server.pending("A") == 1)
        server.client.release_lock(peer.id, "A")
        waiter.join()
    expected = "the wait for a lock on 'A' was ended at the server: somebody withdrew the request, or removed"
    assert [str(error).startswith(expected) for error in raised] == [True]


def test_a_request_that_is_withdrawn_while_nobody_listens_is_not_made_anew(server: Server) -> None:
    withdrawn: list[str] = []

    def withdraw(method: str, path: str) -> None:
        # Between the request that makes the peer and the one that goes on waiting.
        if method == "PUT" and not withdrawn:
            withdrawn.append(path)
            server.client.release_lock(int(path.split("/")[3]), "A")

    with contextlib.closing(Gateway(server.port)) as gateway, lock(server.url, "A"):
        gateway.refuse = withdraw
        with pytest.raises(NotAcquired, match="somebody withdrew the request"), lock(gateway.url, "A"):
            pass
        assert withdrawn
        assert server.pending("A") == 0


def test_a_peer_that_comes_back_asks_anew(server: Server) -> None:
    """A peer that only waits, and expired meanwhile, is brought back; nobody withdrew its request."""
    entered: list[int] = []

    def enter() -> None:
        with lock(gateway.url, "A", ttl=1) as handle:
            entered.append(handle.id)

    with contextlib.closing(Gateway(server.port)) as gateway:
        with lock(server.url, "A"):
            waiter = threading.Thread(target=enter)
            waiter.start()
            eventually(lambda: server.pending("A") == 1)
            gateway.refuse = lambda *_: 503
            eventually(lambda: server.pending("A") == 0)
            gateway.refuse = lambda *_: None
            eventually(lambda: server.pending("A") == 1)
            assert not entered
        waiter.join()
    assert entered
    assert any("restore" in path for _, path, _ in gateway.requests)


@pytest.mark.either_dialect
def test_refusals_have_the_same_types_in_both_dialects(server: Server) -> None:
    client = server.client
    peer = client.new_peer(60)
    with pytest.raises(UnknownSemaphore, match="Unknown semaphore"):
        client.acquire(peer, "nope")
    with pytest.raises(ValueError, match="Lock can never be acquired"):
        client.acquire(peer, "A", 2)
    assert client.acquire(peer, "A")
    with pytest.raises(ValueError, match="Lock hierarchy violation"):
        client.acquire(peer, "B")
    client.release(peer)
    with pytest.raises(UnknownPeer) as caught:
        client.acquire(peer, "A")
    assert caught.value.instance is not None


def test_bodies_are_json_with_what_was_asked(gateway: Gateway) -> None:
    with lock(gateway.url, {"A": 1, "C": 2}, ttl=30, timeout=5, priority=7, labels={"job": "nightly"}):
        pass
    bodies = [json.loads(body) for method, _, body in gateway.bodies if method != "DELETE"]
    assert bodies[0].pop("wait")
    assert bodies == [
        {
            "locks": {"A": 1, "C": 2},
            "expires_in": "30000ms",
            "labels": {"job": "nightly"},
            "priority": 7,
        }
    ]
