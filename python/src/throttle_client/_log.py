"""Log records of what goes on in the background, written by a thread of their own.

Handlers belong to the application, and may block: on a full pipe, on a server, on a lock that a thread left
taken when an interrupt struck it. The thread that renews does not wait for them.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from typing import Any, Optional

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
        start_thread(self._run, "throttle-log")
        atexit.register(self._let_records_be_written)

    def put(self, *record: object) -> None:
        if self._records.qsize() < MOST_RECORDS:
            self._records.put(record)

    def _run(self) -> None:
        while True:
            record = self._records.get()
            if isinstance(record, tuple):
                level, message, arguments, error = record
                with contextlib.suppress(Exception):
                    _logger.log(level, message, *arguments, exc_info=error)
            else:
                record.set()

    def _let_records_be_written(self) -> None:
        if _writer is self:
            written: Event = new_event()
            self._records.put(written)
            written.wait(LAST_RECORDS_SECONDS)


_writer: Optional[_Writer] = None


def log(level: int, message: str, *arguments: Any, error: Optional[BaseException] = None) -> None:
    """Log it as `logging` would, without waiting for a handler."""
    global _writer
    writer = _writer
    if writer is None:
        # Two threads may start a writer each: both write.
        writer = _writer = _Writer()
    writer.put(level, message, arguments, error)


def _after_fork_in_child() -> None:
    global _writer
    _writer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
