"""Text that cannot be sent: an error of ours at once, which says what it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Callable

import pytest
from conftest import Scripted

from throttle_client import AsyncClient, Client, ConfigurationError, lock

HALF = "a\ud800"


def _enter(url: str, semaphore: object) -> None:
    with lock(url, semaphore):  # type: ignore[call-overload]
        pass


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: _enter(url, HALF),
        lambda url: _enter(url, {"A": 1, HALF: 1}),
        lambda url: Client(url).acquire(1, HALF),
        lambda url: Client(url).acquire(1, HALF, block_for=1),
        lambda url: Client(url).release_lock(1, HALF),
        lambda url: Client(url).remainder(HALF),
        lambda url: Client(url).restore(1, {HALF: 1}, expires_in=1),
        lambda url: Client(url).restore(1, {"A": 1}, expires_in=1, tokens={HALF: 1}),
        lambda url: Client(url).is_token_live(HALF, 1),
        lambda url: Client(url, labels={HALF: "x"}),
        lambda url: Client(url, labels={"x": HALF}),
        lambda url: Client(f"{url}/{HALF}").version(),
        lambda url: asyncio.run(AsyncClient(url).remainder(HALF)),
    ],
)
def test_half_of_a_character(scripted: Scripted, ask: Callable[[str], object]) -> None:
    with pytest.raises(ConfigurationError, match="ud800"):
        ask(scripted.url)
    assert not scripted.requests


@pytest.mark.parametrize("token", [HALF, "caf\u00e9", "two\nlines"])
def test_a_token_that_no_header_can_carry(scripted: Scripted, tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigurationError, match="printable ASCII") as caught:
        Client(scripted.url, token=token)
    assert token not in str(caught.value)
    file = tmp_path / "token"
    file.write_bytes(token.encode(errors="surrogatepass"))
    with pytest.raises(ConfigurationError, match="token"):
        Client(scripted.url, token_file=str(file)).version()
    assert not scripted.requests


@pytest.mark.parametrize("url", ["http://[::1", "http://a\x00b", "http://a:port"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the server URL is"):
        Client(url)
