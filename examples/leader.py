"""A group of processes of which one leads: it alone does the work, for as long as it lives.

    pip install throttle-client
    throttle --semaphore leader=1 &
    THROTTLE_URL=http://localhost:8000 python leader.py work.sqlite      # on each machine

Who leads has the lock `leader`; the others wait in its queue. When the leader ends, the next one leads at
once; when it is killed or cut off, once its lease is over. A leader that was suspended and overtaken may
believe for a moment that it still leads. So each change carries the number of its term, the fencing token,
and the database takes nothing from an earlier term.
"""

import os
import signal
import sqlite3
import sys
from contextlib import closing
from types import FrameType

from throttle_client import Handle, LockLost, lock

TABLE = "CREATE TABLE IF NOT EXISTS work (id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER, done INTEGER)"
DO_ONE = """
INSERT INTO work VALUES (1, :term, 1)
ON CONFLICT (id) DO UPDATE SET done = done + 1, term = excluded.term WHERE term <= excluded.term
"""
PAUSE_SEC = 0.1


def stop(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM: the lock is released on the way out, so that another one leads at once."""
    raise SystemExit


def lead(database: str, term: Handle) -> None:
    """Works until the term is over."""
    assert term.token is not None, "servers before 0.6 send no fencing token"
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.execute(TABLE)
        while not term.lost.wait(PAUSE_SEC):
            with connection:
                if connection.execute(DO_ONE, {"term": term.token}).rowcount == 0:
                    print(f"{os.getpid()}: somebody else leads", flush=True)
                    return


def main(database: str) -> None:
    """Leads again and again, in turn with the others."""
    signal.signal(signal.SIGTERM, stop)
    while True:
        try:
            with lock(None, "leader", ttl=5) as term:
                print(f"{os.getpid()}: leads, term {term.token}", flush=True)
                lead(database, term)
        except LockLost as loss:
            print(f"{os.getpid()}: leads no more: {loss}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
