"""Where the servers are and how to talk to it: from arguments, else from the environment."""

from __future__ import annotations

import functools
import logging
import os
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

import certifi

from ._durations import Duration, seconds
from ._errors import ConfigurationError
from ._servers import Servers, ServerUrl, normalize_urls, servers_of, without_password

__all__ = ["DEFAULT_RETRY_SECONDS", "DEFAULT_TIMEOUT_SECONDS", "Settings"]

_log = logging.getLogger("throttle_client")

DEFAULT_TIMEOUT_SECONDS = 10.0
DEFAULT_RETRY_SECONDS = 120.0
USER_AGENT = "throttle-client-python/0.6.0"


@dataclass(frozen=True)
class Settings:
    """Everything that a connection needs. Can be pickled and hashed; its repr hides the token."""

    # One, or those of one cluster with commas between them.
    url: str = field(repr=False)
    token: Optional[str] = field(default=None, repr=False)
    token_file: Optional[str] = None
    cacert: Optional[str] = None
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    retry_for: float = DEFAULT_RETRY_SECONDS

    @classmethod
    def resolve(
        cls,
        url: Optional[ServerUrl] = None,
        *,
        token: Optional[str] = None,
        token_file: Optional[str] = None,
        cacert: Optional[str] = None,
        timeout: Duration = DEFAULT_TIMEOUT_SECONDS,
        retry_for: Duration = DEFAULT_RETRY_SECONDS,
    ) -> Settings:
        """Fill what is not given from `THROTTLE_URL`, `THROTTLE_TOKEN`, `_TOKEN_FILE` and `_CACERT`."""
        environment = os.environ
        if url is None:
            url = environment.get("THROTTLE_URL")
            if not url:
                raise ConfigurationError("no server given: pass its URL, or set THROTTLE_URL")
        if token is None and token_file is None:
            token = environment.get("THROTTLE_TOKEN") or None
            if token is None:
                token_file = environment.get("THROTTLE_TOKEN_FILE") or None
        if cacert is None:
            cacert = environment.get("THROTTLE_CACERT") or None
        if token is not None:
            _checked_token(token, "the token")
        url = normalize_urls(url)
        for server in url.split(",") if token is not None or token_file is not None else ():
            if _is_readable_on_the_way(server):
                _log.warning(
                    "The token goes to %s without encryption, so others on the way can read it. Use https.",
                    without_password(server),
                )
        limit = seconds(timeout, "timeout")
        if limit == 0:
            raise ConfigurationError("timeout is 0; an answer needs some time to arrive, e.g. timeout=10")
        return cls(
            url=url,
            token=token,
            token_file=token_file,
            cacert=cacert,
            timeout=limit,
            retry_for=seconds(retry_for, "retry_for"),
        )

    @property
    def servers(self) -> Servers:
        """The servers, and which of them answered last."""
        return servers_of(self.url)

    @property
    def shown_url(self) -> str:
        """The URL of the server that is asked at this moment, without a password, for people."""
        return without_password(self.servers.asked)

    def headers(self) -> dict[str, str]:
        """Headers of every request. A token file is read each time, so a rotated token is picked up."""
        headers = {"User-Agent": USER_AGENT}
        token = self.token
        if token is None and self.token_file is not None:
            token = _read_token(self.token_file)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def ssl_context(self) -> ssl.SSLContext:
        """The certificates to trust: `cacert` alone if it is set, else the usual ones."""
        return _ssl_context(self.cacert)


def _is_readable_on_the_way(url: str) -> bool:
    """Whether what is sent to this URL leaves the machine without encryption."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost" or host.endswith(".localhost")
    return parts.scheme.lower() == "http" and not is_here


def _read_token(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"the token file {path!r} cannot be read: {why}") from error
    if not token:
        raise ConfigurationError(f"the token file {path!r} is empty; one line with the token is needed")
    return _checked_token(token, f"the token in {path!r}")


def _checked_token(token: str, what: str) -> str:
    """The token if a header can carry it. The error does not show it: it is secret."""
    if not (isinstance(token, str) and token.isascii() and token.isprintable()):
        raise ConfigurationError(
            f"{what} has a character that no header can carry, such as a line break or a letter beyond "
            "ASCII; one line of printable ASCII is needed"
        )
    return token


@functools.lru_cache(maxsize=16)
def _ssl_context(cacert: Optional[str]) -> ssl.SSLContext:
    if cacert is None:
        # As most programs do: what these variables name, else the list of authorities that browsers have.
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if not file and not folder:
            file = certifi.where()
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    try:
        return ssl.create_default_context(cafile=cacert)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the certificate file {cacert!r} (cacert or THROTTLE_CACERT) cannot be used: {error}"
        ) from error
