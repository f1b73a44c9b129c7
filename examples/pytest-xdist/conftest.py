"""pytest-xdist: tests that need one of two boards, over all workers and all machines that run them.

    pip install throttle-client pytest pytest-xdist
    throttle --semaphore board=2 &
    THROTTLE_URL=http://localhost:8000 pytest -n 8

A test that needs a board asks for it by its parameter; see `test_board.py`.
"""

from collections.abc import Iterator

import pytest
from throttle_client import Handle, lock


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Iterator[Handle]:
    """A board for the time of one test. A test that waits too long fails, and says who has the boards."""
    with lock(None, "board", timeout=600, ttl=60, labels={"test": request.node.nodeid[-250:]}) as held:
        yield held
