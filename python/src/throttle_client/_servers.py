"""The servers that a client may ask: one, or those of one cluster, which all serve the same semaphores.

Which of them is asked is decided here; nothing here does I/O.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple, Optional, Union
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from yarl import URL

from ._errors import ConfigurationError

__all__ = ["ServerUrl", "Servers", "normalize_urls", "servers_of", "without_password"]

# One URL, several with commas between them, or several in a sequence.
ServerUrl = Union[str, Sequence[str]]

DEFAULT_PORTS = {"http": 80, "https": 443}


class Servers:
    """The servers of one list, and which of them answered last. Threads may share this."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = tuple(urls)
        self.favourite = 0

    def urls_are_others(self, urls: str) -> bool:
        """Whether none of a list, in its normal form, is here."""
        return not set(urls.split(",")) & set(self.urls)

    @property
    def asked(self) -> str:
        """The one that is asked first at this moment."""
        return self.urls[self.favourite]


@functools.lru_cache(maxsize=64)
def servers_of(url: str) -> Servers:
    """What this process knows of the servers of a list, in its normal form."""
    return Servers(url.split(","))


class Redirect(NamedTuple):
    """Where a redirect leads that is not followed."""

    target: str
    # Whether that is a server of the list: one that was no good, or that redirects, too. So nobody leads now.
    is_known: bool


class Round:
    """The servers that one request was sent to since it paused."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._at = servers.favourite
        self._tried: set[int] = set()
        self._was_redirected = False
        # Whether none was asked twice.
        self.is_first = True

    @property
    def is_single(self) -> bool:
        """Whether there is one server only."""
        return len(self._servers.urls) == 1

    @property
    def url(self) -> str:
        """The one to be asked."""
        return self._servers.urls[self._at]

    def answered(self) -> None:
        """It answered, so others ask it first, too."""
        self._servers.favourite = self._at

    def move_on(self) -> bool:
        """It did not answer, or cannot serve the request: turn to one that was not asked in this round.

        Returns whether there is one. If there is none, a pause is due, and another round begins.
        """
        count, servers = len(self._servers.urls), self._servers
        self._was_redirected = False
        self._tried.add(self._at)
        # Whoever fails at the same server does not skip the next one.
        if servers.favourite == self._at:
            servers.favourite = (self._at + 1) % count
        in_turn = [servers.favourite, *((self._at + step) % count for step in range(1, count))]
        untried = next((number for number in in_turn if number not in self._tried), None)
        if untried is None:
            self._at = servers.favourite
            self._tried.clear()
            self.is_first = False
            return False
        self._at = untried
        return True

    def redirect(self, location: str, path: str) -> Optional[Redirect]:
        """It says that another one is to be asked for this path: turn to that; or tell why not."""
        try:
            target = urlsplit(urljoin(self.url + path, location))
            # The request goes to the URL that the list has, so its password and path are those of the list.
            leads_to = [number for number, url in enumerate(self._servers.urls) if _is_at(target, url, path)]
        except ValueError:
            return Redirect(repr(location), is_known=False)
        shown = without_password(target._replace(query="", fragment="").geturl())
        if not leads_to or self.is_single:
            return Redirect(shown, is_known=False)
        number = leads_to[0]
        if self._was_redirected or number == self._at or number in self._tried:
            return Redirect(shown, is_known=True)
        self._tried.add(self._at)
        self._at = number
        self._was_redirected = True
        return None


def _is_at(target: SplitResult, url: str, path: str) -> bool:
    """Whether this is where a path is on a server."""
    server = urlsplit(url)
    if _origin(target) != _origin(server):
        return False
    return unquote(target.path) in (unquote(server.path + path), unquote(path))


def _origin(url: SplitResult) -> tuple[str, str, Optional[int]]:
    scheme = url.scheme.lower()
    port = DEFAULT_PORTS.get(scheme) if url.port is None else url.port
    return scheme, (url.hostname or "").lower(), port


def without_password(urls: str) -> str:
    """A URL, or several, as they are shown to people, also wrong ones."""
    return re.sub(r"(^|,)(\s*(?:[^:/?#,]*://)?[^:/?#@,]*):[^/?#]*(?=@)", r"\1\2", urls)


def normalize_urls(given: ServerUrl) -> str:
    """Bring base URLs into one form, with commas between them: `localhost:8000/` is `http://localhost:8000`."""
    if isinstance(given, str):
        text = given
    elif isinstance(given, Sequence) and given and all(isinstance(url, str) for url in given):
        text = ",".join(given)
    else:
        raise ConfigurationError(
            f"the server is given as {given!r}; a URL like http://localhost:8000 is needed, or several"
        )
    entries = text.split(",")
    if len(entries) == 1:
        return _normalize(text, f"the server URL is {without_password(text)!r}", "http://localhost:8000")
    urls: dict[str, None] = {}
    for number, entry in enumerate(entries, 1):
        # It may be cut off at a comma in its password, which is not to be shown.
        rest = ",".join(entries[number - 1 :])
        is_cut = "@" not in entry and not without_password(rest).startswith(entry)
        what = f"server {number} of the list is {without_password(rest if is_cut else entry)!r}"
        needed = "http://a:8000,http://b:8000"
        try:
            urls[_normalize(entry, what, needed)] = None
        except ConfigurationError as error:
            why = f"{what}; something like {needed} is needed" if is_cut else error
            raise ConfigurationError(f"{why}, and a comma within a URL is written %2C") from None
    return ",".join(urls)


def _normalize(url: str, what: str, needed: str) -> str:
    text = url.strip()
    if "://" not in text:
        text = f"http://{text}"
    needed = f"something like {needed} is needed"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
        text.encode()
        _ = URL(text).raw_host
    except ValueError as error:
        raise ConfigurationError(f"{what}: {error}; {needed}") from None
    if not text.isprintable() or " " in text:
        raise ConfigurationError(f"{what} and has a character that no address has; {needed}")
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ConfigurationError(f"{what}; {needed}")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{what} and has a query or a fragment; {needed}")
    return text.rstrip("/")
