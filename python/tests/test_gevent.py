"""Locks where gevent has put greenlets in the place of threads."""

from __future__ import annotations

import pytest
from conftest import Server, finish, program

pytest.importorskip("gevent")
pytestmark = pytest.mark.either_dialect


def test_a_greenlet_that_computes_keeps_its_lock(server: Server) -> None:
    assert finish(program("greenlets.py", server.url, "A", "compute")).split() == ["kept"]
    assert server.peers() == 0


def test_greenlets_run_while_others_wait(server: Server) -> None:
    said = finish(program("greenlets.py", server.url, "A", "wait")).split()
    assert said == ["released", "granted", "granted", "granted"]
    assert server.peers() == 0
