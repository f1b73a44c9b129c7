"""Runs a command on a GPU of this machine that nobody else uses.

    pip install throttle-client
    throttle -c gpu.toml &
    THROTTLE_URL=http://localhost:8000 python on_gpu.py python train.py

The command finds its GPU in CUDA_VISIBLE_DEVICES. A count alone would not say which one is free, so there
are two locks: a place on the machine, for which jobs stand in line, and then one of its GPUs. Whoever has a
place finds a free GPU, since a job gives its GPU back before its place.
"""

import os
import platform
import subprocess
import sys
from contextlib import ExitStack

from throttle_client import Handle, Timeout, lock

GPUS = int(os.environ.get("GPUS", "4"))


def free_gpu(stack: ExitStack, machine: str) -> tuple[int, Handle]:
    """Takes the first GPU that is free, until the end of the stack."""
    for number in range(GPUS):
        try:
            return number, stack.enter_context(lock(None, f"gpu/{machine}/{number}", timeout=0))
        except Timeout:
            continue
    raise RuntimeError(f"{machine} has more places than GPUs; gpu.toml and GPUS ({GPUS}) differ")


def main(command: list[str]) -> int:
    """The exit code of the command; 70 if the lock was lost, and the command killed."""
    machine = platform.node()
    with ExitStack() as stack:
        stack.enter_context(lock(None, f"gpus/{machine}", ttl=60, labels={"job": " ".join(command)[:250]}))
        number, held = free_gpu(stack, machine)
        with subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": str(number)}) as process:
            while True:
                try:
                    return process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    if not held.is_held:
                        process.kill()
                        return 70


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
