"""Plays `examples/tenants.py`: each customer has his places, and one who is full holds up nobody else."""

import subprocess
import sys
import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, most_at_once, noting, peers, server_binary, start, succeeded
from server import serving, until
from throttle_client import lock


def main() -> None:
    """Jobs of two customers, one of which has no place at first."""
    binary = server_binary()
    configuration = (EXAMPLES / "tenants.toml").read_text()
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        jobs = [f"{tenant} {noting(journal, tenant)}" for tenant in ("globex", "acme") for _ in range(5)]
        with lock(server.url, "tenant/globex", count=2):
            example = start(
                [sys.executable, EXAMPLES / "tenants.py"],
                environment(server, binary),
                stdin=subprocess.PIPE,
            )
            assert example.stdin is not None
            example.stdin.write("\n".join(jobs))
            example.stdin.close()
            example.stdin = None
            until(lambda: journal.exists() and journal.read_text().count("acme ends") == 5, "acme goes on")
            assert "globex" not in journal.read_text(), "globex waits"
        said = succeeded([example])
        assert said.count(": 0\n") == len(jobs), said
        most = most_at_once(journal)
        assert most == {"globex": 2, "acme": 3}, most
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
