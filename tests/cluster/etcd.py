"""A real etcd: the program `etcd` of Debian's package `etcd-server`."""

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

# What it logs once it answers.
READY = "serving client traffic"


# Below those that the system gives to connections, which could take one before a member listens on it; and
# each process of pytest has its own.
_first_port = 10_000 + 1_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10)
_ports = itertools.cycle(random.sample(range(_first_port, _first_port + 1_000), 1_000))


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Etcd:
    """A member of an etcd, with its data in a directory. It is the only one unless it is told of others."""

    def __init__(self, directory: Path, name: str = "m0", peers: dict[str, str] | None = None) -> None:
        """It is not there yet; the directory is made. `peers`: where members reach each other, by name."""
        peers = peers or {name: _url()}
        client, peer = _url(), peers[name]
        # Where clients reach it.
        self.url = client
        self._command: list[str | Path] = ["etcd", "--name", name, "--data-dir", directory, "--logger", "zap"]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self._command += ["--initial-cluster", ",".join(f"{one}={url}" for one, url in peers.items())]
        self._command += ["--heartbeat-interval", "50", "--election-timeout", "500"]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Starts it. It answers once most of the members are there."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)

    def wait(self) -> None:
        """Returns when it answers."""
        process = self._process
        assert process is not None
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=20)
        for line in process.stderr:
            last.append(line)
            if READY in line:
                break
        else:
            raise AssertionError(f"etcd did not start: {''.join(last)}")
        # Else it would stand still once the pipe is full.
        threading.Thread(target=process.stderr.read, daemon=True).start()

    def pause(self) -> None:
        """It stands still, with its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It does no longer stand still."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Ends it at once, also while it stands still."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def together(directory: Path, count: int) -> list[Etcd]:
    """An etcd of so many members, that answers."""
    peers = {f"m{at}": _url() for at in range(count)}
    members = [Etcd(directory / name, name, peers) for name in peers]
    for member in members:
        member.begin()
    for member in members:
        member.wait()
    return members


def section(members: Sequence[Etcd], port: int) -> str:
    """What the configuration of a server of a cluster says that listens on this port."""
    endpoints = ", ".join(f'"{member.url}"' for member in members)
    return f"""\
[cluster]
endpoints = [{endpoints}]
advertise = "http://127.0.0.1:{port}"
lease = "2s"
"""
