"""Interrupt locks at random moments, and see that none stays: interrupted.py URL SEMAPHORE ROUNDS [OUTER].

With OUTER the lock is nested in one on that semaphore, which is held throughout.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time

from throttle_client import Client, LockLost, lock

url, semaphore, rounds = sys.argv[1:4]
outer = sys.argv[4:]
client = Client(url)
full = client.remainder(semaphore)
signal.signal(signal.SIGALRM, signal.default_int_handler)


def strike() -> None:
    armed = True
    try:
        # Python drops an interrupt that strikes inside a finalizer, so there is another one later.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.02), 2)
        while armed:
            with lock(url, semaphore, ttl=60):
                pass
    except KeyboardInterrupt:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)


with contextlib.ExitStack() as stack:
    for name in outer:
        stack.enter_context(lock(url, name, ttl=60))
    for number in range(int(rounds)):
        strike()
        end = time.monotonic() + 5
        while client.remainder(semaphore) != full:
            if time.monotonic() > end:
                raise SystemExit(f"leaked in round {number}")
            time.sleep(0.01)
    try:
        if not outer:
            end = time.monotonic() + 5
            while client.list_of_peers():
                if time.monotonic() > end:
                    raise SystemExit("leaked a peer")
                time.sleep(0.01)
    except LockLost:
        raise SystemExit("lost") from None
print("clean")
