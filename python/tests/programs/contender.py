"""Hold a semaphore often, in four threads or tasks, and note when: contender.py URL SEMAPHORE FILE KIND."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path

from throttle_client import lock

WORKERS, ROUNDS, HOLD_SECONDS = 4, 3, 0.01

url, semaphore, path, kind = sys.argv[1:]
noted: list[tuple[float, float]] = []


def work() -> None:
    for _ in range(ROUNDS):
        with lock(url, semaphore):
            begin = time.monotonic()
            time.sleep(HOLD_SECONDS)
            noted.append((begin, time.monotonic()))


async def work_async() -> None:
    for _ in range(ROUNDS):
        async with lock(url, semaphore):
            begin = time.monotonic()
            await asyncio.sleep(HOLD_SECONDS)
            noted.append((begin, time.monotonic()))


async def main() -> None:
    await asyncio.gather(*(work_async() for _ in range(WORKERS)))


if kind == "tasks":
    asyncio.run(main())
else:
    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

Path(path).write_text("".join(f"{begin} {end}\n" for begin, end in noted), encoding="utf-8")
