"""Plays `examples/rust-worker`: jobs run under the lock only, and one whose lock is lost is killed."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server import PATIENCE, Server, serving, until
from throttle_client import Client


@contextmanager
def worker(binary: Path, server: Server, job: str) -> Iterator[subprocess.Popen[str]]:
    """The example with one job, as its user starts it."""
    process = subprocess.Popen(
        [binary, "A"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "THROTTLE_URL": server.url},
    )
    try:
        assert process.stdin is not None
        process.stdin.write(f"{job}\n")
        process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.wait()


def finish(process: subprocess.Popen[str]) -> str:
    """Lets a worker that must succeed come to its end; what it said besides its output."""
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "exit status: 0" in printed, printed
    return errors


def a_job_waits_for_the_lock(binary: Path, server: Server, folder: Path) -> None:
    """Nothing happens while someone else holds the lock; each job finds a larger token than those before."""
    tokens = folder / "tokens"
    job = f"echo $FENCING_TOKEN >> {tokens}"
    with worker(binary, server, job) as process:
        assert "waiting" not in finish(process)
    with Client(server.url) as client:
        holder = client.new_peer(60)
        assert client.acquire(holder, "A")
        with worker(binary, server, job) as process:
            server.await_pending("A", 1)
            assert len(tokens.read_text().split()) == 1
            client.release(holder)
            assert "waiting for A" in finish(process)
    first, second = map(int, tokens.read_text().split())
    assert second > first, "a new lock has a larger token"


def a_lost_lock_kills_the_job(binary: Path, server: Server, folder: Path) -> None:
    """When an operator takes the lock away, the job is killed and tried again under a new one."""
    tokens, begun = folder / "tokens", folder / "begun"
    # The first attempt would sleep for ever.
    job = f"echo $FENCING_TOKEN >> {tokens}; mkdir {begun} && exec sleep 3600; true"
    with worker(binary, server, job) as process, Client(server.url) as client:
        until(begun.exists, "the job runs")
        (peer,) = client.list_of_peers()
        client.release(peer["id"])
        assert "tried again" in finish(process)
        assert client.list_of_peers() == []
    first, second = map(int, tokens.read_text().split())
    assert second > first, "a new lock has a larger token"


def main() -> int:
    """Plays both scenarios; an exception fails them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--server", required=True, type=Path, help="the server binary; the worker lies beside it"
    )
    server = parser.parse_args().server.resolve(strict=True)
    binary = server.with_name("rust-worker").resolve(strict=True)
    for scenario in (a_job_waits_for_the_lock, a_lost_lock_kills_the_job):
        with tempfile.TemporaryDirectory() as folder, serving(server, "[semaphores]\nA = 1\n") as running:
            scenario(binary, running, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
