"""A real etcd: the program `etcd` of Debian's package `etcd-server`."""

import signal
import socket
import subprocess
import threading
from collections import deque
from pathlib import Path

# What it logs once it answers.
READY = "serving client traffic"


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Etcd:
    """An etcd of one member, which keeps its data in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        """It is not there yet; the directory is made."""
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        # Where clients reach it.
        self.url = client
        self._command: list[str | Path] = ["etcd", "--name", "m0", "--data-dir", directory, "--logger", "zap"]
        self._command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self._command += ["--initial-cluster", f"m0={peer}"]
        self._command += ["--heartbeat-interval", "50", "--election-timeout", "500"]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        self._process = process
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


def section(etcd: Etcd, port: int) -> str:
    """What the configuration of a server of a cluster says that listens on this port."""
    return f"""\
[cluster]
endpoints = ["{etcd.url}"]
advertise = "http://127.0.0.1:{port}"
lease = "2s"
"""
