"""What the scripts of this folder have in common."""

import argparse
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from server import PATIENCE, Server

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def server_binary() -> Path:
    """What `--server` says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    path: Path = parser.parse_args().server
    return path.resolve(strict=True)


def environment(server: Server, binary: Path, **more: str) -> dict[str, str]:
    """That of a program that finds the server, and the command `throttle`."""
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "THROTTLE_URL": server.url, **more}


def start(command: Sequence[str | Path], variables: Mapping[str, str], **more: Any) -> subprocess.Popen[str]:
    """A program, with all its output in one pipe unless said otherwise."""
    usual: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=variables, **{**usual, **more})


def succeeded(processes: Iterable[subprocess.Popen[str]]) -> str:
    """What they said, once all have ended well."""
    said = ""
    for process in processes:
        output, _ = process.communicate(timeout=3 * PATIENCE)
        assert process.returncode == 0, f"exit code {process.returncode}: {output}"
        said += output
    return said


def semaphore(server: Server, name: str) -> dict[str, Any]:
    """What the server shows of it."""
    with urlopen(f"{server.url}/v1/semaphore?name={quote(name, safe='')}", timeout=PATIENCE) as answer:
        shown: dict[str, Any] = json.load(answer)
    return shown


def peers(server: Server) -> list[dict[str, Any]]:
    """All peers of the server."""
    with urlopen(f"{server.url}/v1/peers", timeout=PATIENCE) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
    return items


def most_at_once(journal: Path) -> dict[str, int]:
    """Of a journal with lines such as `NAME begins …` and `NAME ends …`, how many of each were there at once.

    The lines are written while the lock is held, so their order is that of the locks.
    """
    now: Counter[str] = Counter()
    most: dict[str, int] = {}
    for line in journal.read_text().splitlines():
        name, what = line.split()[:2]
        now[name] += {"begins": 1, "ends": -1}[what]
        most[name] = max(most.get(name, 0), now[name])
    assert not +now, f"not ended: {now}"
    return most


def noting(journal: Path, name: str, seconds: float = 0.05) -> str:
    """A command for the shell that notes its beginning and its end."""
    return f"echo {name} begins >> {journal}; sleep {seconds}; echo {name} ends >> {journal}"


def program(path: Path, script: str) -> Path:
    """A program of the shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
