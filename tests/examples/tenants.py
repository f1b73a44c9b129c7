"""Plays `examples/tenants.py`: each customer has his places, and one who is full holds up nobody else."""

import subprocess
import sys
import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, most_at_once, noting, peers, server_binary, start, succeeded
from server import serving, until
from throttle_client import lock


def main() -> None:
    """Jobs of two customers, one of which has no place at first; three of the other one run at once."""
    binary = server_binary()
    configuration = (EXAMPLES / "tenants.toml").read_text()
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        journal, go = Path(folder) / "journal", Path(folder) / "go"
        jobs = [f"globex {noting(journal, 'globex')}"] * 5
        jobs += [f"acme until [ -e {go} ]; do sleep 0.02; done; {noting(journal, 'acme')}"] * 5
        with lock(server.url, "tenant/globex", count=2):
            example = start(
                [sys.executable, EXAMPLES / "tenants.py"], environment(server, binary), stdin=subprocess.PIPE
            )
            assert example.stdin is not None
            example.stdin.write("\n".join(jobs))
            example.stdin.close()
            example.stdin = None
            server.await_pending("tenant/acme", 2)
            go.touch()
            until(lambda: journal.exists() and journal.read_text().count("acme ends") == 5, "acme goes on")
            assert "globex" not in journal.read_text(), "globex waits"
        said = succeeded([example])
        assert said.count(": 0\n") == len(jobs), said
        most = most_at_once(journal)
        assert most.keys() == {"globex", "acme"}, most
        assert most["globex"] <= 2, most
        assert most["acme"] <= 3, most
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
