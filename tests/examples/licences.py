"""Plays `examples/licences`: jobs take the seats that they need, and never more than there are."""

import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, peers, program, semaphore, server_binary, start, succeeded
from server import serving, until
from throttle_client import lock

SEATS = 4
CONFLICT = 75


def main() -> None:
    """Three jobs that do not fit together, and one that gives up."""
    binary = server_binary()
    configuration = f'[semaphores]\n"licence/solver" = {SEATS}\n'
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        note = f"echo $SEATS begins >> {journal}; sleep 0.1; echo $SEATS ends >> {journal}"
        solver = program(Path(folder) / "solver", note)
        variables = environment(server, binary, SOLVER=str(solver))
        wrapper = EXAMPLES / "licences" / "solver"
        with lock(server.url, "licence/solver", count=SEATS):
            jobs = [start([wrapper, f"job{n}"], {**variables, "SEATS": n}) for n in ("3", "2", "2", "3")]
            server.await_pending("licence/solver", 10)
            shown = semaphore(server, "licence/solver")
            assert {entry["labels"]["job"] for entry in shown["queue"]} == {"job2", "job3"}, shown
            hasty = start([wrapper], {**variables, "PATIENCE": "1ms"})
            assert hasty.wait() == CONFLICT, hasty.communicate()
        succeeded(jobs)
        used = most = 0
        for line in journal.read_text().splitlines():
            seats, what = line.split()
            used += int(seats) if what == "begins" else -int(seats)
            most = max(most, used)
        assert used == 0, journal.read_text()
        assert most <= SEATS, journal.read_text()
        until(lambda: peers(server) == [], "all seats are given back")


if __name__ == "__main__":
    main()
