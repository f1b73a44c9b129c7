"""Plays `examples/fastapi-app`: two requests of a customer run at once, a third waits, or is told."""

import json
import os
import re
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from _shared import EXAMPLES, environment, peers, server_binary, start
from server import PATIENCE, serving, until
from throttle_client import lock


def ask(url: str) -> tuple[int, dict[str, Any], str | None]:
    """Status, answer, and when to come back."""
    try:
        with urlopen(Request(url, method="POST"), timeout=PATIENCE) as answer:
            return answer.status, json.load(answer), None
    except HTTPError as error:
        return error.code, json.load(error), error.headers["Retry-After"]


def main() -> None:
    """The service is a process of its own, as its user starts it."""
    binary = server_binary()
    with serving(binary, '[semaphores]\n"report/*" = 2\n') as server, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        variables = environment(server, binary)
        variables["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES / "fastapi-app"), variables["PYTHONPATH"]])
        with log.open("w") as output:
            command: list[str | Path] = [sys.executable, "-m", "uvicorn", "app:app", "--port", "0"]
            service = start(command, variables, stdout=output)
        try:
            listens = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
            until(lambda: listens.search(log.read_text()) is not None, "it listens")
            found = listens.search(log.read_text())
            assert found
            with lock(server.url, "report/acme", count=2):
                status, answer, later = ask(f"{found[1]}/reports/acme")
                assert (status, later) == (503, "5"), answer
                assert "report/acme" in answer["detail"], answer
                assert ask(f"{found[1]}/reports/globex?seconds=0")[0] == 200, "others do not wait"
            with ThreadPoolExecutor() as many:
                with lock(server.url, "report/acme", count=2):
                    waiting = many.submit(ask, f"{found[1]}/reports/acme?seconds=0")
                    server.await_pending("report/*", 1)
                answers = [many.submit(ask, f"{found[1]}/reports/acme?seconds=0.1") for _ in range(2)]
                done = [answer.result() for answer in (waiting, *answers)]
            assert [status for status, _, _ in done] == [200] * 3, done
            assert len({answer["token"] for _, answer, _ in done}) == 3, done
            until(lambda: peers(server) == [], "all is given back")
        except BaseException:
            print(log.read_text())
            raise
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(PATIENCE)


if __name__ == "__main__":
    main()
