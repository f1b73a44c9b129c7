"""Plays `examples/airflow-task` with Airflow's classes: a task defers, a trigger waits, a worker takes over.

What only a running Airflow does is not here: its scheduler, its database, and the triggerer that runs
triggers.
"""

import asyncio
import importlib
import json
import os
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

from _shared import EXAMPLES, peers, semaphore, server_binary
from server import PATIENCE, Server, serving, until
from throttle_client import Handle, lock

TASK = SimpleNamespace(dag_id="nightly", task_id="export", run_id="manual__1")


def play(server: Server) -> None:
    """A task that waits for another holder, through both of its halves."""
    example = importlib.import_module("throttle_task")
    deferred_error = importlib.import_module("airflow.sdk.exceptions").TaskDeferred
    remainders = []

    class Export(example.ThrottledOperator):  # type: ignore[misc, name-defined]
        def work(self, context: Any, handle: Handle) -> str:
            handle.check()
            remainders.append(semaphore(server, "warehouse")["remainder"])
            return "exported"

    task = Export(task_id="export", semaphore="warehouse")
    try:
        task.execute({"ti": TASK})
    except deferred_error as error:
        deferred = error
    (peer,) = peers(server)
    assert peer["labels"] == {"dag": "nightly", "task": "export", "run": "manual__1"}, peer

    # From here on only what the scheduler keeps is there: it goes through JSON.
    path, arguments = json.loads(json.dumps(deferred.trigger.serialize()))
    module, name = path.rsplit(".", 1)
    make_trigger = getattr(importlib.import_module(module), name)

    async def waits_and_fires() -> dict[str, Any]:
        with lock(server.url, "warehouse"):
            first = asyncio.create_task(anext(make_trigger(**arguments).run()))
            await asyncio.to_thread(server.await_pending, "warehouse", 1)
            # The triggerer restarts.
            first.cancel()
            second = asyncio.create_task(anext(make_trigger(**arguments).run()))
            done, _ = await asyncio.wait([second], timeout=0.2)
            assert not done, "it waits"
            assert semaphore(server, "warehouse")["queue"][0]["position"] == 1
        return dict((await asyncio.wait_for(second, PATIENCE)).payload)

    event = asyncio.run(waits_and_fires())
    assert event == {"error": None}, event
    assert semaphore(server, "warehouse")["remainder"] == 0, "between the two halves the lock is held"

    resume = getattr(task, deferred.method_name)
    assert resume({"ti": TASK}, event, **deferred.kwargs) == "exported"
    assert remainders == [0], "it worked under the lock"
    until(lambda: peers(server) == [], "the lock is given back")


def main() -> None:
    """Plays it against a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(AIRFLOW_HOME=folder, AIRFLOW__CORE__UNIT_TEST_MODE="True")
        sys.path.insert(0, str(EXAMPLES / "airflow-task"))
        with serving(server_binary(), "[semaphores]\nwarehouse = 1\n") as server:
            os.environ["THROTTLE_URL"] = server.url
            play(server)


if __name__ == "__main__":
    main()
