"""Checks `examples/systemd` with systemd's own tool where there is one, and plays what the service starts."""

import configparser
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from _shared import (
    EXAMPLES,
    environment,
    most_at_once,
    noting,
    peers,
    program,
    server_binary,
    start,
    succeeded,
)
from server import serving

UNITS = EXAMPLES / "systemd"


def main() -> None:
    """Paths of this test take the place of those in the unit."""
    binary = server_binary()
    with serving(binary, "[semaphores]\nbackup = 1\n") as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "journal"
        work = program(folder / "backup.sh", noting(journal, "backup"))
        text = (UNITS / "backup.service").read_text()
        for there, here in (("/usr/bin/throttle", binary), ("/usr/local/bin/backup.sh", work)):
            assert there in text
            text = text.replace(there, str(here))
        (folder / "backup.service").write_text(text)
        shutil.copy(UNITS / "backup.timer", folder)
        if shutil.which("systemd-analyze"):
            command: list[str | Path] = [
                "systemd-analyze",
                "verify",
                folder / "backup.service",
                folder / "backup.timer",
            ]
            checked = subprocess.run(command, capture_output=True, text=True, check=False)
            # It looks at the units of the machine, too.
            ours = [line for line in checked.stderr.splitlines() if "backup" in line]
            assert ours == [], checked.stderr
        else:
            print("systemd-analyze is not here: the units are not verified")

        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(text)
        service = shlex.split(unit["Service"]["ExecStart"])
        succeeded([start(service, environment(server, binary)) for _ in range(2)])
        assert most_at_once(journal) == {"backup": 1}
        assert peers(server) == []


if __name__ == "__main__":
    main()
