"""A real server process, and the patience to wait for what it does."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    cert, key = folder / "server.pem", folder / "server.key"
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    name = ["-subj", "/CN=throttle", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *name, "-out", cert, "-keyout", key], check=True, capture_output=True)
    return cert, key


class Server:
    """A `throttle` on 127.0.0.1 without a data directory, so that it forgets everything when it is killed."""

    def __init__(self, binary: Path, port: int, folder: Path, configuration: str = CONFIGURATION) -> None:
        """The configuration and the log are kept in `folder`. With port 0 the system chooses one."""
        self._port = port
        self._log = folder / "server.log"
        file = folder / "throttle.toml"
        file.write_text(configuration)
        self._command: list[str | Path] = [binary, "-c", file, "--address", "127.0.0.1"]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        return f"http://127.0.0.1:{self._port}"

    @contextmanager
    def secured(self, *rights: str, with_tls: bool = False) -> Iterator[str]:
        """The URL of another server, with a token in it that has these rights there.

        With TLS, `REQUESTS_CA_BUNDLE` names the certificate that a client has to trust.
        """
        with tempfile.TemporaryDirectory() as folder:
            tokens = Path(folder) / "tokens.toml"
            allow = [part for right in rights for part in ("--allow", right)]
            made = subprocess.run(
                [self._command[0], "token", "new", "etl", *allow, "--file", tokens],
                check=True,
                capture_output=True,
                text=True,
            )
            configuration = f'{CONFIGURATION}\n[security]\ntokens = "{tokens}"\n'
            if with_tls:
                cert, key = certificate(Path(folder))
                configuration += f'[tls]\ncert = "{cert}"\nkey = "{key}"\n'
                os.environ["REQUESTS_CA_BUNDLE"] = str(cert)
            with serving(Path(self._command[0]), configuration) as server:
                scheme = "https" if with_tls else "http"
                yield server.url.replace("http://", f"{scheme}://etl:{made.stdout.strip()}@")

    def start(self) -> None:
        """Returns when the server accepts connections."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*self._command, "--port", str(self._port)],
                stdout=log,
                stderr=log,
                env={**os.environ, "THROTTLE_LOG": "info"},
            )
        self._process = process

        def accepts() -> bool:
            assert process.poll() is None, f"the server ended with {process.returncode}"
            if self._port == 0:
                chosen = re.search(r"Listening on https?://127\.0\.0\.1:(\d+)\n", self.output())
                self._port = int(chosen[1]) if chosen else 0
            with socket.socket() as probe:
                return self._port != 0 and probe.connect_ex(("127.0.0.1", self._port)) == 0

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


@contextmanager
def serving(binary: Path, configuration: str) -> Iterator[Server]:
    """A server for the time of the block. If the block fails, its log is printed."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(binary, 0, Path(folder), configuration)
        try:
            server.start()
            yield server
        except BaseException:
            server.kill()
            print("--- output of the server", server.output(), sep="\n", file=sys.stderr, flush=True)
            raise
        server.stop()
