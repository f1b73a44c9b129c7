"""Plays `examples/cron`: of two runs at the same time one makes the report, and the other leaves."""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from server import PATIENCE, Server, serving, until

CRON = Path(__file__).resolve().parents[2] / "examples" / "cron"
CONFLICT = 75
ORDERS = "ann,1\nbob,2\nann,3\n"


def command(orders: Path, report: Path) -> str:
    """What cron would run, with the paths of this test."""
    (line,) = (line for line in (CRON / "crontab").read_text().splitlines() if " throttle run " in line)
    found: str = line.split(maxsplit=5)[5]
    for there, here in (
        ("/opt/shop", CRON),
        ("/var/shop/orders.csv", orders),
        ("/var/shop/report.txt", report),
    ):
        assert str(there) in found, found
        found = found.replace(there, str(here))
    return found


def start(server: Server, binary: Path, line: str) -> subprocess.Popen[str]:
    """The job on one machine."""
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["/bin/sh", "-c", line],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "THROTTLE_URL": server.url, "PATH": path},
    )


def play(server: Server, binary: Path, folder: Path) -> None:
    """Two machines, then a night later one more time."""
    orders, report = folder / "orders.csv", folder / "report.txt"
    line = command(orders, report)
    # Nobody gets beyond this pipe before both have tried.
    os.mkfifo(orders)
    machines = [start(server, binary, line) for _ in range(2)]
    until(lambda: any(machine.poll() is not None for machine in machines), "one of them leaves")
    assert not report.exists(), "the other one is at it"
    orders.write_text(ORDERS)
    errors = {machine.wait(PATIENCE): machine.communicate()[1] for machine in machines}
    assert sorted(errors) == [0, CONFLICT], errors
    assert "was not granted in time" in errors[CONFLICT], errors
    first = report.read_text()
    assert [line.split() for line in first.splitlines()[1:]] == [["2", "ann"], ["1", "bob"]], first

    orders.unlink()
    orders.write_text(ORDERS)
    again = start(server, binary, line)
    assert again.wait(PATIENCE) == 0, again.communicate()
    assert report.read_text() != first, "a token of its own"
    assert sorted(folder.glob("report*")) == [report], "no drafts are left"


def main() -> None:
    """Plays it against a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    binary: Path = parser.parse_args().server.resolve(strict=True)
    with (
        serving(binary, "[semaphores]\nnightly-report = 1\n") as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        play(server, binary, Path(folder))


if __name__ == "__main__":
    main()
