"""The Python client beside the released one and a raw socket: run.py --server PATH.

It makes two environments below `.test/bench`, one with the released package from PyPI, one with what the
client of this repository needs; starts the server; measures in turns; and prints one table.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
ENVIRONMENTS = ROOT / ".test" / "bench"
RELEASED = "throttle-client==0.5.13"

PLACES, HOLD_SECONDS = 25, 0.1
TTLS = (30, 3)
# What is wanted: of the released client's time for one lock, and of the ideal time for many tasks.
MOST_OF_RELEASED = 0.5
MOST_OF_IDEAL = {30: 1.3, 3: 1.6}
# A client that needs longer for one run is not waited for.
PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Client:
    """One of the clients, and where it runs."""

    name: str
    python: Path
    path: str = ""

    def measure(self, *arguments: object) -> dict[str, float] | None:
        """The figures of one run in a process of its own; `None` if it took too long."""
        command = [str(self.python), str(WORKER), self.name, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": self.path}
        try:
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, check=True, timeout=PATIENCE_SECONDS
            )
        except subprocess.TimeoutExpired:
            return None
        found: dict[str, float] = json.loads(done.stdout)
        return found


def environment(name: str, packages: list[str]) -> Path:
    """The interpreter of an environment that has these packages."""
    folder = ENVIRONMENTS / name
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp = folder / "packages.json"
    wanted = json.dumps([sys.version, *packages])
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing {', '.join(packages)} in {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *packages], check=True)
        stamp.write_text(wanted)
    return python


def clients() -> tuple[Client, Client, Client]:
    """The new client, the released one, and the raw socket."""
    project: dict[str, Any] = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text())
    needed: list[str] = project["project"]["dependencies"]
    return (
        Client("new", environment("new", needed), str(ROOT / "python" / "src")),
        Client("released", environment("released", [RELEASED])),
        Client("raw", Path(sys.executable)),
    )


@contextmanager
def serving(binary: Path) -> Iterator[str]:
    """The URL of a server for the time of the block."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        configuration = Path(folder) / "throttle.toml"
        configuration.write_text(f"[semaphores]\none = 1\nmany = {PLACES}\n")
        server = subprocess.Popen([binary, "--port", str(port), "-c", configuration])
        try:
            url = f"http://127.0.0.1:{port}"
            while not answers(url):
                if server.poll() is not None:
                    raise SystemExit("the server ended right after its start")
                time.sleep(0.02)
            yield url
        finally:
            server.terminate()
            server.wait()


def answers(url: str) -> bool:
    """Whether there is a server."""
    try:
        with urlopen(f"{url}/health") as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


class Table:
    """Rows of text, and whether something wanted was missed."""

    def __init__(self) -> None:
        """With the names of the columns."""
        self.missed = False
        self._rows = [["", "new", "released", "raw socket", "wanted", ""]]

    def add(self, *cells: str, kept: bool | None = None) -> None:
        """Add a row, and whether what is wanted there is so."""
        self.missed = self.missed or kept is False
        self._rows.append([*cells, "" if kept is None else "kept" if kept else "MISSED"])

    def __str__(self) -> str:
        """All rows, in columns."""
        widths = [max(len(row[column]) for row in self._rows) for column in range(len(self._rows[0]))]
        padded = [[cell.ljust(widths[column]) for column, cell in enumerate(row)] for row in self._rows]
        return "\n".join("  ".join(row).rstrip() for row in padded)


def spread(values: list[float], digits: int) -> str:
    """The median, with the smallest and the largest where there are several."""
    if not values:
        return f"over {PATIENCE_SECONDS} s"
    text = f"{statistics.median(values):.{digits}f}"
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else text


def one_lock(table: Table, url: str, locks: int, rounds: int) -> None:
    """A lock that is free, taken and released."""
    new, released, raw = clients()
    found: dict[str, list[dict[str, float]]] = {"new": [], "released": [], "raw": []}
    for number in range(rounds):
        turn = [new, released, raw]
        for client in turn if number % 2 == 0 else turn[::-1]:
            figures = client.measure("one", url, locks)
            if figures is None:
                raise SystemExit(f"{client.name}: {locks} locks took longer than {PATIENCE_SECONDS} s")
            found[client.name].append(figures)
    for figure, what in (("wall_ms", "one lock: ms"), ("cpu_ms", "one lock: processor, ms")):
        columns = {name: [each[figure] for each in runs] for name, runs in found.items()}
        table.add(what, *(spread(columns[name], 2) for name in ("new", "released", "raw")), "")
        ratios = [mine / theirs for mine, theirs in zip(columns["new"], columns["released"], strict=True)]
        is_promise = figure == "wall_ms"
        table.add(
            "  to the released one",
            spread(ratios, 2),
            "1",
            "",
            f"at most {MOST_OF_RELEASED}" if is_promise else "",
            kept=statistics.median(ratios) <= MOST_OF_RELEASED if is_promise else None,
        )


def many_tasks(table: Table, url: str, tasks: int, rounds: int, ttl: int) -> None:
    """Many tasks that share few places. The best run counts: what disturbs the machine only adds time."""
    ideal = tasks / PLACES * HOLD_SECONDS
    new, released, _ = clients()
    found: dict[str, list[dict[str, float]]] = {"new": [], "released": []}
    for _ in range(rounds):
        for client in (new, released):
            figures = client.measure("many", url, tasks, ttl, HOLD_SECONDS)
            if figures is not None:
                found[client.name].append(figures)
    columns = {name: [each["wall_s"] / ideal for each in runs] for name, runs in found.items()}
    best = min(columns["new"], default=float("inf"))
    table.add(
        f"{tasks:,} tasks, ttl {ttl} s: time to the ideal {ideal:.1f} s",
        spread(columns["new"], 2),
        spread(columns["released"], 2),
        "",
        f"best at most {MOST_OF_IDEAL[ttl]}",
        kept=best <= MOST_OF_IDEAL[ttl],
    )
    lost = {name: [each["lost"] for each in runs] for name, runs in found.items()}
    table.add(
        "  lost", spread(lost["new"], 0), spread(lost["released"], 0), "", "0", kept=not any(lost["new"])
    )
    used = {name: [each["cpu_s"] for each in runs] for name, runs in found.items()}
    table.add("  processor, s", spread(used["new"], 1), spread(used["released"], 1), "", "")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", type=Path, required=True, help="the throttle binary, a release build")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--locks", type=int, default=300, help="locks in a row (default: 300)")
    parser.add_argument("--tasks", type=int, default=1200, help="tasks that share the places (default: 1200)")
    parser.add_argument("--check", action="store_true", help="fail if something wanted is missed")
    arguments = parser.parse_args()
    table = Table()
    with serving(arguments.server) as url:
        one_lock(table, url, arguments.locks, arguments.rounds)
        for ttl in TTLS:
            many_tasks(table, url, arguments.tasks, arguments.rounds, ttl)
    print(table)
    if arguments.check and table.missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
