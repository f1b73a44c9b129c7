"""The HTTP proxy that the environment puts before a server."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["Proxy", "proxy_before"]


class Proxy(NamedTuple):
    """A proxy, and what names it. As text it is `http://proxy:3128 (HTTP_PROXY)`, without a password."""

    url: str
    named_by: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.rpartition("://")
        return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')} ({self.named_by})"


def proxy_before(url: str) -> Optional[Proxy]:
    """The proxy before the server at `url`; `None` if there is none."""
    server = urlsplit(url)
    proxies = getproxies()
    kind = next((kind for kind in (server.scheme.lower(), "all") if proxies.get(kind)), None)
    if kind is None or proxy_bypass(server.netloc.rpartition("@")[2]):
        return None
    # Where both are set, the one in small letters counts.
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    named_by = next((name for name in names if os.environ.get(name)), "a setting of this system")
    proxy = proxies[kind]
    return Proxy(proxy if "://" in proxy else f"http://{proxy}", named_by)
