"""Plays `examples/db_writers.py`: nobody writes without a slot, and nobody who was overtaken."""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from itertools import accumulate
from pathlib import Path

from server import PATIENCE, Server, serving
from throttle_client import lock

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MOST_AT_ONCE = 3
PROCESSES = 6
WRITES = 4
LARGEST_TOKEN = 2**53 - 1


def start(server: Server, database: Path) -> subprocess.Popen[str]:
    """The example, as its user starts it."""
    command: list[str | Path] = [sys.executable, EXAMPLES / "db_writers.py", database]
    return subprocess.Popen(
        [*command, "--processes", str(PROCESSES), "--writes", str(WRITES)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "THROTTLE_URL": server.url},
    )


def rows(database: Path, query: str) -> list[tuple[float, ...]]:
    """What a query finds."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def at_most_three_write_at_once(server: Server, database: Path) -> None:
    """As long as all slots are taken nobody writes; after that no more than three do at any moment."""
    with lock(server.url, "database", count=MOST_AT_ONCE):
        writers = start(server, database)
        server.await_pending("database", PROCESSES)
        assert rows(database, "SELECT * FROM stock") == []
    output, errors = writers.communicate(timeout=PATIENCE)
    assert writers.returncode == 0, errors
    assert f"{PROCESSES} of {PROCESSES} processes wrote" in output, output
    assert rows(database, "SELECT amount FROM stock") == [(WRITES,)] * PROCESSES

    visits = rows(database, "SELECT began, ended, token FROM journal")
    assert len({token for _, _, token in visits}) == PROCESSES * WRITES, "a token of its own for each"
    # An end before a beginning at the same moment.
    steps = sorted([(began, 1) for began, _, _ in visits] + [(ended, -1) for _, ended, _ in visits])
    most = max(accumulate(step for _, step in steps))
    assert most <= MOST_AT_ONCE, f"{most} wrote at once"


def who_was_overtaken_does_not_write(server: Server, database: Path) -> None:
    """A row that carries a larger token stays as it is, and its writer fails; the others go on."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE stock SET token = ? WHERE item = 'item 0'", [LARGEST_TOKEN])
    writers = start(server, database)
    output, errors = writers.communicate(timeout=PATIENCE)
    assert writers.returncode == 1, errors
    assert "item 0: token " in errors, errors
    assert f"{PROCESSES - 1} of {PROCESSES} processes wrote" in output, output
    amounts = rows(database, "SELECT amount FROM stock ORDER BY item")
    assert amounts == [(WRITES,)] + [(2 * WRITES,)] * (PROCESSES - 1)


def main() -> None:
    """Plays both against one server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    binary: Path = parser.parse_args().server
    configuration = (EXAMPLES / "db_writers.toml").read_text()
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "stock.sqlite"
        at_most_three_write_at_once(server, database)
        who_was_overtaken_does_not_write(server, database)


if __name__ == "__main__":
    main()
