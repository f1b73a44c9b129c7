"""Runs the examples against a server binary: each other script in this folder plays one of them.

A script gets `--server PATH` and fails with an exit code other than 0. The Python client, and what is shared
with the tests of released clients (`server.py`), are on its path. What has a name that begins with `_` is no
script, but what scripts share.
"""

import argparse
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# No example that goes well comes near this.
LIMIT_SEC = 180


def main() -> int:
    """Plays all examples, or the one that is selected."""
    scripts = sorted(script for script in HERE.glob("*.py") if script.stem != "run" and script.stem[0] != "_")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    parser.add_argument("--only", choices=[script.stem for script in scripts], help="play this one alone")
    arguments = parser.parse_args()
    server = arguments.server.resolve(strict=True)

    failed = 0
    for script in scripts:
        if arguments.only not in (None, script.stem):
            continue
        started = time.monotonic()
        problem = play(script, server)
        failed += bool(problem)
        print(
            f"{'FAILED' if problem else 'passed'}  {script.stem}  {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if problem:
            print(textwrap.indent(problem, "    "), flush=True)
    return 1 if failed else 0


def play(script: Path, server: Path) -> str:
    """What went wrong, or an empty text."""
    shared = [str(ROOT / "python" / "src"), str(HERE.parent / "released")]
    # What is set for a server of the user's must not reach the examples.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THROTTLE_")}
    process = subprocess.Popen(
        [sys.executable, script, "--server", server],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(shared)},
        # One group with all that it starts, so that everything can be ended.
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_SEC)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        output += f"\nstill running after {LIMIT_SEC} s"
    # A script that failed may have left something behind.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return "" if process.returncode == 0 else f"{output}\nexit code {process.returncode}"


if __name__ == "__main__":
    sys.exit(main())
