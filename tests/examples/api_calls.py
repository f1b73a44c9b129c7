"""Plays `examples/api_calls.py`: never more than five calls in a second, by the server's own clock."""

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from urllib.request import urlopen

from _shared import EXAMPLES, environment, server_binary, start, succeeded
from server import PATIENCE, serving

CALLS = 12
AT_ONCE = 5


class Api(http.server.BaseHTTPRequestHandler):
    """An API that counts its calls."""

    running = 0
    most = 0
    guard = threading.Lock()

    def do_GET(self) -> None:
        """Answers."""
        with Api.guard:
            Api.running += 1
            Api.most = max(Api.most, Api.running)
        self.send_response(204)
        self.end_headers()
        with Api.guard:
            Api.running -= 1

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def api() -> Iterator[str]:
    """The address of the API."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def main() -> None:
    """Twelve calls take more than two seconds."""
    binary = server_binary()
    with serving(binary, (EXAMPLES / "api_calls.toml").read_text()) as server, api() as address:
        # Read from before the first call on.
        with urlopen(f"{server.url}/v1/events?semaphore=api&kind=granted", timeout=PATIENCE) as events:
            example = start(
                [sys.executable, EXAMPLES / "api_calls.py", address, str(CALLS)], environment(server, binary)
            )
            moments: list[datetime] = []
            while len(moments) < CALLS:
                line = events.readline().decode()
                if line.startswith("data:") and '"granted"' in line:
                    moments.append(datetime.fromisoformat(json.loads(line.removeprefix("data:"))["at"]))
        assert succeeded([example]).count(": 204") == CALLS
        for early, late in zip(moments, moments[AT_ONCE:], strict=False):
            assert late - early >= timedelta(seconds=1), moments
        assert Api.most <= AT_ONCE, Api.most


if __name__ == "__main__":
    main()
