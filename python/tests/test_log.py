"""A handler of the application may block: the background thread does not wait for it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from conftest import Gateway, Server, eventually, finish, program

from throttle_client import _log, lock
from throttle_client._log import log


class Blocking(logging.Handler):
    """Takes a record, and then no more until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.goes_on = threading.Event()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self.goes_on.wait()
        self.records.append(record)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    handler = Blocking()
    logger = logging.getLogger("throttle_client")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    handler.goes_on.set()
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_handler_that_blocks_does_not_stop_the_renewal(server: Server, blocking: Blocking) -> None:
    with contextlib.closing(Gateway(server.port)) as gateway, lock(gateway.url, "A", ttl=3) as handle:
        gateway.refuse = lambda _, path: 503 if "heartbeat" in path else None
        assert blocking.entered.wait(3)
        gateway.refuse = lambda *_: None
        assert not handle.lost.wait(4)
        assert handle.remaining > 1
        handle.check()
    blocking.goes_on.set()
    eventually(lambda: bool(blocking.records))
    assert "renewal of peer" in blocking.records[0].getMessage()


def test_what_no_handler_takes_is_bounded(blocking: Blocking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "MOST_RECORDS", 3)
    log(logging.INFO, "the first")
    assert blocking.entered.wait(3)
    for number in range(10):
        log(logging.INFO, "number %d", number)
    blocking.goes_on.set()
    log(logging.INFO, "the %s", "last")
    expected = ["the first", "number 0", "number 1", "number 2"]
    eventually(lambda: len(blocking.records) >= len(expected))
    assert [record.getMessage() for record in blocking.records[:4]] == expected


def test_the_last_records_are_written() -> None:
    assert finish(program("logging_last.py")).split() == ["first", "last"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_logs_too() -> None:
    assert finish(program("logging_last.py", "fork")).split() == ["first", "child", "last"]
