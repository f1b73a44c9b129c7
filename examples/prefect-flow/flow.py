"""Prefect: tasks of all flows share a database with everything else that uses it.

    pip install throttle-client prefect
    throttle --semaphore database=2 &
    THROTTLE_URL=http://localhost:8000 python flow.py

Concurrency limits of Prefect count what runs in Prefect; this counts scripts, services and other
schedulers, too. A task that is cancelled or fails gives its place back; one whose process dies does when
its lease is over.
"""

import time

from prefect import flow, task
from throttle_client import lock


@task
def load(table: str, seconds: float) -> str:
    """Loads a table."""
    with lock(None, "database", ttl=30, labels={"table": table}) as held:
        time.sleep(seconds)  # The work.
        held.check()
        return f"{table} {held.token}"


@flow
def load_all(tables: list[str], seconds: float = 0.2) -> list[str]:
    """Loads all tables, as many at once as the database bears."""
    return [future.result() for future in load.map(tables, seconds)]


if __name__ == "__main__":
    for line in load_all(["customers", "orders", "items", "stock"]):
        print(line)
