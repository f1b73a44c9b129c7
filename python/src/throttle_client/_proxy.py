"""The HTTP proxy that the environment puts before a server.

The connections find it themselves; this says which one it is where it fails.
"""

from __future__ import annotations

import os
from typing import Optional
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["proxy_before"]


def proxy_before(url: str) -> Optional[str]:
    """The proxy and what names it, such as `http://proxy:3128 (HTTP_PROXY)`; `None` if there is none."""
    server = urlsplit(url)
    proxies = getproxies()
    kind = next((kind for kind in (server.scheme.lower(), "all") if proxies.get(kind)), None)
    if kind is None or proxy_bypass(server.netloc.rpartition("@")[2]):
        return None
    # Where both are set, the one in small letters counts.
    names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    named_by = next((name for name in names if os.environ.get(name)), "a setting of this system")
    scheme, _, rest = proxies[kind].rpartition("://")
    # Without the password.
    return f"{scheme or 'http'}://{rest.rpartition('@')[2].rstrip('/')} ({named_by})"
