"""Plays `examples/pytest-xdist`: tests of several workers wait for a board, and none is there without one."""

import sys

from _shared import EXAMPLES, environment, peers, semaphore, server_binary, start, succeeded
from server import serving, until
from throttle_client import lock

WORKERS = 3


def main() -> None:
    """While somebody else has both boards, each worker waits; then all tests pass."""
    binary = server_binary()
    with serving(binary, "[semaphores]\nboard = 2\n") as server:
        command = [sys.executable, "-m", "pytest", "-n", str(WORKERS), "-p", "no:cacheprovider", "-q", "."]
        with lock(server.url, "board", count=2):
            run = start(command, environment(server, binary), cwd=EXAMPLES / "pytest-xdist")
            server.await_pending("board", WORKERS)
            queue = semaphore(server, "board")["queue"]
            assert all("test_board.py::test_board[" in entry["labels"]["test"] for entry in queue), queue
        assert "6 passed" in succeeded([run])
        assert semaphore(server, "board")["remainder"] == 2
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
