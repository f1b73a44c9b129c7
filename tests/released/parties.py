"""What the releases have in common, so that one scenario can be played with each of them."""

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from server import PATIENCE, Server

Scenario = Callable[[Server], None]

MINUTES = timedelta(minutes=5)
# A heartbeat that is not to beat during a scenario.
NEVER = timedelta(hours=1)
# A client that is not told asks again after 5 s. What comes sooner than this has been told.
PROMPT = 3.0


@dataclass(frozen=True)
class Renewal:
    """A heartbeat, with the moments between which the server saw it."""

    sent: float
    answered: float
    accepted: bool


class Party(ABC):
    """One thread of execution with a peer of its own."""

    def __init__(self) -> None:
        """Without renewals so far."""
        self.renewals: list[Renewal] = []

    @abstractmethod
    def ask(self, semaphore: str, count: int = 1) -> bool:
        """Asks without waiting; true if it was granted."""

    @abstractmethod
    def is_granted(self) -> bool:
        """Whether nothing that was asked for is pending."""

    @abstractmethod
    def lock(
        self, semaphore: str, count: int = 1, timeout: timedelta | None = None
    ) -> AbstractContextManager[object]:
        """The context manager of the release, in which the lock is held."""

    @abstractmethod
    def live_for(self, duration: timedelta) -> None:
        """Moves the expiry of the peer to `duration` from now."""

    @abstractmethod
    def come_back(self) -> None:
        """Brings back a peer that the server has forgotten, with its locks, as the heartbeat does."""

    @abstractmethod
    def leave(self) -> None:
        """Removes the peer from the server."""

    def outlives_server(self) -> bool:
        """Whether the request in which this party waits is one that it repeats when the server is lost."""
        return True

    def recorded(self, heartbeat: Callable[[], None]) -> Callable[[], None]:
        """The same heartbeat, each call of which is noted in `renewals`."""

        def beat() -> None:
            sent = time.monotonic()
            accepted = False
            try:
                heartbeat()
                accepted = True
            finally:
                self.renewals.append(Renewal(sent, time.monotonic(), accepted))

        return beat


class Release(ABC):
    """A released package."""

    timeout_error: type[Exception]

    @abstractmethod
    def party(self, url: str, expires_in: timedelta = MINUTES, heartbeat: timedelta = NEVER) -> Party:
        """A new party; where the release allows, with this expiry and interval between heartbeats."""

    @abstractmethod
    def remainder(self, url: str, semaphore: str) -> int:
        """The remainder of the semaphore."""

    @abstractmethod
    def remove_expired(self, url: str) -> int:
        """Asks the server to remove expired peers."""

    def spelled(self, semaphore: str) -> str:
        """How a name has to be passed to this release."""
        return semaphore


class Visitor:
    """A thread that takes a lock and stays inside until it is told to leave."""

    def __init__(self, party: Party, semaphore: str, count: int = 1) -> None:
        """Starts to take the lock."""
        self.party = party
        self.entered_at: float | None = None
        self._error: BaseException | None = None
        self._inside = threading.Event()
        self._may_leave = threading.Event()
        self._thread = threading.Thread(target=self._visit, args=[semaphore, count], daemon=True)
        self._thread.start()

    def await_entry(self, within: float = PATIENCE) -> float:
        """The moment in which the lock was granted; fails if that takes longer than `within` seconds."""
        granted = self._inside.wait(within)
        self._raise()
        assert granted, f"no lock within {within} s"
        assert self.entered_at is not None
        return self.entered_at

    def leave(self) -> None:
        """Returns when the lock is released."""
        self._may_leave.set()
        self._thread.join(PATIENCE)
        self._raise()
        assert not self._thread.is_alive(), "the lock could not be released"

    def _visit(self, semaphore: str, count: int) -> None:
        try:
            with self.party.lock(semaphore, count):
                self.entered_at = time.monotonic()
                self._inside.set()
                self._may_leave.wait()
        finally:
            self._error = sys.exc_info()[1]
            self._inside.set()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


@contextmanager
def refused(expected: type[Exception], *texts: str) -> Iterator[None]:
    """Fails unless the block raises `expected` with all of `texts` in its message."""
    message = None
    try:
        yield
    except expected as error:
        message = str(error)
    assert message is not None, f"nothing was raised instead of {expected.__name__}"
    for text in texts:
        assert text in message, f"{text!r} is not in {message!r}"
