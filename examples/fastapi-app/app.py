"""FastAPI: expensive requests of one customer, at most two at once over all copies of the service.

    pip install throttle-client fastapi uvicorn
    throttle --semaphore 'report/*=2' &
    THROTTLE_URL=http://localhost:8000 uvicorn app:app --port 8001 --workers 4

A request waits for its place for two seconds; then its client is told to come back later. If the place is
lost, the request is cancelled.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from throttle_client import Handle, Timeout, lock

app = FastAPI()


async def place(customer: str) -> AsyncIterator[Handle]:
    """A place of the customer, for as long as the request takes."""
    async with lock(None, f"report/{customer}", timeout=2, ttl=30, on_lost="cancel") as handle:
        yield handle


@app.exception_handler(Timeout)
async def busy(_request: Request, error: Timeout) -> JSONResponse:
    """No place was free in time."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "5"})


@app.post("/reports/{customer}")
async def report(
    customer: str, held: Annotated[Handle, Depends(place)], seconds: float = 1
) -> dict[str, object]:
    """Makes a report."""
    await asyncio.sleep(seconds)  # The work.
    return {"customer": customer, "token": held.token}
