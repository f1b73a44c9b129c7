"""Runs schemathesis against a real server: does it keep what its own description promises?"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

CONFIGURATION = """
[semaphores]
A = 5
B = { max = 1, level = 1 }

[logging.stderr]
level = "INFO"
"""


def start(server: Path, directory: Path) -> tuple[subprocess.Popen[str], str]:
    """A server on a free port, and its address."""
    (directory / "throttle.toml").write_text(CONFIGURATION)
    command: list[str | Path] = [server.resolve(), "--port", "0"]
    process = subprocess.Popen(command, cwd=directory, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"Listening on (http://\S+)", line):
            return process, found[1]
    raise SystemExit("the server did not start")


def main() -> int:
    """The exit code of schemathesis: 0 if it found nothing."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--server", type=Path, required=True, help="the throttle binary")
    server = arguments.parse_args().server
    with tempfile.TemporaryDirectory() as name:
        process, address = start(server, Path(name))
        try:
            configuration = ["--config-file", str(HERE / "schemathesis.toml")]
            command = [
                "schemathesis",
                *configuration,
                "run",
                f"{address}/openapi.json",
                "--generation-database",
                "none",
                # Their answers have no end.
                "--exclude-operation-id",
                "read_events",
                "--exclude-operation-id",
                "read_updates",
            ]
            environment = os.environ | {"PYTHONPATH": str(HERE)}
            return subprocess.run(command, cwd=name, env=environment, check=False).returncode
        finally:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    sys.exit(main())
