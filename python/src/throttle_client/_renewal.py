"""Keeping a lease alive: renew it, bring it back after a restart of the server, or tell that it is lost."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random

from . import _protocol
from ._background import Background
from ._clock import now
from ._errors import LockLost, RequestRefused, ThrottleError, UnknownPeer
from ._lease import Lease
from ._retry import backoff
from ._transport import AsyncLink, within

__all__ = ["gate", "recover", "restart_keeping", "start_keeping", "stop_keeping"]

SHORTEST_ATTEMPT_SECONDS = 0.05

_log = logging.getLogger("throttle_client")


def start_keeping(background: Background, lease: Lease) -> None:
    """Make sure that the lease is renewed from now on. To be called on the background thread."""
    if lease.keeper is None or lease.keeper.done():
        work = _keep(lease, background.link(lease.settings))
        # In a context of its own: the span in which a lock was acquired is not that of its renewals.
        lease.keeper = contextvars.Context().run(background.loop.create_task, work)


def restart_keeping(background: Background, lease: Lease) -> None:
    """Let a renewal that is under way follow a new expiry. To be called on the background thread."""
    if lease.keeper is not None and not lease.keeper.done():
        lease.keeper.cancel()
        lease.keeper = None
        start_keeping(background, lease)


async def stop_keeping(lease: Lease) -> None:
    """End the renewal; once this returned none is under way."""
    keeper, lease.keeper = lease.keeper, None
    if keeper is not None and keeper is not asyncio.current_task():
        keeper.cancel()
        await asyncio.wait({keeper})


def gate(lease: Lease) -> asyncio.Lock:
    """Only one request at a time may bring locks back or release them, else one would undo the other."""
    if lease.gate is None:
        lease.gate = asyncio.Lock()
    return lease.gate


async def _keep(lease: Lease, link: AsyncLink) -> None:
    if lease.deadline is None:
        # Locks that came with an existing peer id: nobody knows what is left of their time.
        lease.confirm(now(), None)
    failures = 0
    jitter = _jitter()
    while lease.acquired and lease.loss is None and lease.deadline is not None:
        if not lease.renewing:
            due = lease.deadline
        elif failures:
            due = now() + backoff(failures - 1, min(0.1, lease.ttl / 20), min(5.0, lease.ttl / 10))
        else:
            due = lease.confirmed_at + lease.interval * jitter
        await asyncio.sleep(max(0.0, min(due, lease.deadline) - now()))
        lease.expire_if_overdue()
        if not lease.acquired or not lease.renewing:
            continue
        if not failures and lease.confirmed_at + lease.interval * jitter > now():
            continue  # Another request renewed it meanwhile.
        try:
            await within(max(0.0, lease.deadline - now()), _renew_once(lease, link))
        except LockLost:
            return
        except (ThrottleError, asyncio.TimeoutError) as error:
            failures += 1
            _log.info("renewal of peer %s failed, trying again: %s", lease.peer_id, error)
        except Exception:  # noqa: BLE001 (whatever it is, the thread lives on)
            failures += 1
            _log.exception("renewal of peer %s failed, trying again", lease.peer_id)
        else:
            failures = 0
            jitter = _jitter()


async def _renew_once(lease: Lease, link: AsyncLink) -> None:
    peer_id, deadline = lease.peer_id, lease.deadline
    if peer_id is None or deadline is None:
        return
    begun_at = now()
    request = _protocol.heartbeat(peer_id, lease.ttl)
    before = dict(lease.tokens)
    try:
        answer, sent_at = await link.exchange(request, begun_at, _limit(lease, deadline))
    except UnknownPeer as error:
        await recover(lease, link, error, begun_at)
    else:
        if lease.moved(answer.instance):
            # A new server that knows the peer already: only a restore tells whether the locks are there, too.
            await recover(lease, link, UnknownPeer(instance=answer.instance), sent_at, known=True)
        else:
            lease.confirm(sent_at, answer.instance)
            lease.compare(before, _protocol.parse_locks(answer))


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
        if not lease.may_restore(unknown.instance):
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
        limit = _limit(lease, lease.deadline if lease.deadline is not None else restored_at + lease.ttl)
        try:
            answer = await link.once(request, limit)
        except RequestRefused as error:
            raise lease.lose(
                "not restored", f"the server lost its state and did not take it back: {error}"
            ) from error
        lease.restored_at = restored_at
        lease.confirm(restored_at, answer.instance)
        _log.info("the server started anew; restored peer %s with %s", lease.peer_id, lease.acquired)


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
            answer = await link.once(request, _limit(lease, deadline))
            is_granted = _protocol.parse_acquired(answer)
        except RequestRefused as error:
            is_granted, why = False, str(error)
        if not is_granted:
            # The request is withdrawn with the release.
            raise lease.lose("not restored", f"the server lost its state and did not grant it again: {why}")
        tokens = _protocol.parse_tokens(answer, own)
        for name, count in own.items():
            lease.grant(name, count, tokens[name])
    lease.restored_at = sent_at
    lease.confirm(sent_at, unknown.instance)


def _limit(lease: Lease, deadline: float) -> float:
    """An attempt gets a third of what remains at most, so that one that hangs leaves time for others.

    Of several servers all but one may hang, and there is time to ask each of them; so it is a fourth where
    there are two, and so on.
    """
    remaining = deadline - now() if lease.acquired else lease.ttl
    parts = len(lease.settings.servers.urls) + 2
    part = min(max(remaining / parts, lease.ttl / (4 * parts)), remaining)
    return max(SHORTEST_ATTEMPT_SECONDS, min(lease.settings.timeout, part))


def _jitter() -> float:
    return random.uniform(0.8, 1.0)  # noqa: S311 (nothing secret)
