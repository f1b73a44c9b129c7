"""Repeats, timeouts and headers on the wire, against a server that follows a script."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from typing import Optional

import pytest
from conftest import Scripted

from throttle_client import AsyncClient, Client, NotAuthorized, ServerError, ServerUnreachable, lock


def test_requests_are_repeated_until_they_succeed(scripted: Scripted) -> None:
    scripted.answers = [None, (500, {}, "oops"), (200, {}, "5")]
    assert Client(scripted.url).remainder("A") == 5
    assert len(scripted.requests) == 3


def test_requests_are_repeated_async(scripted: Scripted) -> None:
    async def main() -> int:
        async with AsyncClient(scripted.url) as client:
            return await client.remainder("A")

    scripted.answers = [None, (502, {}, "oops"), (200, {}, "5")]
    assert asyncio.run(main()) == 5
    assert len(scripted.requests) == 3


def test_retry_after_is_waited_for(scripted: Scripted) -> None:
    scripted.answers = [(503, {"Retry-After": "1"}, "busy"), (200, {}, "7")]
    assert Client(scripted.url).new_peer(expires_in=1) == 7
    assert scripted.times[1] - scripted.times[0] >= 1.0


def test_a_limit_of_v1_is_waited_for(scripted: Scripted) -> None:
    problem = {"Retry-After": "1", "Content-Type": "application/problem+json"}
    scripted.answers = [(429, problem, '{"code":"limit_reached"}'), (201, {}, '{"id":"7","locks":[]}')]
    assert Client(scripted.url).new_peer(expires_in=1) == 7
    assert scripted.times[1] - scripted.times[0] >= 1.0
    scripted.answers = [(429, problem, '{"code":"limit_reached","detail":"too many peers"}')]
    with pytest.raises(ServerError, match="too many peers") as caught:
        Client(scripted.url, retry_for=0).new_peer(expires_in=1)
    assert (caught.value.status, caught.value.code) == (429, "limit_reached")


def test_creating_a_peer_is_not_repeated_once_it_was_sent_to_an_old_server(scripted: Scripted) -> None:
    scripted.answers = [(404, {}, "<html>"), None]
    with pytest.raises(ServerUnreachable, match="A peer left behind just expires") as caught:
        Client(scripted.url).new_peer(expires_in=1)
    assert caught.value.sent
    assert [path for _, path, _ in scripted.requests] == ["/v1/peers", "/new_peer"]


def test_a_refusal_is_final(scripted: Scripted) -> None:
    scripted.answers = [(404, {}, "<html>")]
    with pytest.raises(ServerError, match="no such route"):
        Client(scripted.url).freeze(1)
    scripted.answers = [(401, {}, "who are you")]
    with pytest.raises(NotAuthorized, match="THROTTLE_TOKEN"):
        Client(scripted.url).remainder("A")
    assert len(scripted.requests) == 2


def test_the_token_is_sent(scripted: Scripted) -> None:
    Client(scripted.url, token="secret").release(1)
    assert scripted.requests[0][2]["Authorization"] == "Bearer secret"
    assert scripted.requests[0][2]["User-Agent"].startswith("throttle-client-python/")


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        with Client(url, timeout=0.2, retry_for=0.1) as client, pytest.raises(ServerUnreachable):
            client.remainder("A")

        async def main() -> None:
            async with AsyncClient(url, timeout=0.2, retry_for=0.1) as client:
                await client.remainder("A")

        with pytest.raises(ServerUnreachable):
            asyncio.run(main())
        assert time.monotonic() - begin < 5


def test_the_time_that_a_request_blocks_is_added_to_its_timeout(scripted: Scripted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        begin = time.monotonic()
        with Client(url, timeout=0.1, retry_for=0) as client, pytest.raises(ServerUnreachable):
            client.acquire(1, "A", block_for=0.5)
        assert time.monotonic() - begin >= 0.6
    assert not scripted.requests


UNCLOSED = """
import asyncio, sys
from throttle_client import AsyncClient, Client

client = Client(sys.argv[1])
client.remainder("A")

async def main():
    global kept
    kept = AsyncClient(sys.argv[1])
    dropped = AsyncClient(sys.argv[1])
    await asyncio.gather(kept.remainder("A"), dropped.remainder("A"))

asyncio.run(main())
"""


def test_what_nobody_closed_ends_without_a_word(scripted: Scripted) -> None:
    scripted.answers = [(200, {}, "5")] * 3
    done = subprocess.run(
        [sys.executable, "-c", UNCLOSED, scripted.url], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("end", ["", "/"])
def test_the_path_of_the_url_is_kept(scripted: Scripted, end: str) -> None:
    url = f"{scripted.url}/team/throttle{end}"
    answers: list[Optional[tuple[int, dict[str, str], str]]] = [
        (201, {}, '{"id":"7","locks":[]}'),
        (200, {}, '{"id":"7","locks":[{"semaphore":"A","count":1,"token":"1"}],"pending":null}'),
        (204, {}, ""),
    ]

    async def main() -> None:
        async with lock(url, "A"):
            pass
        async with AsyncClient(url) as client:
            assert await client.remainder("A") == 5

    scripted.answers = [*answers]
    with lock(url, "A"):
        pass
    scripted.answers = [*answers, (200, {}, "5")]
    asyncio.run(main())
    assert len(scripted.requests) >= 2 * len(answers) + 1
    assert all(path.startswith("/team/throttle/") for _, path, _ in scripted.requests)
    assert "/team/throttle//" not in " ".join(path for _, path, _ in scripted.requests)
