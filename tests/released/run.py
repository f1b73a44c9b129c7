"""Plays scenarios with released Python clients against a server binary.

Each release lives in a virtual environment of its own, which is kept from run to run. Each scenario is played
in a process of its own against a server of its own, several at a time.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

RELEASES = ["0.1.1", "0.1.5", "0.1.9", "0.2.0", "0.3.17", "0.4.8", "0.5.13"]
# The releases ask for any requests and tenacity (0.1.1 forgets to ask). These work on Python 3.11.
REQUIREMENTS = [
    "requests==2.34.2",
    "tenacity==9.1.2",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "idna==3.20",
    "urllib3==2.8.0",
]

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[1] / ".test" / "released"
# Below the range from which Linux takes ports for outgoing connections: a server that was killed finds its
# port free when it comes again.
PORTS = range(12_000, 32_000)
# No scenario that goes well comes near this.
LIMIT_SEC = 180


@dataclass(frozen=True)
class Job:
    """One scenario with one release."""

    version: str
    scenario: str
    python: Path
    port: int


def main() -> int:
    """Plays what the arguments select."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    parser.add_argument("--only", choices=RELEASES, help="play with this release alone")
    parser.add_argument("--scenario", help="play this scenario alone")
    parser.add_argument("--jobs", type=int, default=4, help="how many to play at a time")
    arguments = parser.parse_args()
    server = arguments.server.resolve(strict=True)
    versions = [arguments.only] if arguments.only else RELEASES

    with ThreadPoolExecutor(arguments.jobs) as pool:
        pythons = list(pool.map(prepare, versions))
        listings = list(pool.map(scenarios, pythons))
        ports = free_ports()
        jobs = [
            Job(version, scenario, python, next(ports))
            for version, python, names in zip(versions, pythons, listings, strict=True)
            for scenario in names
            if arguments.scenario in (None, scenario)
        ]
        if not jobs:
            known = {name for names in listings for name in names}
            sys.exit(f"no scenario is called {arguments.scenario}; there are: {', '.join(sorted(known))}")
        # The long ones first, so that none is left over at the end; those that measure time alone, so that
        # nothing is late for want of a processor.
        jobs.sort(key=lambda job: not job.scenario.startswith("restart"))
        alone = [job for job in jobs if job.scenario == "heartbeat_at_expiry"]
        others = [job for job in jobs if job not in alone]
        failed = sum(play_all(batch, server, pool) for batch in (others, alone))
    print(f"{len(jobs) - failed} passed, {failed} failed")
    return 1 if failed else 0


def prepare(version: str) -> Path:
    """The interpreter of an environment with this release; made if it is not there yet."""
    folder = ENVIRONMENTS / version
    python = folder / "bin" / "python"
    requirements = [f"throttle-client=={version}", *REQUIREMENTS]
    # Written last: an environment that was left half made is made again.
    complete = folder / "complete.txt"
    expected = "\n".join([sys.version, *requirements])
    if complete.exists() and complete.read_text() == expected:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _quiet([sys.executable, "-m", "venv", str(folder)])
    _quiet([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *requirements])
    complete.write_text(expected)
    return python


def scenarios(python: Path) -> list[str]:
    """The names of what the release in this environment can play."""
    return _quiet([str(python), str(HERE / "play.py"), "--list"]).split()


def free_ports() -> Iterator[int]:
    """Ports on which nobody listens, each once."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def play_all(jobs: list[Job], server: Path, pool: ThreadPoolExecutor) -> int:
    """Prints how each scenario went, and counts those that failed."""
    failed = 0
    futures = {pool.submit(play, job, server): job for job in jobs}
    for future in as_completed(futures):
        job, (problem, seconds) = futures[future], future.result()
        print(f"{'FAILED' if problem else 'passed'}  {job.version:7} {job.scenario}  {seconds:.1f} s")
        if problem:
            failed += 1
            print(textwrap.indent(problem, "    "))
        sys.stdout.flush()
    return failed


def play(job: Job, server: Path) -> tuple[str, float]:
    """What went wrong, or an empty text; and the seconds that it took."""
    started = time.monotonic()
    command: list[str | Path] = [job.python, HERE / "play.py", "--scenario", job.scenario]
    process = subprocess.Popen(
        [*command, "--server", server, "--port", str(job.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # One group with the server, so that both can be ended.
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_SEC)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nstill running after {LIMIT_SEC} s"
    problem = "" if process.returncode == 0 else f"{output}\nexit code {process.returncode}"
    return problem, time.monotonic() - started


def _quiet(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
