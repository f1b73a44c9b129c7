"""A real server process, and the patience to wait for what it does."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

CONFIGURATION = """\
litter_collection_interval = "10ms"

[semaphores]
A = 1
S = 3
OUTER = { max = 1, level = 1 }
INNER = { max = 1, level = 0 }
"/&" = 1
"""

# Long enough for a loaded machine; only what fails ever takes this long.
PATIENCE = 30.0


def until(condition: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Returns as soon as `condition` holds; fails, saying `what` was missed, after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.005)


class Server:
    """A `throttle` on 127.0.0.1 without a data directory, so that it forgets everything when it is killed."""

    def __init__(self, binary: Path, port: int, folder: Path) -> None:
        """The configuration and the log are kept in `folder`."""
        self.url = f"http://127.0.0.1:{port}"
        self._address = ("127.0.0.1", port)
        self._log = folder / "server.log"
        configuration = folder / "throttle.toml"
        configuration.write_text(CONFIGURATION)
        self._command: list[str | Path] = [binary, "-c", configuration]
        self._command += ["--address", "127.0.0.1", "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server accepts connections."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._process = process

        def accepts() -> bool:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            with socket.socket() as probe:
                return probe.connect_ex(self._address) == 0

        until(accepts, "the server accepts connections")

    def kill(self) -> None:
        """Ends the server at once, without any grace."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ends the server as an operator would."""
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(PATIENCE) == 0, f"the server ended with {self._process.returncode}"

    def output(self) -> str:
        """What the server has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def await_pending(self, semaphore: str, count: int) -> None:
        """Returns when requests for `count` in all wait for the semaphore."""
        until(lambda: self._pending(semaphore) == count, f"{count} pending for {semaphore}")

    def _pending(self, semaphore: str) -> int:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE) as response:
            text: str = response.read().decode()
        name = f'throttle_pending{{semaphore="{semaphore}"}} '
        return sum(int(float(line.removeprefix(name))) for line in text.splitlines() if line.startswith(name))
