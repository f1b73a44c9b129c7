"""Compares the tables of `docs/http.md` with `/openapi.json` of a server: they have the same routes.

The other tables of the reference are compared by tests of Rust: settings and their defaults
(`crates/server/src/config/documented.rs`), metrics (`crates/cli/tests/it/metrics.rs`), commands and flags
(`crates/cli/src/arguments.rs`).
"""

import argparse
import json
import re
import sys
import urllib.request
from pathlib import Path

from pages import DOCS
from server import PATIENCE, serving

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
# Those of the older dialects and of the site are frozen, and described by the document alone.
BELOW = ("/v1/", "/livez", "/readyz")

Route = tuple[str, str]


def plain(path: str) -> str:
    """A path without the names of its parameters, and without its query."""
    return re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])


def described(url: str) -> set[Route]:
    """What the server says of itself."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=PATIENCE) as answer:
        paths = json.load(answer)["paths"]
    return {(method.upper(), plain(path)) for path, item in paths.items() for method in item}


def documented(text: str) -> set[Route]:
    """The first cells of the tables: methods and paths, where a path has the methods before it."""
    found: set[Route] = set()
    for line in text.splitlines():
        methods: list[str] = []
        is_new = True
        for code in re.findall(r"`([^`]+)`", line.split(" | ")[0]) if line.startswith("| `") else []:
            for word in code.split():
                if word in METHODS:
                    methods = [*([] if is_new else methods), word]
                    is_new = False
                elif word.startswith("/"):
                    found |= {(method, plain(word)) for method in methods}
                    is_new = True
    return found


def main() -> int:
    """Prints what is wrong, if anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    with serving(parser.parse_args().server.resolve(strict=True), "[semaphores]\nA = 1\n") as server:
        known = {route for route in described(server.url) if route[1].startswith(BELOW)}
    told = {route for route in documented((DOCS / "http.md").read_text()) if route[1].startswith(BELOW)}
    wrong = [f"docs/http.md does not tell of {method} {path}" for method, path in sorted(known - told)]
    wrong += [f"/openapi.json does not tell of {method} {path}" for method, path in sorted(told - known)]
    assert len(known) > 20, known
    print("\n".join(wrong) or f"{len(known)} routes stand in docs/http.md")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
