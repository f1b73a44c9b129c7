"""Requests of a thread that waits for their answers: they go by the background thread, and so by its loop."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any, Callable, Optional, TypeVar

from ._answers import Answer
from ._background import Background, background
from ._protocol import Request
from ._settings import Settings
from ._transport import Ask, AsyncLink

__all__ = ["SyncLink"]

T = TypeVar("T")


class SyncLink:
    """The connections of one `Client`. Threads may share it; a forked child gets its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._at: Optional[tuple[Background, AsyncLink]] = None

    def exchange(self, request: Request) -> Answer:
        """Send, repeat where that is safe, and return the answer if it is a success."""
        answer, _ = self._run(lambda link: link.exchange(request))
        return answer

    def wait(self, ask: Ask, block_for: Optional[float]) -> Answer:
        """Send what asks to wait, in as many parts as what stands between makes of it."""
        return self._run(lambda link: link.wait(ask, block_for))

    def close(self) -> None:
        """Close the idle connections. The next request opens new ones."""
        at, self._at = self._at, None
        if at is not None and at[0] is background():
            at[0].submit(at[1].aclose).wait()

    def _run(self, work: Callable[[AsyncLink], Coroutine[Any, Any, T]]) -> T:
        thread = background()
        at = self._at
        if at is None or at[0] is not thread:
            at = self._at = (thread, AsyncLink(self.settings))
        job = thread.submit(partial(work, at[1]))
        try:
            return job.result()
        finally:
            job.cancel()  # An interrupt, say: then nobody waits for the answer any more.
