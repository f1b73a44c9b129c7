"""Renewing one lease, bringing it back after a restart of the server, or telling that it is lost."""

from __future__ import annotations

import asyncio
import logging

from . import _answers, _protocol
from ._clock import now
from ._errors import RequestRefused, UnknownPeer
from ._lease import Lease
from ._log import log
from ._transport import AsyncLink

__all__ = ["gate", "longest_attempt", "recover", "renew_once"]

SHORTEST_ATTEMPT_SECONDS = 0.05


def gate(lease: Lease) -> asyncio.Lock:
    """Only one request at a time may bring locks back or release them, else one would undo the other."""
    if lease.gate is None:
        lease.gate = asyncio.Lock()
    return lease.gate


async def renew_once(lease: Lease, link: AsyncLink) -> None:
    """Renew a lease by a request of its own, which also tells what its peer holds."""
    peer_id, deadline = lease.peer_id, lease.deadline
    if peer_id is None or deadline is None:
        return
    begun_at = now()
    request = _protocol.heartbeat(peer_id, lease.ttl)
    before = dict(lease.tokens)
    try:
        answer, sent_at = await link.exchange(request, begun_at, longest_attempt(lease, deadline))
    except UnknownPeer as error:
        await recover(lease, link, error, begun_at)
    else:
        if lease.moved(answer.instance):
            # A new server that knows the peer already: only a restore tells whether the locks are there, too.
            await recover(lease, link, UnknownPeer(instance=answer.instance), sent_at, known=True)
        else:
            lease.confirm(sent_at, answer.instance)
            lease.compare(before, _answers.parse_locks(answer))


async def recover(
    lease: Lease, link: AsyncLink, unknown: UnknownPeer, sent_at: float, *, known: bool = False
) -> None:
    """After `Unknown peer` to a request sent at `sent_at`: restore the peer, or find the locks lost.

    With `known` the peer is known, but to a state of the server that did not grant its locks.
    """
    async with gate(lease):
        if lease.loss is not None:
            raise lease.loss
        if lease.restored_at >= sent_at or lease.peer_id is None:
            return  # Done by someone else since.
        # Even a peer that only waits is not to stand in line again where somebody took it out.
        if unknown.by_operator or not lease.may_restore(unknown.instance):
            raise lease.lose(
                "released",
                "the server ended it (released by an operator, or expired there); it did not start anew",
                unknown.detail,
            )
        if lease.claim is not None:
            await _recover_shared(lease, link, unknown, known=known)
            return
        restored_at = now()
        request = _protocol.restore(
            lease.peer_id, lease.own, lease.ttl, lease.own_tokens, lease.labels_to_restore()
        )
        limit = longest_attempt(
            lease, lease.deadline if lease.deadline is not None else restored_at + lease.ttl
        )
        try:
            answer = await link.once(request, limit)
        except RequestRefused as error:
            raise lease.lose(
                "not restored", f"the server lost its state and did not take it back: {error}"
            ) from error
        lease.restored_at = restored_at
        lease.confirm(restored_at, answer.instance)
        log(
            logging.INFO,
            "the server started anew; restored peer %s with %s",
            lease.peer_id,
            dict(lease.acquired),
        )


async def _recover_shared(lease: Lease, link: AsyncLink, unknown: UnknownPeer, *, known: bool) -> None:
    """A server that forgot a shared peer gets it back from its owner, with what the owner holds.

    What is held here besides is asked for again then: it is lost if another has it by now.
    """
    peer_id, deadline = lease.peer_id, lease.deadline
    if peer_id is None or deadline is None:
        raise unknown
    if not known:
        if lease.acquired or lease.overdue or unknown.instance == lease.instance:
            raise unknown
        await asyncio.sleep(min(0.1, lease.ttl / 20))
        return
    sent_at = now()
    own = lease.own
    if own:
        request = _protocol.acquire(peer_id, own, lease.ttl, 0.0)
        why = "somebody else holds it or waits for it"
        try:
            answer = await link.once(request, longest_attempt(lease, deadline))
            is_granted = _answers.parse_acquired(answer)
        except RequestRefused as error:
            is_granted, why = False, str(error)
        if not is_granted:
            # The request is withdrawn with the release.
            raise lease.lose("not restored", f"the server lost its state and did not grant it again: {why}")
        tokens = _answers.parse_tokens(answer, own)
        for name, count in own.items():
            lease.grant(name, count, tokens[name])
    lease.restored_at = sent_at
    lease.confirm(sent_at, unknown.instance)


def longest_attempt(lease: Lease, deadline: float) -> float:
    """An attempt gets a third of what remains at most, so that one that hangs leaves time for others.

    Of several servers all but one may hang, and there is time to ask each of them; so it is a fourth where
    there are two, and so on.
    """
    remaining = deadline - now() if lease.acquired else lease.ttl
    parts = len(lease.settings.servers.urls) + 2
    part = min(max(remaining / parts, lease.ttl / (4 * parts)), remaining)
    return max(SHORTEST_ATTEMPT_SECONDS, min(lease.settings.timeout, part))
