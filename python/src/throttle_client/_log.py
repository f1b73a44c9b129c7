"""Log records of what goes on in the background, written by a thread of their own.

Handlers belong to the application, and may block: on a full pipe, on a server, on a lock that a thread left
taken when an interrupt struck it. The thread that renews does not wait for them, and none of their trouble is
its own.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import logging
import os
from typing import Any, Optional, Union

from ._threads import Event, new_event, new_queue, start_thread

__all__ = ["log"]

# Beyond that many that no handler took yet, records are dropped.
MOST_RECORDS = 1000
# The last ones get this long when the interpreter ends.
LAST_RECORDS_SECONDS = 1.0

_logger = logging.getLogger("throttle_client")


class _Writer:
    def __init__(self) -> None:
        self._records = new_queue()
        self._dropped = 0
        self._runs = False

    def put(self, record: Union[logging.LogRecord, Event]) -> None:
        if self._records.qsize() >= MOST_RECORDS:
            self._dropped += 1
            return
        self._records.put(record)
        if not self._runs:
            # Two threads may start one each: both write. Where the system has no thread left, the next record
            # tries again.
            with contextlib.suppress(RuntimeError, OSError):
                start_thread(self._run, "throttle-log")
                self._runs = True

    def _run(self) -> None:
        while True:
            record = self._records.get()
            # Whatever a handler raises is not the business of the next record.
            with contextlib.suppress(BaseException):
                if not isinstance(record, logging.LogRecord):
                    record.set()
                elif _logger.isEnabledFor(record.levelno):
                    _logger.handle(record)
            dropped, self._dropped = self._dropped, 0
            if dropped:
                with contextlib.suppress(BaseException):
                    _logger.warning("%d log records were dropped: a handler took too long", dropped)


_writer = _Writer()


def log(level: int, message: str, *arguments: Any, error: Optional[BaseException] = None) -> None:
    """Log it as `logging` would, but without waiting for a handler."""
    here = inspect.currentframe()
    caller = None if here is None else here.f_back
    path, line, function = ("", 0, "")
    if caller is not None:
        path, line, function = caller.f_code.co_filename, caller.f_lineno, caller.f_code.co_name
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    name = _logger.name
    _writer.put(_logger.makeRecord(name, level, path, line, message, arguments, exc_info, function))


def _let_records_be_written() -> None:
    written = new_event()
    _writer.put(written)
    written.wait(LAST_RECORDS_SECONDS)


# What is registered first runs last: the last releases end before.
atexit.register(_let_records_be_written)


def _after_fork_in_child() -> None:
    global _writer
    _writer = _Writer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
