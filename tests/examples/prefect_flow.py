"""Plays `examples/prefect-flow` with a Prefect: two tables are loaded at once, and the others wait.

Prefect and Airflow want releases of FastAPI that exclude each other, so Prefect has an environment of its
own.
"""

import sys
import tempfile
from pathlib import Path

from _shared import EXAMPLES, environment, peers, semaphore, server_binary, start, succeeded
from server import PATIENCE, serving, until
from throttle_client import lock

TABLES = 4
# Its server may be slow to start on a machine that does other things; it tells nobody.
PREFECT = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
PYTHON = Path(f"{sys.prefix}-prefect") / "bin" / "python"


def main() -> None:
    """While somebody else has the database, all wait. Prefect starts a server of its own for the flow."""
    binary = server_binary()
    with serving(binary, "[semaphores]\ndatabase = 2\n") as server, tempfile.TemporaryDirectory() as folder:
        variables = environment(server, binary, **PREFECT, PREFECT_HOME=folder)
        with lock(server.url, "database", count=2):
            flow = start([PYTHON, EXAMPLES / "prefect-flow" / "flow.py"], variables)

            def all_wait() -> bool:
                assert flow.poll() is None, flow.communicate()
                return bool(semaphore(server, "database")["pending"] == TABLES)

            until(all_wait, "all wait", within=5 * PATIENCE)
            queue = semaphore(server, "database")["queue"]
            tables = {entry["labels"].get("table") for entry in queue}
            assert tables == {"customers", "orders", "items", "stock"}, queue
        said = succeeded([flow])
        tokens = [line.split()[1] for line in said.splitlines() if line.split(" ")[0] in tables]
        assert len(set(tokens)) == TABLES, said
        until(lambda: peers(server) == [], "all is given back")


if __name__ == "__main__":
    main()
