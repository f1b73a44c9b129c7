"""Several processes write into one database, at most as many at once as the semaphore `database` allows.

    pip install throttle-client
    throttle -c db_writers.toml &
    THROTTLE_URL=http://localhost:8000 python db_writers.py stock.sqlite

Each process takes a slot for each of its writes, and passes the fencing token of the slot on to the database.
The database keeps it beside the row, and turns down a writer whose token is smaller: that one got its slot
earlier, was thought dead (it hung, or its network was cut), and must not overwrite what was written since.
"""

import argparse
import sqlite3
import sys
import time
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from throttle_client import lock

TABLES = """
CREATE TABLE IF NOT EXISTS stock (item TEXT PRIMARY KEY, amount INTEGER NOT NULL, token INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS journal (token INTEGER PRIMARY KEY, item TEXT, began REAL, ended REAL);
"""

ADD_ONE = """
INSERT INTO stock VALUES (:item, 1, :token)
ON CONFLICT (item) DO UPDATE SET amount = amount + 1, token = excluded.token WHERE token < excluded.token
"""


class OvertakenError(Exception):
    """Somebody who was granted a slot later has written this row."""


def add_one(database: Path, item: str, token: int, began: float) -> None:
    """Writes one row, unless a later holder of a slot was there before."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        if connection.execute(ADD_ONE, {"item": item, "token": token}).rowcount == 0:
            raise OvertakenError(f"{item}: token {token} is out of date; a later writer was here")
        connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", (token, item, began, time.monotonic()))


def work(database: Path, item: str, writes: int) -> None:
    """What each process does."""
    for _ in range(writes):
        # It waits for as long as it takes. The slot of a writer that dies comes free after `ttl` seconds.
        with lock(None, "database", ttl=30) as slot:
            began = time.monotonic()
            time.sleep(0.02)  # Whatever has to be found out before the row can be written.
            slot.check()  # Raises LockLost if the slot is not ours any more.
            assert slot.token is not None, "servers before 0.6 send no fencing token"
            add_one(database, item, slot.token, began)


def main() -> int:
    """Starts the processes, and tells whether all of them wrote all they should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", type=Path, help="the SQLite file; it is made if it is not there")
    parser.add_argument("--processes", type=int, default=6, metavar="N", help="how many write (default 6)")
    parser.add_argument(
        "--writes", type=int, default=5, metavar="N", help="rows for each to write (default 5)"
    )
    arguments = parser.parse_args()
    with closing(sqlite3.connect(arguments.database)) as connection:
        connection.executescript(TABLES)

    spawn = get_context("spawn")
    writers = [
        spawn.Process(target=work, args=(arguments.database, f"item {number}", arguments.writes))
        for number in range(arguments.processes)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    failed = sum(writer.exitcode != 0 for writer in writers)
    print(f"{len(writers) - failed} of {len(writers)} processes wrote {arguments.writes} rows each")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
