"""Durations as callers give them and as the server reads them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Optional, Union

from ._errors import ConfigurationError

__all__ = ["Duration", "format_duration", "optional_seconds", "seconds"]

Duration = Union[timedelta, float, int]
"""A `timedelta`, or a number of seconds."""

LONGEST_SECONDS = 10 * 365.25 * 86_400


def seconds(value: Duration, name: str) -> float:
    """Turn a duration into seconds, or say what is wrong with the argument called `name`."""
    if isinstance(value, timedelta):
        result = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        result = float(value)
    else:
        raise ConfigurationError(f"{name} is {value!r}; a timedelta or a number of seconds is needed")
    if math.isnan(result) or result < 0:
        raise ConfigurationError(f"{name} is {value!r}; it must not be negative")
    return min(result, LONGEST_SECONDS)


def optional_seconds(value: Optional[Duration], name: str) -> Optional[float]:
    """Like `seconds`, but `None` stays `None`."""
    return None if value is None else seconds(value, name)


def format_duration(value: float) -> str:
    """Write seconds as the server reads them, rounded up to a millisecond so that nothing becomes zero."""
    return f"{math.ceil(round(value * 1000, 6))}ms"
