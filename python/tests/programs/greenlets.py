"""Locks in greenlets, with everything patched: greenlets.py URL SEMAPHORE compute|wait."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from throttle_client import Client, lock  # noqa: E402

TTL = 2.0
WAITERS = 3


def compute(url: str, semaphore: str) -> None:
    """Let no other greenlet run for much longer than the lock is promised."""
    with lock(url, semaphore, ttl=TTL) as handle:
        end = time.monotonic() + 3 * TTL
        while time.monotonic() < end:
            pass
        handle.check()
    print("kept")


def wait(url: str, semaphore: str) -> None:
    """Wait in greenlets while others run, among them the one that has the lock."""
    events: list[str] = []

    def waiter() -> None:
        with lock(url, semaphore, ttl=TTL):
            events.append("granted")

    with lock(url, semaphore, ttl=TTL):
        greenlets = [gevent.spawn(waiter) for _ in range(WAITERS)]
        client = Client(url)
        while len(client.list_of_peers()) <= WAITERS:
            gevent.sleep(0.01)
        events.append("released")
    gevent.joinall(greenlets, raise_error=True)
    print(*events)


url, semaphore, what = sys.argv[1:]
{"compute": compute, "wait": wait}[what](url, semaphore)
