"""Jobs of many customers: at most two of one customer run at once, on all machines together.

    pip install throttle-client
    throttle -c tenants.toml &
    THROTTLE_URL=http://localhost:8000 python tenants.py < jobs.txt

Each line of standard input is a job: a customer, and a command for the shell. A customer with a thousand jobs
waits for his own two places, and holds up nobody else.
"""

import asyncio
import sys

from throttle_client import lock


async def run(tenant: str, command: str) -> int:
    """Runs a job in a place of its customer. It is ended if the place is lost."""
    async with lock(None, f"tenant/{tenant}", ttl=30, on_lost="cancel", labels={"job": command[:60]}):
        process = await asyncio.create_subprocess_shell(command)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def main() -> int:
    """Starts all jobs, and tells how each ended."""

    async def report(tenant: str, command: str) -> bool:
        code = await run(tenant, command)
        print(f"{tenant}: {command}: {code}", flush=True)
        return code == 0

    jobs = [line.strip().partition(" ") for line in sys.stdin if line.strip()]
    done = await asyncio.gather(*(report(tenant, command) for tenant, _, command in jobs))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
