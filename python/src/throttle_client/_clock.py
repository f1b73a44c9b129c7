"""Time that never runs backwards, and that goes on while the machine sleeps where the system can tell."""

from __future__ import annotations

import time
from functools import partial
from typing import Callable

__all__ = ["now"]


def now() -> float:
    """Seconds on a monotonic clock.

    On Linux the plain monotonic clock stands still while a machine is suspended, and a lock would look held
    hours after it expired; so the clock that counts suspension is used there.
    """
    return _read()


def _choose() -> Callable[[], float]:
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot_time is None else partial(time.clock_gettime, boot_time)


_read = _choose()
