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
    expected = ["the first", "7 log records were dropped: a handler took too long"]
    expected += ["number 0", "number 1", "number 2"]
    eventually(lambda: len(blocking.records) >= len(expected))
    assert [record.getMessage() for record in blocking.records] == expected


def test_where_no_thread_is_to_be_had_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_log, "_writer", _log._Writer())
    with monkeypatch.context() as without:
        without.setattr(_log, "start_thread", no_thread)
        log(logging.WARNING, "the first")
    assert not caplog.records
    log(logging.WARNING, "the second", error=ValueError("why"))
    eventually(lambda: len(caplog.records) == 2)
    assert [record.getMessage() for record in caplog.records] == ["the first", "the second"]
    assert "ValueError: why" in caplog.text
    assert caplog.records[0].funcName == "test_where_no_thread_is_to_be_had_nothing_is_lost"


def test_a_handler_that_ends_its_thread_ends_no_other_record(blocking: Blocking) -> None:
    blocking.goes_on.set()
    blocking.emit = _leave  # type: ignore[method-assign]
    log(logging.INFO, "the first")
    del blocking.emit
    log(logging.INFO, "the second")
    eventually(lambda: bool(blocking.records))


def _leave(_: logging.LogRecord) -> None:
    raise SystemExit


def test_the_last_records_are_written() -> None:
    assert finish(program("logging_last.py")).split() == ["first", "last", "exit"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_logs_too() -> None:
    said = finish(program("logging_last.py", "fork")).split()
    assert sorted(said) == ["child", "exit", "exit", "first", "last"]
