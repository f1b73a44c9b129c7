"""Which dialect a server speaks: found out by the first request, and by each answer anew."""

from __future__ import annotations

import logging
from typing import Optional

from ._answers import Answer, lacks_route
from ._log import log
from ._protocol import Request

__all__ = ["Dialect"]


class Dialect:
    """What the answers of one server tell of it. Threads may share this: a wrong guess costs one request.

    What can be said in `/v1` is tried so until a server has no such route, but takes the same in the older
    dialect. That is remembered for as long as the server's state is the same; so a server that is replaced by
    a newer or older one is noticed by the next answer.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # The state of the server that has no /v1. Those up to 0.5 do not tell their state.
        self._without: Optional[tuple[Optional[str]]] = None

    @property
    def lacks_v1(self) -> bool:
        """Whether the server is known to have no `/v1`."""
        return self._without is not None

    def choose(self, wish: Request) -> Request:
        """The request to send for this wish."""
        return wish.classic if self.lacks_v1 and wish.classic is not None else wish

    def learn(self, sent: Request, answer: Answer, refused: Optional[Answer] = None) -> None:
        """Take note of an answer, and of the one by which `/v1` was `refused` just before."""
        if lacks_route(answer) or answer.status >= 500:
            return  # Whoever answered this need not be the server.
        if sent.is_v1:
            self._without = None
        elif refused is not None and refused.instance in (None, answer.instance):
            if not self.lacks_v1:
                log(
                    logging.INFO,
                    "%s has no /v1 (servers have it since 0.6): labels and priorities do not reach it, and "
                    "several semaphores are acquired one after the other",
                    self._url,
                )
            self._without = (answer.instance,)
        elif self._without != (answer.instance,):
            self._without = None
