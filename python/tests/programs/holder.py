"""Hold or await a semaphore until something ends this: holder.py URL SEMAPHORE TTL."""

from __future__ import annotations

import sys
import threading

from throttle_client import lock

url, semaphore, ttl = sys.argv[1:]
print("waiting", flush=True)
try:
    with lock(url, semaphore, ttl=float(ttl)):
        print("held", flush=True)
        threading.Event().wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
