"""Taking over a peer that somebody else made. Runs on the background thread."""

from __future__ import annotations

from . import _answers, _protocol
from ._background import Background
from ._errors import NotAcquired, UnknownPeer
from ._keeper import start_keeping
from ._lease import Lease

__all__ = ["take_over"]


async def take_over(background: Background, lease: Lease) -> dict[str, int]:
    """Hold what the peer holds, and renew it from now on; returns its locks with their counts."""
    if lease.peer_id is None:
        raise UnknownPeer
    request = _protocol.heartbeat_and_look(lease.peer_id, lease.ttl)
    answer, sent_at = await background.link(lease.settings).exchange(request)
    counts, tokens = _answers.parse_counts(answer), _answers.parse_locks(answer) or {}
    if not counts:
        where = f"peer {lease.peer_id} at {lease.settings.shown_url}"
        raise NotAcquired(f"{where} holds no lock, so there is nothing to take over", status=409)
    lease.labels = _answers.parse_labels(answer)
    lease.confirm(sent_at, answer.instance)
    for name, count in counts.items():
        lease.grant(name, count, tokens.get(name))
    start_keeping(background, lease)
    return counts
