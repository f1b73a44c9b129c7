"""Text that cannot be sent: an error of ours at once, which says what it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Callable

import pytest
from conftest import Scripted

from throttle_client import AsyncClient, Client, ConfigurationError, ServerUnreachable, lock
from throttle_client._settings import Settings

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


def test_a_password_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    url = "http://etl:sec@ret@127.0.0.1:1/a@b"
    client = Client(url, retry_for=0)
    with pytest.raises(ServerUnreachable) as raised:
        client.remainder("A")
    assert "http://etl@127.0.0.1:1/a@b" in str(raised.value)
    with pytest.raises(ConfigurationError) as wrong:
        Client("http://etl:secret@host:port")
    shown = [str(raised.value), repr(client), repr(Settings.resolve(url)), str(wrong.value), caplog.text]
    assert not [text for text in shown if "sec" in text.replace("seconds", "")]


def test_a_token_that_others_can_read_is_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("https://locks.example", "http://127.0.0.1:8000", "http://[::1]", "localhost:8000"):
        Settings.resolve(url, token="a-token")
    assert caplog.text == ""
    Settings.resolve("http://etl:secret@locks.example", token="a-token")
    assert "http://etl@locks.example without encryption" in caplog.text
    assert "a-token" not in caplog.text
