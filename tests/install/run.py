"""Makes all packages and tries each way to install that `docs/install.md` has, up to a lock.

Runs as root, in a namespace of mounts of its own: unshare --mount python3 tests/install/run.py
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import deployment
from packages import Packages
from page import ROOT
from paths import PATHS
from place import FailedError


def main() -> int:
    """Tries one way after the other, and says how long each took."""
    ways = PATHS | deployment.CHECKS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="WAY", help=f"of {', '.join(ways)}; default: all")
    chosen = parser.parse_args().only or list(ways)
    if unknown := set(chosen) - ways.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(ways)}")
    directory = ROOT / "target/packages"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    packages = Packages(directory / "made", Path(sys.prefix) / "bin")
    packages.directory.mkdir()
    failed = []
    for name in chosen:
        began = time.monotonic()
        try:
            ways[name](packages, directory / name)
        except FailedError as error:
            failed.append(name)
            print(f"{name}: FAILED\n{error}", flush=True)
        else:
            print(f"{name}: ok, {time.monotonic() - began:.0f} s", flush=True)
    print(f"Failed: {', '.join(failed)}" if failed else "Every way ends with a lock.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
