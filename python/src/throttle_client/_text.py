"""Text of the caller that goes out to a server."""

from __future__ import annotations

from ._errors import ConfigurationError

__all__ = ["name", "sendable"]


def sendable(text: str, what: str, wanted: str) -> str:
    """The text, if it can be encoded; `what` it is and what is `wanted` instead is for the error."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{what} is {text!r}, where {text[error.start]!r} is half of a character (a lone surrogate) and "
            f"cannot be sent; {wanted} is needed"
        ) from None
    return text


def name(semaphore: object) -> str:
    """The name of a semaphore, checked."""
    if not isinstance(semaphore, str) or not semaphore:
        raise ConfigurationError(f"the semaphore is {semaphore!r}; a name like 'A' is needed")
    return sendable(semaphore, "the semaphore", "a name like 'A'")
