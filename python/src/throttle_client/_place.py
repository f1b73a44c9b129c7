"""Whose peer a lock belongs to: one of its own, or that of a lock around this process."""

from __future__ import annotations

import logging
from typing import Optional

from . import _protocol
from ._errors import NoSuchRoute, NotAuthorized, RequestRefused, ServerError, UnknownPeer
from ._lease import Around, Lease
from ._outer import Claim, Outer
from ._transport import AsyncLink

__all__ = ["find_place"]

_log = logging.getLogger("throttle_client")


async def find_place(lease: Lease, link: AsyncLink, outer: Outer, until: float, limit: float) -> None:
    """Let the lease share the peer of a lock around this process, if the server knows it and nobody uses it.

    The server itself tells whether it is the one that the peer belongs to: ids are random, so no other has a
    peer of this id, while a server may have several URLs, and a new `Throttle-Instance` after a restart.
    """
    if link.dialect.lacks_v1:
        return
    # This moves the end of the lease without changing its length. The older dialect does not show the peer.
    request = _protocol.heartbeat_and_look(outer.peer_id, outer.ttl)
    try:
        answer, sent_at = await link.exchange(request, until, limit)
    except NoSuchRoute:
        return
    except (UnknownPeer, NotAuthorized, RequestRefused) as error:
        if outer.url in (None, lease.settings.url):
            _log.warning(
                "peer %s at %s, which THROTTLE_PEER_ID names, is not to be shared, so the lock gets a peer "
                "of its own: %s",
                outer.peer_id,
                lease.settings.url,
                error,
            )
        return
    counts = _protocol.parse_counts(answer)
    tokens = _protocol.parse_locks(answer) or {}
    claim = Claim.take(outer.lock_file)
    if claim is not None and answer.document.get("pending") is not None:
        claim.end()
        claim = None
    around = {
        name: Around(count, tokens.get(name), claim is not None)
        for name, count in counts.items()
        if claim is not None or (name in outer.tokens and tokens.get(name) == outer.tokens[name])
    }
    try:
        for name, token in outer.tokens.items():
            if name not in around:
                count = await _count(link, name, token, until, limit)
                if count is not None:
                    around[name] = Around(count, token, in_peer=False)
    except BaseException:
        if claim is not None:
            claim.end()
        raise
    lease.around = around
    if claim is not None:
        lease.share(outer.peer_id, outer.ttl, claim)
        lease.confirm(sent_at, answer.instance)


async def _count(link: AsyncLink, name: str, token: int, until: float, limit: float) -> Optional[int]:
    """How much is held under a fencing token; `None` if it is not live."""
    try:
        answer, _ = await link.exchange(_protocol.is_token_live(name, token), until, limit)
    except (RequestRefused, ServerError):
        return None  # Whatever is wrong, the request for the lock itself tells.
    count = answer.document.get("count")
    return count if answer.status == 200 and isinstance(count, int) else None
