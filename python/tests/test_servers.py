"""Several servers of one cluster: whichever is of no use is passed over.

Those of these tests are ways to one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import threading
from collections.abc import Iterator
from typing import Callable, Optional

import pytest
from conftest import Gateway, Network, Server, eventually

from throttle_client import (
    AsyncClient,
    Client,
    ConfigurationError,
    Peer,
    ServerError,
    ServerUnreachable,
    get_local_peer,
    lock,
)
from throttle_client._answers import Answer
from throttle_client._clock import now
from throttle_client._protocol import heartbeat
from throttle_client._retry import Retry
from throttle_client._servers import Round, Servers, normalize_urls, without_password
from throttle_client._settings import Settings

pytestmark = pytest.mark.usefixtures("v1")


_reserved: list[socket.socket] = []


def dead() -> str:
    """Where nobody listens, nor ever will during the test."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    _reserved.append(bound)
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _free_ports() -> Iterator[None]:
    yield
    while _reserved:
        _reserved.pop().close()


def not_ready(method: str, path: str) -> Optional[int]:
    """A server without a leader, or one that stops."""
    return 503


def ready(method: str, path: str) -> Optional[int]:
    return None


@pytest.fixture
def ways(server: Server) -> Iterator[list[Gateway]]:
    """Two ways to the server."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Gateway(server.port))) for _ in range(2)]


def asked(gateway: Gateway) -> list[str]:
    return [f"{method} {path}" for method, path, _ in gateway.requests]


def heartbeats(gateway: Gateway) -> int:
    return sum(what.endswith("/heartbeat") for what in asked(gateway))


@pytest.mark.parametrize("turn", [lambda urls: urls, lambda urls: urls[::-1], ",".join, tuple])
def test_a_dead_server_is_passed_over(server: Server, turn: Callable[[list[str]], str]) -> None:
    urls = turn([dead(), server.url])
    with lock(urls, "A", timeout=0):
        assert Client(urls, retry_for=0).remainder("A") == 0
    with lock(Client(urls), "A"):
        pass
    peer = Peer.from_server_url(urls)
    assert peer.acquire("A")
    peer.remove_from_server()
    with lock(get_local_peer(urls), "A"):
        pass

    async def main() -> int:
        async with AsyncClient(urls, retry_for=0) as client, lock(client, "A"):
            return await client.remainder("A")

    assert asyncio.run(main()) == 0
    assert server.client.remainder("A") == 1


def test_the_environment_has_a_list(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THROTTLE_URL", f"{dead()}, {server.url}/")
    with lock(None, "A"):
        assert Client().remainder("A") == 0
    client = pickle.loads(pickle.dumps(Client()))
    assert client.remainder("A") == 1


def test_a_server_that_speaks_no_tls_is_passed_over(server: Server) -> None:
    secure = server.url.replace("http:", "https:")
    assert Client([secure, server.url], retry_for=0).remainder("A") == 1


def test_whoever_answered_last_is_asked(ways: list[Gateway]) -> None:
    first, second = ways
    client = Client([first.url, second.url], retry_for=0)
    client.remainder("A")
    first.refuse = not_ready
    peer = client.new_peer(60)
    client.release(peer)
    assert asked(first) == ["GET /remainder?semaphore=A", "POST /v1/peers"]
    assert asked(second) == ["POST /v1/peers", f"DELETE /peers/{peer}"]
    first.refuse, second.refuse = ready, not_ready
    assert client.remainder("A") == 1
    assert len(first.requests) == 3


def test_once_all_were_asked_in_vain_they_are_asked_again(ways: list[Gateway]) -> None:
    first, second = ways
    urls = [first.url, second.url]
    first.refuse = second.refuse = not_ready
    with pytest.raises(ServerError) as caught:
        Client(urls, retry_for=0).remainder("A")
    assert (caught.value.status, len(first.requests), len(second.requests)) == (503, 1, 1)
    granted = threading.Event()

    def wait() -> None:
        with lock(urls, "A"):
            granted.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    eventually(lambda: len(first.requests) > 2 and len(second.requests) > 2)
    second.refuse = ready
    waiter.join()
    assert granted.is_set()


def test_an_act_that_may_have_been_done_is_not_done_twice(server: Server, ways: list[Gateway]) -> None:
    first, second = ways
    first.old = second.old = True
    client = Client([first.url, second.url])
    client.release(client.new_peer(60))
    first.lose = 1
    with pytest.raises(ServerUnreachable) as caught:
        client.new_peer(60)
    assert caught.value.sent
    assert (server.peers(), len(second.requests)) == (1, 0)
    client.new_peer(60)
    assert asked(second) == ["POST /new_peer"], "others need not find out"


def test_a_repeat_at_another_server_finds_the_peer_that_was_made(server: Server, ways: list[Gateway]) -> None:
    first, second = ways
    first.lose = 1
    Client([first.url, second.url]).new_peer(60)
    assert (server.peers(), asked(second)) == (1, ["POST /v1/peers"])


def test_a_lock_outlives_the_server_that_granted_it(
    server: Server, network: Network, ways: list[Gateway]
) -> None:
    second = ways[0]
    with lock([network.url, second.url], "A", ttl=2) as handle:
        assert not second.requests
        network.close()
        eventually(lambda: heartbeats(second) > 2)
        handle.check()
        assert server.client.remainder("A") == 0
    assert server.client.remainder("A") == 1
    assert "POST /restore" not in asked(second), "it is one cluster"


def test_servers_that_hang_do_not_cost_the_lease(server: Server, ways: list[Gateway]) -> None:
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(contextlib.closing(Network(server.port))) for _ in range(6)]
        last = ways[0]
        with lock([*(way.url for way in hanging), last.url], "A", ttl=6) as handle:
            assert not last.requests
            for way in hanging:
                way.cut()
            eventually(lambda: heartbeats(last) > 1 or not handle.is_held, timeout=30)
            handle.check()
            assert server.client.remainder("A") == 0


def test_servers_that_hang_do_not_cost_the_place_in_the_queue(server: Server, ways: list[Gateway]) -> None:
    with contextlib.ExitStack() as stack:
        hanging = [stack.enter_context(contextlib.closing(Network(server.port))) for _ in range(3)]
        last = ways[0]
        granted = threading.Event()

        def wait() -> None:
            with lock([*(way.url for way in hanging), last.url], "A", ttl=9):
                granted.set()

        waiter = threading.Thread(target=wait)
        with lock(server.client, "A"):
            waiter.start()
            eventually(lambda: server.pending("A") == 1)
            for way in hanging:
                way.cut()
            eventually(lambda: len(last.requests) > 1, timeout=30)
            assert all(path.endswith("/locks") for _, path, _ in last.requests)
            assert server.peers() == 2
        waiter.join()
        assert granted.is_set()


def test_leaving_finds_the_server_that_answers(server: Server, network: Network) -> None:
    with lock([network.url, server.url], "A"):
        network.cut()
    assert server.client.remainder("A") == 1


def test_a_wait_goes_on_at_the_next_server(server: Server, network: Network, ways: list[Gateway]) -> None:
    seen: list[int] = []

    def wait() -> None:
        with lock([network.url, ways[0].url], "A"):
            seen.append(server.peers())

    waiter = threading.Thread(target=wait)
    with lock(server.client, "A"):
        waiter.start()
        eventually(lambda: server.pending("A") == 1)
        network.close()
        eventually(lambda: ways[0].requests)
        assert server.peers() == 2, "as the same peer"
    waiter.join()
    assert seen == [1]


def test_a_redirect_is_followed_to_a_server_of_the_list_with_the_token(
    server: Server, ways: list[Gateway]
) -> None:
    standby, leader = ways
    standby.leader = leader.url
    urls = [standby.url, leader.url]
    with lock(urls, "C", count=2, token="secret"):
        assert server.client.remainder("C") == 1
    assert asked(standby) == ["POST /v1/locks"], "the leader is asked from then on"
    assert {headers["Authorization"] for _, _, headers in leader.requests} == {"Bearer secret"}

    async def main() -> int:
        async with AsyncClient([standby.url, dead(), leader.url], retry_for=0) as client:
            return await client.remainder("C")

    assert asyncio.run(main()) == 3


def test_a_redirect_to_anybody_else_is_not_followed(server: Server, ways: list[Gateway]) -> None:
    standby, stranger = ways
    standby.leader = stranger.url
    for urls in ([standby.url], [dead(), standby.url]):
        with pytest.raises(ServerError, match="not in the list of servers") as caught:
            Client(urls, token="secret", retry_for=0).remainder("A")
        assert caught.value.status == 307
        assert stranger.url in str(caught.value)
        assert standby.url in str(caught.value)
    assert not stranger.requests
    with lock([standby.url, server.url], "A"):
        pass  # One that serves is found all the same.


def test_standbys_whose_leader_is_gone_are_asked_until_one_leads(ways: list[Gateway]) -> None:
    standby, leader = ways
    standby.leader = leader.url
    leader.close()
    urls = [standby.url, leader.url]
    with pytest.raises(ServerUnreachable):
        Client(urls, retry_for=0).remainder("A")
    waiter = threading.Thread(target=lambda: lock(urls, "A").__enter__().check())
    waiter.start()
    before = len(standby.requests)
    eventually(lambda: len(standby.requests) > before + 2)
    standby.leader = None
    waiter.join()


def test_an_error_names_the_server_that_was_asked(server: Server) -> None:
    first, second = dead(), dead()
    with pytest.raises(ServerUnreachable) as caught:
        Client([first, second.replace("http://", "http://etl:secret@")], retry_for=0).remainder("A")
    told = str(caught.value)
    assert second.replace("http://", "http://etl@") in told
    assert first not in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("given", "number", "shown"),
    [
        ("http://a,", 2, ""),
        (["http://a", "", "http://b"], 2, ""),
        ("http://a,ftp://b", 2, "ftp://b"),
        ("http://a,http://etl:secret@b:port,http://c", 2, "http://etl@b:port"),
        ("http://etl:secret,more@b", 1, "http://etl@b"),
    ],
)
def test_an_entry_that_is_wrong_is_named(given: object, number: int, shown: str) -> None:
    for ask in (Client, AsyncClient, lambda urls: lock(urls, "A")):
        with pytest.raises(ConfigurationError, match=f"server {number} of the list is {shown!r}") as caught:
            ask(given)  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", [5, b"http://a", [], [b"http://a"], ["http://a", None]])
def test_what_is_no_url(given: object) -> None:
    with pytest.raises(ConfigurationError, match="the server is given as"):
        Client(given)  # type: ignore[arg-type]


def test_lists_have_one_form_and_no_password_is_shown() -> None:
    assert normalize_urls("a:8000, https://b/team/ ,http://a:8000") == "http://a:8000,https://b/team"
    assert normalize_urls(["a"]) == "http://a"
    urls = "http://a,http://etl:secret@b:8000,http://etl:sec,ret@c"
    assert without_password(urls) == "http://a,http://etl@b:8000,http://etl@c"
    assert "secret" not in repr(Client("http://a,http://etl:secret@b"))
    assert Client(["a", "b"]).base_url == "http://a,http://b"
    assert Client("a,b").base_url == "a,b"


def test_a_token_that_others_can_read_is_worth_a_warning_for_each_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "throttle_client"):
        Settings.resolve("http://localhost,https://a,http://b:1,http://c:2", token="t")
    assert [record.args for record in caplog.records] == [("http://b:1",), ("http://c:2",)]


def test_whoever_fails_moves_on_until_each_was_asked() -> None:
    servers = Servers(["a", "b", "c"])
    first, second = Round(servers), Round(servers)
    assert first.move_on()
    # Others that failed at the same one do not skip the next.
    assert second.move_on()
    assert (first.url, second.url, servers.asked) == ("b", "b", "b")
    assert first.move_on()
    assert not first.move_on()
    assert not first.is_first
    assert first.url == "a"
    # One that another request found good goes first.
    third = Round(servers)
    servers.favourite = 2
    assert third.move_on()
    assert third.url == "c"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://B:8000/v1/peers/7?reason=x", "http://etl:secret@b:8000/team"),
        ("http://b:8000/team/v1/peers/7", "http://etl:secret@b:8000/team"),
        ("https://c:443/v1/peers/7", "https://c"),
        ("/v1/peers/7", None),
        ("http://b/v1/peers/7", None),
        ("https://b:8000/v1/peers/7", None),
        ("http://d:8000/v1/peers/7", None),
        ("http://b:8000/login", None),
        ("//d/v1/peers/7", None),
        ("http://a:8000@d/v1/peers/7", None),
        ("http://[b/v1/peers/7", None),
        ("http://b:port/v1/peers/7", None),
    ],
)
def test_a_redirect_leads_to_nobody_but_a_server_of_the_list(location: str, url: Optional[str]) -> None:
    servers = Servers(["http://a:8000", "http://etl:secret@b:8000/team", "https://c"])
    this = Round(servers)
    refused = this.redirect(location, "/v1/peers/7")
    assert (refused is None) == (url is not None)
    assert this.url == (url or "http://a:8000")


def test_one_redirect_is_followed_and_none_to_a_server_that_failed() -> None:
    this = Round(Servers(["http://a", "http://b", "http://c"]))

    def is_vain(location: str) -> bool:
        refused = this.redirect(location, "/x")
        return refused is not None and refused.is_known

    assert this.redirect("http://b/x", "/x") is None
    assert is_vain("http://c/x"), "a second one"
    assert this.move_on()
    assert this.url == "http://c"
    assert is_vain("http://b/x"), "it was asked already"
    assert not this.move_on()
    assert this.redirect("http://b/x", "/x") is None, "in another round"


def test_a_limit_is_that_of_all_servers_so_no_other_is_asked() -> None:
    retry = Retry(heartbeat(1, 1.0), now() + 60, servers=Servers(["a", "b"]))
    delay = retry.after_answer(Answer(429, {"retry-after": "7"}, ""), now())
    assert delay is not None
    assert delay >= 7
    assert retry.url == "a"
