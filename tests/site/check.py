"""Builds the site with mdBook and checks it: all pages are in it, links lead somewhere, and the search finds.

What else the pages promise is checked by `commands.py` (their commands) and `reference.py` (tables against
the server's own words).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from browser import found_by_search
from links import broken_in_book, broken_in_sources, links_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MOST_LINES = 200
# A word for the search, and the page that has to be among what it finds.
SEARCHES = {
    "Idempotency-Key": "http.html",
    "zombie": "fencing.html",
    "queue.absent_after": "configuration.html",
    "celery": "recipes/workflows.html",
    "redlock": "comparison.html",
    "throttle_longest_pending_sec": "metrics.html",
}


def markdown_files() -> list[Path]:
    """Those that git knows, and new ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for line in output.splitlines() if (path := ROOT / line).is_file()]


def left_out() -> list[str]:
    """Pages that the summary does not name, and pages that are too long to be read."""
    named = {(DOCS / link).resolve() for link in links_of((DOCS / "SUMMARY.md").read_text())}
    pages = {path for path in markdown_files() if path.is_relative_to(DOCS) and path.name != "SUMMARY.md"}
    found = [f"{path.relative_to(ROOT)}: not in docs/SUMMARY.md" for path in sorted(pages - named)]
    for path in sorted(pages):
        if (lines := len(path.read_text().splitlines())) > MOST_LINES:
            found.append(f"{path.relative_to(ROOT)}: {lines} lines; at most {MOST_LINES}")
    return found


def drawings() -> list[str]:
    """Drawings that are not what their programs make."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, DOCS / "draw.py", folder], check=True)
        made = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return [
        f"docs/images/{name}: not what docs/draw.py draws"
        for name, drawing in made.items()
        if not (DOCS / "images" / name).is_file() or (DOCS / "images" / name).read_bytes() != drawing
    ]


def plots() -> list[str]:
    """What `bench/plot.py` makes of figures that nobody measured; each of them has to stand in a drawing."""
    figures = Path(__file__).with_name("made_up_figures.json")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, ROOT / "bench" / "plot.py", figures, folder], check=True)
        drawings = [ElementTree.parse(path) for path in Path(folder).iterdir()]
    words = {text for drawing in drawings for text in drawing.getroot().itertext()}
    report = json.loads(figures.read_text())
    rates = [line["rate"] for line in report["handover"]]
    rates += [rate for line in report["durable"] for rate in line["rates"]]
    rates += [line["rate"] for line in report["rates"] if line["row"] != "heartbeats"]
    told = {f"{rate['median']:,}" for rate in rates}
    # The bare server has no peers, so only its first figure counts.
    bare = {f"{line['rate']['median']:,}" for line in report["rates"] if line["server"] == "bare hyper"}
    return [f"bench/plot.py does not draw {figure}" for figure in sorted(told - bare - words)]


def build(mdbook: Path, book: Path) -> None:
    """The book, without a warning."""
    done = subprocess.run([mdbook, "build", DOCS, "-d", book], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stderr, done.stderr
    assert "ERROR" not in done.stderr, done.stderr


def not_indexed(book: Path) -> list[str]:
    """Pages of which the index for the search has nothing."""
    (index,) = book.glob("searchindex-*.js")
    text = re.search(r"JSON\.parse\('(.*)'\)\)", index.read_text(), re.DOTALL)
    assert text, "the index for the search is there"
    urls = json.loads(text[1].replace("\\\\", "\\").replace("\\'", "'"))["doc_urls"]
    have = {url.partition("#")[0] for url in urls}
    named = links_of((DOCS / "SUMMARY.md").read_text())
    return [
        f"{link}: not in the index for the search"
        for link in named
        if link.replace(".md", ".html") not in have
    ]


def main() -> int:
    """Prints what is wrong, if anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mdbook", required=True, type=Path)
    parser.add_argument("--book", type=Path, default=ROOT / "target" / "book", help="where it is built")
    arguments = parser.parse_args()
    files = markdown_files()
    wrong = left_out() + drawings() + plots() + broken_in_sources(files, ROOT)
    build(arguments.mdbook, arguments.book)
    wrong += broken_in_book(arguments.book) + not_indexed(arguments.book)
    wrong += found_by_search(arguments.book, SEARCHES)
    print("\n".join(wrong) or f"the links of {len(files)} files lead somewhere, and the search finds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
