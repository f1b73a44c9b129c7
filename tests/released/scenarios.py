"""The scenarios that several generations of clients play."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from parties import PROMPT, Party, Release, Scenario, Visitor, refused
from server import PATIENCE, Server, until

# The part of a lease for which the server keeps a peer beyond what it promised.
MARGIN = 1 / 20


def lock_and_release(release: Release, server: Server) -> None:
    """A lock takes its count, and gives it back."""
    assert release.remainder(server.url, "A") == 1
    for _ in range(2):
        with release.party(server.url).lock("A"):
            assert release.remainder(server.url, "A") == 0
        assert release.remainder(server.url, "A") == 1


def token_in_the_url(release: Release, server: Server) -> None:
    """A token is the password of the URL."""
    with server.secured("read", "acquire") as url:
        assert release.remainder(url, "A") == 1
        first = release.party(url)
        with first.lock("A"):
            assert release.remainder(url, "A") == 0
            second = release.party(url)
            assert not second.ask("A")
            second.leave()
        assert release.remainder(url, "A") == 1


def token_in_the_url_over_tls(release: Release, server: Server) -> None:
    """The same over TLS, by a client that was given the certificate."""
    with server.secured("read", "acquire", with_tls=True) as url:
        assert release.remainder(url, "A") == 1
        with release.party(url).lock("A"):
            second = Visitor(release.party(url), "A")
            until(lambda: release.remainder(url, "A") == 0, "the lock is held")
            assert second.entered_at is None
        second.await_entry(PROMPT)
        second.leave()
        assert release.remainder(url, "A") == 1


def second_waiter(release: Release, server: Server) -> None:
    """Who waits gets the lock the moment it is released."""
    with release.party(server.url).lock("A"):
        second = Visitor(release.party(server.url), "A")
        server.await_pending("A", 1)
        assert second.entered_at is None
        leaving = time.monotonic()
    assert second.await_entry(PROMPT) >= leaving
    assert release.remainder(server.url, "A") == 0
    second.leave()
    assert release.remainder(server.url, "A") == 1


def expiry(release: Release, server: Server) -> None:
    """A waiter gets the lock of an expired peer when its time is over; the peer can come back beside it."""
    first = release.party(server.url)
    assert first.ask("A")
    second = Visitor(release.party(server.url), "A")
    server.await_pending("A", 1)
    lease = timedelta(milliseconds=300)
    renewed = time.monotonic()
    first.live_for(lease)
    assert second.await_entry(PROMPT) - renewed >= lease.total_seconds()
    assert release.remainder(server.url, "A") == 0
    first.come_back()
    assert release.remainder(server.url, "A") == -1
    first.leave()
    first.leave()
    assert release.remainder(server.url, "A") == 0
    second.leave()
    assert release.remainder(server.url, "A") == 1


def remove_expired(release: Release, server: Server) -> None:
    """Expired peers are gone before anybody asks for their removal."""
    party = release.party(server.url)
    assert party.ask("A")
    party.live_for(timedelta(milliseconds=50))
    until(lambda: release.remainder(server.url, "A") == 1, "A is free")
    assert release.remove_expired(server.url) == 0


def large_count(release: Release, server: Server) -> None:
    """Counts add up to the maximum, and never exceed it."""
    with release.party(server.url).lock("S", 2):
        assert release.remainder(server.url, "S") == 1
        second = Visitor(release.party(server.url), "S", 2)
        server.await_pending("S", 2)
        assert release.remainder(server.url, "S") == 1
    second.await_entry(PROMPT)
    assert release.remainder(server.url, "S") == 1
    with release.party(server.url).lock("S", 1):
        assert release.remainder(server.url, "S") == 0
    second.leave()
    assert release.remainder(server.url, "S") == 3
    with refused(ValueError, "Lock can never be acquired.", "block forever", "4", "3"):
        release.party(server.url).ask("S", 4)


def large_is_not_starved(release: Release, server: Server) -> None:
    """A small request waits behind a large one, although it would fit."""
    first, large, small = (release.party(server.url) for _ in range(3))
    assert first.ask("S", 2)
    assert not large.ask("S", 3)
    assert not small.ask("S", 1)
    assert release.remainder(server.url, "S") == 1
    first.leave()
    assert large.is_granted()
    assert not small.is_granted()
    large.leave()
    assert small.is_granted()
    assert release.remainder(server.url, "S") == 2
    small.leave()
    assert release.remainder(server.url, "S") == 3


def timeout(release: Release, server: Server) -> None:
    """A client gives up when it said it would."""
    first = release.party(server.url)
    assert first.ask("A")
    patience = timedelta(milliseconds=300)
    started = time.monotonic()
    with refused(release.timeout_error), release.party(server.url).lock("A", timeout=patience):
        pass
    assert patience.total_seconds() <= time.monotonic() - started < PROMPT
    assert release.remainder(server.url, "A") == 0


def unknown_semaphore(release: Release, server: Server) -> None:
    """A name that is not configured is an error at once."""
    with refused(ValueError, "Unknown semaphore"), release.party(server.url).lock("UNHEARD"):
        pass
    with refused(ValueError, "Unknown semaphore"):
        release.remainder(server.url, "UNHEARD")


def restart(release: Release, server: Server) -> None:
    """A heartbeat brings a held lock back to a server that was killed."""
    with release.party(server.url, heartbeat=timedelta(milliseconds=100)).lock("S", 2):
        server.kill()
        server.start()
        until(lambda: release.remainder(server.url, "S") == 1, "the lock is back")
        second = Visitor(release.party(server.url), "S", 2)
        server.await_pending("S", 2)
    second.await_entry(PROMPT)
    second.leave()
    assert release.remainder(server.url, "S") == 3


def restart_under_waiter(release: Release, server: Server) -> None:
    """A client that waits when the server is killed waits on with the next one, and gets its lock."""
    assert release.party(server.url).ask("A")
    second = Visitor(release.party(server.url), "A")
    server.await_pending("A", 1)
    until(second.party.outlives_server, "the request that may be lost")
    server.kill()
    server.start()
    second.await_entry(PATIENCE)
    assert release.remainder(server.url, "A") == 0
    second.leave()
    assert release.remainder(server.url, "A") == 1


def exception(release: Release, server: Server) -> None:
    """A lock is released when its block fails."""
    with refused(KeyError, "inside"), release.party(server.url).lock("A"):
        raise KeyError("inside")
    assert release.remainder(server.url, "A") == 1


def lock_after_timeout(release: Release, server: Server) -> None:
    """Who gave up may ask again, and is not in its own way."""
    first, second = release.party(server.url), release.party(server.url)
    assert first.ask("A")
    with refused(release.timeout_error), second.lock("A", timeout=timedelta(milliseconds=50)):
        pass
    first.leave()
    with second.lock("A", timeout=timedelta(seconds=PATIENCE)):
        assert release.remainder(server.url, "A") == 0
    assert release.remainder(server.url, "A") == 1


def slash(release: Release, server: Server) -> None:
    """A semaphore may be called `/&`."""
    name = release.spelled("/&")
    party = release.party(server.url)
    with party.lock("OUTER"):
        assert release.remainder(server.url, name) == 1
        # Inside another lock, this one is released by its name.
        with party.lock(name):
            assert release.remainder(server.url, name) == 0
        assert release.remainder(server.url, name) == 1
        assert release.remainder(server.url, "OUTER") == 0
    assert release.remainder(server.url, "OUTER") == 1


def heartbeat_at_expiry(release: Release, server: Server) -> None:
    """Three clients that renew at the very moment of expiry are never two inside together."""
    for seconds in (1.5, 3.0, 6.0, 12.0):
        if _take_turns(release, server, timedelta(seconds=seconds)):
            return
    raise AssertionError("too slow a machine: heartbeats came later than any margin")


def _take_turns(release: Release, server: Server, lease: timedelta) -> bool:
    """False if a heartbeat may have come after the margin, so that nothing can be told."""
    parties = [release.party(server.url, expires_in=lease, heartbeat=lease) for _ in range(3)]
    not_before = time.monotonic()
    waiting = [Visitor(party, "A") for party in parties]
    server.await_pending("A", 2)
    while waiting:
        until(lambda: any(visitor.entered_at for visitor in waiting), "the next one has the lock")
        waiting.sort(key=lambda visitor: visitor.entered_at or float("inf"))
        inside = waiting.pop(0)
        _await_renewals(inside.party, 2)
        if not _renewed_in_time(inside.party, not_before, lease):
            for visitor in [inside, *waiting]:
                visitor.leave()
            return False
        seen_until = inside.party.renewals[-1].answered
        assert all((visitor.entered_at or seen_until) >= seen_until for visitor in waiting), "two inside"
        assert all(renewal.accepted for renewal in inside.party.renewals), "a lock was lost"
        not_before = time.monotonic()
        inside.leave()
    return True


def _await_renewals(party: Party, count: int) -> None:
    until(lambda: len(party.renewals) >= count, f"{count} heartbeats")


def _renewed_in_time(party: Party, granted_after: float, lease: timedelta) -> bool:
    """True if no two renewals can have reached the server further apart than lease and margin."""
    last = granted_after
    for renewal in party.renewals:
        if renewal.answered - last > lease.total_seconds() * (1 + MARGIN):
            print(f"inconclusive: renewed after {renewal.answered - last:.3f} s, with a lease of {lease}")
            return False
        last = renewal.sent
    return True


def nested(release: Release, server: Server) -> None:
    """Locks of falling levels nest, and each is released on its own."""
    party = release.party(server.url)

    def remainders() -> tuple[int, int]:
        return release.remainder(server.url, "OUTER"), release.remainder(server.url, "INNER")

    with party.lock("OUTER"):
        assert remainders() == (0, 1)
        with party.lock("INNER"):
            assert remainders() == (0, 0)
        assert remainders() == (0, 1)
    assert remainders() == (1, 1)


def hierarchy_violation(release: Release, server: Server) -> None:
    """A lock of a higher level is refused inside one of a lower level, which stays."""
    party = release.party(server.url)
    with party.lock("INNER"):
        with refused(ValueError, "Lock hierarchy violation", "0", "1"), party.lock("OUTER"):
            pass
        assert release.remainder(server.url, "OUTER") == 1
        assert release.remainder(server.url, "INNER") == 0
    assert release.remainder(server.url, "INNER") == 1


def common(release: Release) -> dict[str, Scenario]:
    """What every generation plays."""
    return _bound(
        release,
        lock_and_release,
        token_in_the_url,
        token_in_the_url_over_tls,
        second_waiter,
        expiry,
        remove_expired,
        large_count,
        large_is_not_starved,
        timeout,
        unknown_semaphore,
        restart,
        restart_under_waiter,
    )


def since_0_2(release: Release) -> dict[str, Scenario]:
    """What needs a peer that outlives a request."""
    return _bound(release, exception, lock_after_timeout, slash, heartbeat_at_expiry)


def since_0_3(release: Release) -> dict[str, Scenario]:
    """What needs levels."""
    return _bound(release, nested, hierarchy_violation)


def _bound(release: Release, *plays: Callable[[Release, Server], None]) -> dict[str, Scenario]:
    return {play.__name__: partial(play, release) for play in plays}
