"""What one client does, measured in a process of its own: worker.py CLIENT one|many URL NUMBER [TTL [HOLD]].

CLIENT is `new`, `released` or `raw`. It prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

WARM_UP = 30
# Threads need less memory than they get by default.
STACK_BYTES = 256 * 1024


def one_by_one(take_and_release: Callable[[], object], number: int) -> dict[str, float]:
    """Take a free lock and release it, again and again: the median, in milliseconds."""
    for _ in range(WARM_UP):
        take_and_release()
    times = []
    before = time.process_time()
    for _ in range(number):
        begin = time.perf_counter()
        take_and_release()
        times.append(time.perf_counter() - begin)
    used = (time.process_time() - before) / number
    return {"wall_ms": statistics.median(times) * 1000, "cpu_ms": used * 1000}


def new_one(url: str, number: int) -> dict[str, float]:
    """The client of this repository, one lock after the other."""
    lock: Any = import_module("throttle_client").lock

    def take_and_release() -> None:
        with lock(url, "one"):
            pass

    return one_by_one(take_and_release, number)


# The released client has the same `lock`.
released_one = new_one


def raw_one(url: str, number: int) -> dict[str, float]:
    """The same two requests, as bytes on a socket."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    connection = socket.create_connection((host or "", port or 80))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = b'{"locks":{"one":1},"expires_in":"300000ms"}'
    head = f"POST /v1/locks HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: "
    create = head.encode() + f"{len(body)}\r\n\r\n".encode() + body

    def ask(request: bytes) -> bytes:
        connection.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += connection.recv(65536)
        return rest

    def take_and_release() -> None:
        peer = json.loads(ask(create))["id"]
        ask(f"DELETE /peers/{peer} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())

    return one_by_one(take_and_release, number)


def new_many(url: str, number: int, ttl: float, hold: float) -> dict[str, float]:
    """So many tasks of one event loop share the places."""
    lock: Any = import_module("throttle_client").lock
    lost = []

    async def work() -> None:
        try:
            async with lock(url, "many", ttl=ttl):
                await asyncio.sleep(hold)
        except Exception as error:
            lost.append(repr(error))

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(number)))

    begin = time.perf_counter()
    asyncio.run(main())
    return shown(begin, lost)


def released_many(url: str, number: int, ttl: float, hold: float) -> dict[str, float]:
    """So many threads share the places, for the released client knows no tasks. Its peer has the expiry."""
    client: Any = import_module("throttle_client")
    lost = []

    def work() -> None:
        try:
            peer = client.PeerWithHeartbeat(client.Client(url), expiration_time=timedelta(seconds=ttl))
            client.set_local_peer(url, peer)
            with client.lock(url, "many"):
                time.sleep(hold)
        except Exception as error:
            lost.append(repr(error))

    threading.stack_size(STACK_BYTES)
    threads = [threading.Thread(target=work) for _ in range(number)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return shown(begin, lost)


def shown(begin: float, lost: list[str]) -> dict[str, float]:
    """What it took, and how many did not get through."""
    wall = time.perf_counter() - begin
    for error in sorted(set(lost))[:3]:
        print(error, file=sys.stderr)
    return {"wall_s": wall, "cpu_s": time.process_time(), "lost": len(lost)}


def main() -> None:
    """Measure what the arguments say."""
    client, what, url, number, *rest = sys.argv[1:]
    measure: Callable[..., dict[str, float]] = globals()[f"{client}_{what}"]
    print(json.dumps(measure(url, int(number), *map(float, rest))))


if __name__ == "__main__":
    main()
