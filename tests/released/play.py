"""Plays one scenario with the release that is installed for this interpreter; `run.py` calls it."""

import argparse
import os
import sys
import tempfile
import traceback
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from parties import Scenario
from server import Server


def scenarios() -> dict[str, Scenario]:
    """The scenarios that the installed release is able to play, by name."""
    major, minor, _ = (int(part) for part in version("throttle-client").split("."))
    module = {(0, 1): "client_0_1", (0, 2): "client_0_2"}.get((major, minor), "client_0_3")
    found: dict[str, Scenario] = import_module(module).SCENARIOS
    return found


def main() -> int:
    """Plays, and tells with its exit code and its output how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the names of the scenarios, and end")
    parser.add_argument("--server", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--scenario")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(scenarios()))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(arguments.server, arguments.port, Path(folder))
        went_well = False
        try:
            server.start()
            scenarios()[arguments.scenario](server)
            went_well = True
        finally:
            if not went_well:
                traceback.print_exc()
                print("--- output of the server", server.output(), sep="\n", file=sys.stderr, flush=True)
                server.kill()
                # Threads of the client may still wait for something that never comes.
                os._exit(1)
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
