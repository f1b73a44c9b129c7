"""Interrupt a lock at each point at which Python lets a signal in: interrupted_everywhere.py URL SEMAPHORE.

After each it must be free again, and the client must work. Python looks for signals after a call, at the
start of a function and when a loop goes round, so that is where a trace function strikes.
"""

from __future__ import annotations

import asyncio
import contextlib
import dis
import faulthandler
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, Optional

import throttle_client
from throttle_client import Client, lock

CALLS = {"CALL", "CALL_FUNCTION", "CALL_FUNCTION_EX", "CALL_FUNCTION_KW", "CALL_KW", "CALL_METHOD"}
LETS_SIGNALS_IN = CALLS | {"RESUME", "JUMP_ABSOLUTE", "JUMP_BACKWARD"}
STRUCK_CODE = (
    str(Path(throttle_client.__file__).parent),
    str(Path(asyncio.__file__).parent),
    threading.__file__,
)

url, semaphore = sys.argv[1:3]
client = Client(url)
full = client.remainder(semaphore)


class Strike:
    """Raises a KeyboardInterrupt at the point with this number, if there are that many."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._last: dict[int, str] = {}
        self.place: Optional[str] = None

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """To be given to `sys.settrace`."""
        code = frame.f_code
        if self.place is not None or not code.co_filename.startswith(STRUCK_CODE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call":
            self._last.pop(id(frame), None)
        elif event == "opcode":
            name = dis.opname[code.co_code[frame.f_lasti]]
            last, self._last[id(frame)] = self._last.get(id(frame)), name
            # A call that raised something lets no signal in.
            if last in LETS_SIGNALS_IN and name != "PUSH_EXC_INFO":
                self._left -= 1
                if self._left == 0:
                    self.place = f"{code.co_filename}:{frame.f_lineno}"
                    raise KeyboardInterrupt
        return self.trace


def use(strike: Strike) -> None:
    sys.settrace(strike.trace)
    try:
        with lock(url, semaphore, ttl=60) as handle:
            handle.check()
    finally:
        sys.settrace(None)


number = 0
while True:
    number += 1
    strike = Strike(number)
    faulthandler.dump_traceback_later(20, exit=True)
    with contextlib.suppress(KeyboardInterrupt):
        use(strike)
    if strike.place is None:
        break
    end = time.monotonic() + 5
    while client.remainder(semaphore) != full:
        if time.monotonic() > end:
            raise SystemExit(f"leaked by an interrupt at {strike.place}")
        time.sleep(0.002)
faulthandler.cancel_dump_traceback_later()
print(f"clean after {number - 1}")
