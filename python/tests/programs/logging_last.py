"""Log in the background, and end at once: logging_last.py [fork]. With `fork` a child does so in between."""

from __future__ import annotations

import atexit
import logging
import os
import sys

from throttle_client._log import log

logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
atexit.register(log, logging.INFO, "exit")
log(logging.INFO, "first")
if "fork" in sys.argv and os.fork() == 0:
    log(logging.INFO, "child")
    sys.exit()
if "fork" in sys.argv:
    os.wait()
log(logging.INFO, "last")
