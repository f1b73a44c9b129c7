"""Plays `examples/celery-tasks` with a worker: tasks of a shop never overlap, and who waits keeps nobody."""

import importlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, most_at_once, peers, server_binary, start
from server import PATIENCE, serving, until
from throttle_client import lock

FOLDER = EXAMPLES / "celery-tasks"
WORKER = ["worker", "-c", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]


def main() -> None:
    """Five tasks for two workers. The broker is a folder, so that nothing else needs to run."""
    binary = server_binary()
    configuration = (FOLDER / "tasks.toml").read_text()
    with serving(binary, configuration) as server, tempfile.TemporaryDirectory() as folder:
        journal, log = Path(folder) / "journal", Path(folder) / "log"
        queue = Path(folder) / "queue"
        queue.mkdir()
        # How Celery is told of a broker in a folder: both directions in the same one.
        settings = Path(folder) / "celeryconfig.py"
        settings.write_text(f"broker_transport_options = {{'data_folder_in': {str(queue)!r}, ")
        with settings.open("a") as file:
            file.write(f"'data_folder_out': {str(queue)!r}, 'control_folder': {str(queue)!r}}}\n")
        variables = environment(server, binary, BROKER_URL="filesystem://")
        variables["PYTHONPATH"] = os.pathsep.join([folder, variables.get("PYTHONPATH", "")])
        os.environ.update(variables)
        sys.path[:0] = [folder, str(FOLDER)]
        tasks = importlib.import_module("tasks")
        tasks.app.config_from_object("celeryconfig")

        with log.open("w") as output:
            worker = start(
                [sys.executable, "-m", "celery", "-A", "tasks", "--config", "celeryconfig", *WORKER],
                variables,
                cwd=FOLDER,
                stdout=output,
            )
        try:
            with lock(server.url, "shop/north"):
                for shop in ("north", "north", "south", "north", "south"):
                    tasks.import_orders.delay(shop, 0.1, str(journal))
                until(
                    lambda: journal.exists() and journal.read_text().count("south ends") == 2,
                    "tasks of a shop that is busy keep no worker from others",
                    within=2 * PATIENCE,
                )
                assert "north" not in journal.read_text()
                until(lambda: "Retry in 1s" in log.read_text(), "who waits goes back to the broker")
            until(lambda: journal.read_text().count("ends") == 5, "all is done", within=2 * PATIENCE)
            assert most_at_once(journal) == {"north": 1, "south": 1}, journal.read_text()
            until(lambda: peers(server) == [], "all is given back")
        except BaseException:
            print(log.read_text())
            raise
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(PATIENCE)


if __name__ == "__main__":
    main()
