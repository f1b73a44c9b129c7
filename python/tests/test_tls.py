"""Certificates and bearer tokens, against an endpoint that really speaks TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from conftest import Gateway, Server, eventually

from throttle_client import AsyncClient, CertificateRejected, Client, lock


@dataclass
class Endpoint:
    """A TLS endpoint in front of a server, and the file of the authority that signed its certificate."""

    gateway: Gateway
    cacert: str

    @property
    def url(self) -> str:
        return self.gateway.url


@contextlib.contextmanager
def endpoint(server: Server, folder: Path, host: str = "127.0.0.1") -> Iterator[Endpoint]:
    authority = trustme.CA()
    cacert = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(cacert))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(tls)
    with contextlib.closing(Gateway(server.port, tls)) as gateway:
        yield Endpoint(gateway, str(cacert))


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("THROTTLE_CACERT", "THROTTLE_TOKEN", "THROTTLE_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tls(server: Server, tmp_path: Path) -> Iterator[Endpoint]:
    """A server behind TLS, with a certificate for 127.0.0.1 from an authority that nobody knows."""
    with endpoint(server, tmp_path) as found:
        yield found


def test_the_given_authority_is_trusted(server: Server, tls: Endpoint) -> None:
    assert tls.url.startswith("https://")
    with lock(tls.url, "A", cacert=tls.cacert) as handle:
        assert server.client.remainder("A") == 0
        handle.check()
    with Client(tls.url, cacert=tls.cacert) as client:
        assert client.remainder("A") == 1


def test_the_authority_from_the_environment_is_trusted(
    server: Server, tls: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THROTTLE_CACERT", tls.cacert)

    async def main() -> None:
        async with lock(tls.url, "A"), AsyncClient(tls.url) as client:
            assert server.client.remainder("A") == 0
            assert await client.remainder("A") == 0

    asyncio.run(main())
    assert server.client.remainder("A") == 1


def test_an_unknown_authority_is_refused_at_once(tls: Endpoint) -> None:
    expected = r"certificate is not trusted .*Pass cacert= or set THROTTLE_CACERT"

    async def main() -> None:
        async with lock(tls.url, "A"):
            pytest.fail("the server was trusted")

    with (
        Client(tls.url, token="secret") as client,
        pytest.raises(CertificateRejected, match=expected) as caught,
    ):
        client.remainder("A")
    assert not caught.value.sent
    with pytest.raises(CertificateRejected, match=expected), lock(tls.url, "A"):
        pytest.fail("the server was trusted")
    with pytest.raises(CertificateRejected, match=expected):
        asyncio.run(main())
    assert tls.gateway.requests == []


def test_another_authority_is_refused(tls: Endpoint, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with Client(tls.url, cacert=str(other)) as client, pytest.raises(CertificateRejected):
        client.remainder("A")
    assert tls.gateway.requests == []


def test_a_certificate_of_another_host_is_refused(server: Server, tmp_path: Path) -> None:
    with endpoint(server, tmp_path, host="throttle.example") as tls:
        client = Client(tls.url, cacert=tls.cacert)
        with client, pytest.raises(CertificateRejected, match=r"127\.0\.0\.1"):
            client.remainder("A")
        assert tls.gateway.requests == []


def test_every_request_carries_the_token(tls: Endpoint, server: Server) -> None:
    seen = tls.gateway.requests
    with lock(tls.url, "A", ttl=0.9, token="secret", cacert=tls.cacert) as handle:
        renewals = [("PUT", f"/peers/{handle.id}"), ("POST", f"/v1/peers/{handle.id}/heartbeat")]
        eventually(lambda: renewals[server.has_v1] in [request[:2] for request in seen])
    assert {method for method, _, _ in seen} >= {"POST", "DELETE"}
    assert {headers["Authorization"] for _, _, headers in seen} == {"Bearer secret"}


def test_a_token_file_is_read_anew_for_every_request(
    tls: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("THROTTLE_TOKEN_FILE", str(file))
    with Client(tls.url, cacert=tls.cacert) as client:
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            client.remainder("A")
    assert [headers["Authorization"] for _, _, headers in tls.gateway.requests] == [
        "Bearer first",
        "Bearer second",
    ]
