"""A server of the dashboard's tests, and what happens on it."""

import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVER = Path(os.environ.get("THROTTLE_SERVER", "target/debug/throttle")).resolve()


class Server:
    """A `throttle` process in a directory of its own, on a port that it keeps when it starts again."""

    def __init__(self, directory: Path, configuration: str, port: int = 0) -> None:
        self.directory = directory
        self.port = port
        # Shown with every request, if the server asks for one.
        self.token: str | None = None
        (directory / "throttle.toml").write_text(configuration)
        self.start()

    def start(self) -> None:
        command: list[str | Path] = [SERVER, "--port", str(self.port)]
        environment = os.environ | {"THROTTLE_LOG": "info"}
        self.process = subprocess.Popen(
            command, cwd=self.directory, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"Listening on http://[^:]+:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("the server did not start")
        # Else it would stand still once the pipe is full.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer, which must be a success."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else text

    def status(self, method: str, path: str) -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, method=method), timeout=30
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def session(
        self, locks: Mapping[str, int], labels: Mapping[str, str] | None = None, **more: object
    ) -> str:
        """A new peer that has these locks, or waits for them."""
        body = {"expires_in": "2h", "locks": locks, "labels": labels or {}, **more}
        return str(self.ask("POST", "/v1/locks", body)["id"])

    def release(self, peer: str) -> None:
        self.ask("DELETE", f"/v1/peers/{peer}")

    def semaphore(self, name: str) -> Any:
        return self.ask("GET", f"/v1/semaphores/{urllib.parse.quote(name, safe='')}")
