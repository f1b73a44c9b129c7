"""Celery: tasks for the same shop never overlap, whatever the number of workers, queues and machines.

    pip install throttle-client celery
    throttle -c tasks.toml &
    THROTTLE_URL=http://localhost:8000 BROKER_URL=amqp://localhost celery -A tasks worker

A task that finds its shop busy waits for two seconds and goes back into the queue of the broker, so that it
keeps no worker from other work. If the lock is lost while a task works, it ends with an error: `LockLost`.
"""

import os
import time

from celery import Celery, Task
from throttle_client import Timeout, lock

app = Celery("tasks", broker=os.environ["BROKER_URL"])
# A worker that dies gives its task to another one; the lock comes free when its lease is over.
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1


@app.task(bind=True, max_retries=None)
def import_orders(self: Task, shop: str, seconds: float, journal: str) -> None:
    """Imports the orders of a shop."""
    try:
        with lock(None, f"shop/{shop}", timeout=2, ttl=30, labels={"task": self.request.id}) as held:
            write(journal, f"{shop} begins {held.token}")
            time.sleep(seconds)  # The work.
            held.check()
            write(journal, f"{shop} ends {held.token}")
    except Timeout as busy:
        raise self.retry(countdown=1, exc=busy) from busy


def write(journal: str, line: str) -> None:
    """A line of the journal; short ones are written in one piece."""
    with open(journal, "a") as file:  # noqa: PTH123
        file.write(f"{line}\n")
