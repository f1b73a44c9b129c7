"""Many processes at one semaphore, watched from the outside."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from conftest import Server, eventually, finish, first_line, program

from throttle_client import lock

PROCESSES, WORKERS, ROUNDS, MAX = 8, 4, 3, 3


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_never_more_than_max_are_inside(server: Server, tmp_path: Path, kind: str) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(PROCESSES)]
    for process in [program("contender.py", server.url, "C", file, kind) for file in files]:
        finish(process, timeout=60)
    spans = [tuple(map(float, line.split())) for file in files for line in file.read_text().splitlines()]
    assert len(spans) == PROCESSES * WORKERS * ROUNDS
    # At the same instant an end comes before a begin.
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    inside = most = 0
    for _, change in changes:
        inside += change
        most = max(most, inside)
    assert 1 < most <= MAX
    assert server.peers() == 0


def test_a_holder_that_is_killed_frees_its_lock_when_it_expires(server: Server) -> None:
    ttl = 1.0
    holder = program("holder.py", server.url, "A", ttl)
    assert first_line(holder) == "waiting"
    assert first_line(holder) == "held"
    # Longer than the expiry: it is alive because it is renewed.
    time.sleep(1.5 * ttl)
    assert server.client.remainder("A") == 0
    holder.kill()
    holder.communicate()
    killed = time.monotonic()
    with lock(server.url, "A", timeout=10):
        assert time.monotonic() - killed < ttl * 1.05 + 1.0


def test_a_waiter_that_is_killed_does_not_hold_up_the_queue(server: Server) -> None:
    with lock(server.url, "A"):
        waiter = program("holder.py", server.url, "A", 0.5)
        assert first_line(waiter) == "waiting"
        while not server.pending("A"):
            time.sleep(0.02)
        waiter.kill()
        waiter.communicate()
    with lock(server.url, "A", timeout=10):
        assert server.pending("A") == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_waiter_that_dies_is_passed_over_long_before_its_expiry(
    tmp_path: Path, how: signal.Signals
) -> None:
    server = Server(tmp_path, '[semaphores]\nA = 1\n[queue]\nabsent_after = "200ms"\n')
    try:
        with lock(server.url, "A"):
            waiter = program("holder.py", server.url, "A", 300.0)
            assert first_line(waiter) == "waiting"
            eventually(lambda: server.pending("A"))
            waiter.send_signal(how)
            waiter.communicate()
        # Far less than what the dead one would have been given.
        with lock(server.url, "A", timeout=60) as mine:
            assert mine.is_held
    finally:
        server.stop()
