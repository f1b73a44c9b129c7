"""A clean place to try a way to install in: a directory, a small environment, and commands in them."""

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

# How registries and toolchains are reached from this machine, whatever that takes.
PASSED_ON = re.compile(
    r"(PIP|UV|CARGO|RUSTUP)_.*|(https?|no)_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE", re.IGNORECASE
)
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 1200


class FailedError(Exception):
    """A command that did not do what it is for, with what it said."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Runs a command to its end and returns what it wrote to standard output."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode != 0:
        line = " ".join(map(str, command))
        raise FailedError(f"{line}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Place:
    """A directory of its own, and a port for a server; with `root` the directory is one of a chroot."""

    def __init__(self, directory: Path, *, path: tuple[Path, ...] = (), root: Path | None = None) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.root = root
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        self.env = kept | {
            "HOME": str(self._seen(directory)),
            "PATH": ":".join([*map(str, path), SYSTEM]),
            "LANG": "C.UTF-8",
            "THROTTLE_PORT": str(self.port),
            "THROTTLE_URL": self.url,
        }

    @property
    def url(self) -> str:
        """Where the server of this place is."""
        return f"http://localhost:{self.port}"

    def _seen(self, path: Path) -> Path:
        return path if self.root is None else Path("/") / path.relative_to(self.root)

    def shell(self, commands: str) -> str:
        """Runs commands as a person would type them, and stops what they left; returns what they wrote."""
        script = self.directory / "commands.sh"
        trap = "trap 'jobs -p | xargs --no-run-if-empty kill; wait' EXIT"
        script.write_text(f"set -euo pipefail\n{trap}\n{commands}\n", encoding="utf-8")
        command: list[str | Path] = ["bash", self._seen(script)]
        if self.root is not None:
            command = ["chroot", self.root, "env", f"--chdir={self._seen(self.directory)}", *command]
        log = self.directory / "commands.log"
        with log.open("w", encoding="utf-8") as output:
            code = subprocess.run(
                command,
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
            ).returncode
        said = log.read_text(encoding="utf-8")
        if code != 0:
            raise FailedError(f"{commands}\nended with {code}:\n{said}")
        return said


def held_and_released(said: str) -> None:
    """Checks that `throttle status` showed the semaphore `database` once as taken, and free in the end."""
    acquired = re.findall(r"^database +(\d+)/1 ", said, flags=re.MULTILINE)
    if acquired != ["1", "0"]:
        raise FailedError(f"no lock was held and released (acquired: {acquired}):\n{said}")
