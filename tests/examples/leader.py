"""Plays `examples/leader.py`: one leads, whatever happens to it, and what was overtaken changes nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from queue import Queue
from threading import Thread

from _shared import EXAMPLES, environment, peers, server_binary, start
from server import PATIENCE, Server, serving, until
from throttle_client import Client


class Group:
    """Processes of the example, and what they say."""

    def __init__(self, server: Server, binary: Path, database: Path) -> None:
        """Without processes so far."""
        self._command: list[str | Path] = [sys.executable, "-u", EXAMPLES / "leader.py", database]
        self._environment = environment(server, binary)
        self._said: Queue[str] = Queue()
        self._heard: list[str] = []
        self.processes: dict[int, subprocess.Popen[str]] = {}

    def join(self) -> None:
        """One more."""
        process = start(self._command, self._environment)
        self.processes[process.pid] = process
        Thread(target=self._listen, args=[process], daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._said.put(line)

    def hears(self, text: str) -> int:
        """Which process says this next; what others say meanwhile is kept."""
        while True:
            for line in self._heard:
                if text in line:
                    self._heard.remove(line)
                    return int(line.partition(":")[0])
            self._heard.append(self._said.get(timeout=PATIENCE))

    def ends(self, pid: int, how: signal.Signals) -> int:
        """Sends a signal that ends a process; its exit code."""
        process = self.processes.pop(pid)
        process.send_signal(how)
        return process.wait(PATIENCE)


def done(database: Path) -> tuple[int, int]:
    """The term, and how much was done."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        is_there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'work'").fetchone()[0]
        row = connection.execute("SELECT term, done FROM work").fetchone() if is_there else None
    term, count = row or (0, 0)
    return term, count


def suspend(pid: int, database: Path) -> None:
    """Suspends a leader, but not while it has the database locked: nobody else could write then."""

    def is_outside() -> bool:
        os.kill(pid, signal.SIGSTOP)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it stands")
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                return False
        return True

    until(is_outside, "it stands, and has nothing locked")


def main() -> None:
    """The leader resigns, is killed, loses its lock, is suspended."""
    binary = server_binary()
    with serving(binary, "[semaphores]\nleader = 1\n") as server, tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "work.sqlite"
        group = Group(server, binary, database)
        group.join()
        first = group.hears("leads, term")
        for others in (1, 2):
            group.join()
            server.await_pending("leader", others)
        until(lambda: done(database)[1] > 1, "it works")

        assert group.ends(first, signal.SIGTERM) == 0, "it resigns"
        second = group.hears("leads, term")
        group.ends(second, signal.SIGKILL)
        third = group.hears("leads, term")

        group.join()
        server.await_pending("leader", 1)
        (peer,) = (peer["id"] for peer in peers(server) if peer["locks"])
        with Client(server.url) as client:
            client.release(int(peer))
        fourth = group.hears("leads, term")
        assert fourth != third, "whose lock was taken goes to the end of the queue"
        group.hears(f"{third}: ")  # It finds out: by its renewal, or by the database.
        server.await_pending("leader", 1)

        suspend(fourth, database)
        overtaken, _ = done(database)
        assert group.hears("leads, term") == third, "a leader that stands still is overtaken"
        until(lambda: done(database)[0] > overtaken, "it has done something in a later term")
        term, _ = done(database)
        os.kill(fourth, signal.SIGCONT)
        group.hears(f"{fourth}: ")  # It finds out.
        server.await_pending("leader", 1)
        assert done(database)[0] >= term, "nothing of an earlier term is written"

        for pid in list(group.processes):
            assert group.ends(pid, signal.SIGTERM) == 0
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
