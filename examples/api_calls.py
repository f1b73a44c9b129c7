"""Calls to an API that allows five a second, over all processes and machines that have its key.

    pip install throttle-client httpx
    throttle -c api_calls.toml &
    python -m http.server 8080 &
    THROTTLE_URL=http://localhost:8000 python api_calls.py http://localhost:8080/ 20

Five calls may run at once, and no more than five begin in any second: count of `api` comes back no sooner
than a second after it was given, however early its call ended.
"""

import asyncio
import sys

import httpx
from throttle_client import lock


async def main(url: str, calls: int) -> None:
    """Makes all calls, each as soon as it may."""
    async with httpx.AsyncClient() as http:

        async def call(number: int) -> None:
            async with lock(None, "api", ttl=30):
                answer = await http.get(url)
            print(f"{number}: {answer.status_code}", flush=True)

        async with asyncio.TaskGroup() as tasks:
            for number in range(calls):
                tasks.create_task(call(number))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
