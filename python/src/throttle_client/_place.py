"""Whose peer a lock belongs to: one of its own, or that of a lock around this process."""

from __future__ import annotations

import logging
from typing import Optional

from . import _answers, _protocol
from ._errors import NoSuchRoute, NotAuthorized, RequestRefused, ServerError, UnknownPeer
from ._lease import Around, Lease
from ._log import log
from ._outer import Claim, Outer
from ._transport import AsyncLink

__all__ = ["find_place"]


async def find_place(lease: Lease, link: AsyncLink, outer: Outer, until: float, limit: float) -> None:
    """Let the lease share the peer of a lock around this process, if the server knows it and nobody uses it.

    The server itself tells whether it is the one that the peer belongs to: ids are random, so no other has a
    peer of this id, while a server may have several URLs, and a new `Throttle-Instance` after a restart.
    """
    if link.dialect.lacks_v1:
        return
    # Before it is asked what the peer holds, which none but the owner of the claim changes.
    claim = Claim.take(outer.lock_file)
    try:
        is_shared = await _look_around(lease, link, outer, claim, until, limit)
    except BaseException:
        if claim is not None:
            claim.end()
        raise
    if claim is not None and not is_shared:
        claim.end()


async def _look_around(
    lease: Lease, link: AsyncLink, outer: Outer, claim: Optional[Claim], until: float, limit: float
) -> bool:
    """Find out what is held around this process; return whether the lease shares the peer."""
    # This moves the end of the lease without changing its length. The older dialect does not show the peer.
    request = _protocol.heartbeat_and_look(outer.peer_id, outer.ttl)
    try:
        answer, sent_at = await link.exchange(request, until, limit)
    except NoSuchRoute:
        return False
    except (UnknownPeer, NotAuthorized, RequestRefused) as error:
        if outer.url is None or not lease.settings.servers.urls_are_others(outer.url):
            log(
                logging.WARNING,
                "peer %s at %s, which THROTTLE_PEER_ID names, is not to be shared, so the lock gets a peer "
                "of its own: %s",
                outer.peer_id,
                lease.settings.shown_url,
                error,
            )
        return False
    counts = _answers.parse_counts(answer)
    tokens = _answers.parse_locks(answer) or {}
    if answer.document.get("pending") is not None:
        claim = None
    around = {
        name: Around(count, tokens.get(name), claim is not None)
        for name, count in counts.items()
        if claim is not None or (name in outer.tokens and tokens.get(name) == outer.tokens[name])
    }
    for name, token in outer.tokens.items():
        if name not in around:
            count = await _count(link, name, token, until, limit)
            if count is not None:
                around[name] = Around(count, token, in_peer=False)
    lease.around = around
    if claim is None:
        return False
    lease.share(outer.peer_id, outer.ttl, claim)
    lease.confirm(sent_at, answer.instance)
    return True


async def _count(link: AsyncLink, name: str, token: int, until: float, limit: float) -> Optional[int]:
    """How much is held under a fencing token; `None` if it is not live."""
    try:
        answer, _ = await link.exchange(_protocol.is_token_live(name, token), until, limit)
    except (RequestRefused, ServerError):
        return None  # Whatever is wrong, the request for the lock itself tells.
    count = answer.document.get("count")
    return count if answer.status == 200 and isinstance(count, int) else None
