"""Plays `examples/gpu`: four jobs run at once on a machine, each on a GPU of its own."""

import sys
import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, most_at_once, peers, server_binary, start, succeeded
from server import serving, until

JOBS = 7


def main() -> None:
    """More jobs than GPUs."""
    binary = server_binary()
    configuration = (EXAMPLES / "gpu" / "gpu.toml").read_text()
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        journal, go = Path(folder) / "journal", Path(folder) / "go"
        job = f"""
            echo gpu$CUDA_VISIBLE_DEVICES begins >> {journal}; echo all begins >> {journal}
            until [ -e {go} ]; do sleep 0.02; done
            echo all ends >> {journal}; echo gpu$CUDA_VISIBLE_DEVICES ends >> {journal}"""
        command: list[str | Path] = [sys.executable, EXAMPLES / "gpu" / "on_gpu.py", "sh", "-c", job]
        jobs = [start(command, environment(server, binary)) for _ in range(JOBS)]
        until(lambda: journal.exists() and journal.read_text().count("all begins") == 4, "four run")
        server.await_pending("gpus/*", JOBS - 4)
        go.touch()
        succeeded(jobs)
        most = most_at_once(journal)
        assert most == {"all": 4, "gpu0": 1, "gpu1": 1, "gpu2": 1, "gpu3": 1}, most
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
