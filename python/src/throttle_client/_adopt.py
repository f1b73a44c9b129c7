"""`adopt`: looking after a peer that another process made."""

from __future__ import annotations

from typing import Optional, Union

from ._async_client import AsyncClient
from ._client import Client
from ._durations import Duration
from ._errors import ConfigurationError
from ._holding import Plan
from ._passes import Notify, Passes, checked_on_lost, checked_ttl, resolve
from ._peer import Peer
from ._servers import ServerUrl

__all__ = ["adopt"]


class adopt(Passes):  # noqa: N801 (as `lock`)
    """Take over a peer with all the locks that it holds: `with`, or `async with`.

    >>> with adopt("http://localhost:8000", "15248218688310292863") as handle:
    ...     handle.check()

    Whoever made the peer, such as `throttle acquire`, need not renew it any more. It is renewed from now on,
    and released at the end; a loss is told of as for a lock of one's own. It raises `UnknownPeer` if the
    server does not know the peer any more, and `NotAcquired` if the peer holds nothing. Servers before 0.6
    cannot tell what a peer holds, which raises `ServerError`.

    * `target`: URL of the server (default: `THROTTLE_URL`), or of those of one cluster; a `Client`, or an
      `AsyncClient`.
    * `peer_id`: the peer, as a number or as the text that the server gave.
    * `ttl`: its expiry from now on, 5 minutes by default.
    * `on_lost`, `notify`, `token`, `token_file`, `cacert`: as in `lock`.
    """

    def __init__(
        self,
        target: Union[ServerUrl, AsyncClient, Client, None],
        peer_id: Union[int, str],
        *,
        ttl: Optional[Duration] = None,
        on_lost: str = "raise",
        notify: Optional[Notify] = None,
        token: Optional[str] = None,
        token_file: Optional[str] = None,
        cacert: Optional[str] = None,
    ) -> None:
        if isinstance(target, Peer):
            raise ConfigurationError("adopt() got a Peer; a URL, a Client or an AsyncClient is needed")
        plan = Plan(
            target=resolve(target, token, token_file, cacert),
            wanted={},
            ttl=checked_ttl(ttl),
            on_lost=checked_on_lost(on_lost),
            notify=notify,
            adopted=_checked_id(peer_id),
        )
        super().__init__(plan)

    def __repr__(self) -> str:
        return f"<adopt peer {self._plan.adopted}>"


def _checked_id(value: object) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if is_number or (isinstance(value, str) and value.isascii() and value.isdigit()):
        return int(value)  # type: ignore[call-overload, no-any-return]
    raise ConfigurationError(f"the peer id is {value!r}; a number such as 15248218688310292863 is needed")
