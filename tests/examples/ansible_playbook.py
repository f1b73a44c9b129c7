"""Plays `examples/ansible` on this machine: runs do not overlap, and one that fails gives the lock back."""

import subprocess
import sys
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
from server import PATIENCE, Server, serving


def playbook(server: Server, binary: Path, folder: Path, script: Path) -> subprocess.Popen[str]:
    """A run of the playbook."""
    ansible = Path(sys.executable).with_name("ansible-playbook")
    command: list[str | Path] = [
        ansible,
        "-i",
        "localhost,",
        "-c",
        "local",
        EXAMPLES / "ansible" / "deploy.yml",
    ]
    variables = environment(server, binary, ANSIBLE_HOME=str(folder / "ansible"), LC_ALL="C.UTF-8")
    more = ["-e", f"program={script}", "-e", f"ansible_python_interpreter={sys.executable}"]
    return start([*command, *more], variables)


def main() -> None:
    """Two that go well, then one that fails."""
    binary = server_binary()
    with serving(binary, "[semaphores]\ndeploy = 1\n") as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = folder / "journal"
        deploy = program(folder / "deploy.sh", noting(journal, "deploy", 0.3))
        succeeded([playbook(server, binary, folder, deploy) for _ in range(2)])
        assert journal.read_text().count("begins") == 2
        assert most_at_once(journal) == {"deploy": 1}

        broken = program(folder / "broken.sh", f"throttle status deploy -o json > {folder}/status; exit 3")
        failed = playbook(server, binary, folder, broken)
        output, _ = failed.communicate(timeout=2 * PATIENCE)
        assert failed.returncode == 2, output
        assert '"remainder": 0' in (folder / "status").read_text(), "it worked under the lock"
        assert peers(server) == [], "it is given back"


if __name__ == "__main__":
    main()
