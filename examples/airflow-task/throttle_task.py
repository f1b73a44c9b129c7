"""Airflow: a task that waits for its place without a worker.

    pip install throttle-client

Put this file where workers and triggerers import it from, such as the folder of plugins, and set THROTTLE_URL
for both. In a DAG:

    from throttle_task import ThrottledOperator

    class Export(ThrottledOperator):
        def work(self, context, handle):
            ...  # here at most as many tasks at once as the semaphore allows

    Export(task_id="export", semaphore="warehouse")

Pools of Airflow limit the tasks of one Airflow; this limits them together with everything else that uses
the warehouse. The task makes a peer and gives it to a trigger, which waits in the queue of the semaphore:
in the triggerer, a few KB for each. If the triggerer restarts, the trigger asks again for the same peer and
keeps its place. Once the peer has the lock, a worker takes it over, renews it, and releases it at the end.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent
from throttle_client import AsyncClient, Client, Handle, ThrottleError, adopt

# From the grant on, this is the time in which a worker has to take the task up.
LEASE_SEC = 300
# How long one request waits for the grant. The next one keeps the place in the queue.
WAIT_SEC = 60


class LockTrigger(BaseTrigger):
    """Fires when the peer has the lock."""

    def __init__(self, peer: str, semaphore: str, count: int) -> None:
        super().__init__()
        self.peer, self.semaphore, self.count = peer, semaphore, count

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What a triggerer needs to go on."""
        arguments = {"peer": self.peer, "semaphore": self.semaphore, "count": self.count}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits for as long as it takes."""
        try:
            async with AsyncClient() as client:
                while not await client.acquire(
                    int(self.peer), self.semaphore, self.count, expires_in=LEASE_SEC, block_for=WAIT_SEC
                ):
                    pass
        except ThrottleError as error:
            yield TriggerEvent({"error": str(error)})
        else:
            yield TriggerEvent({"error": None})


class ThrottledOperator(BaseOperator):
    """Does its work while it holds a lock."""

    def __init__(self, *, semaphore: str, count: int = 1, **others: Any) -> None:
        super().__init__(**others)
        self.semaphore, self.count = semaphore, count

    def execute(self, context: Any) -> None:
        """Makes the peer, and leaves the worker."""
        task = context["ti"]
        with Client(labels={"dag": task.dag_id, "task": task.task_id, "run": task.run_id}) as client:
            peer = str(client.new_peer(LEASE_SEC))
        self.defer(
            trigger=LockTrigger(peer, self.semaphore, self.count),
            method_name="work_under_lock",
            kwargs={"peer": peer},
            timeout=timedelta(hours=12),
        )

    def work_under_lock(self, context: Any, event: dict[str, Any], peer: str) -> Any:
        """Back on a worker, with the lock."""
        if event["error"]:
            raise RuntimeError(f"no lock on {self.semaphore}: {event['error']}")
        with adopt(None, peer, ttl=LEASE_SEC) as handle:
            return self.work(context, handle)

    def work(self, context: Any, handle: Handle) -> Any:
        """What the task does; `handle.check()` raises if the lock is lost."""
        raise NotImplementedError
