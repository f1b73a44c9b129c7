"""Tests that use the fixture `board`."""

import time

import pytest
from throttle_client import Handle


@pytest.mark.parametrize("number", range(6))
def test_board(board: Handle, number: int) -> None:
    """Nobody else has this place on a board."""
    time.sleep(0.1)  # Whatever is to be tested.
    board.check()
