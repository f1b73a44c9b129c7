"""Blocks of the pages, and the pages whose blocks are promises."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The pages whose commands are run, and whose other blocks stand word for word in a file that a test runs.
CHECKED = [
    "start.md",
    "concepts.md",
    "operations.md",
    "migration.md",
    "performance.md",
    *sorted(f"recipes/{path.name}" for path in (DOCS / "recipes").glob("*.md")),
]
# All pages.
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(?P<info>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    marks: frozenset[str]
    text: str

    @property
    def where(self) -> str:
        """For people."""
        return f"docs/{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Those of a page of `docs`."""
    text = (DOCS / page).read_text()
    found = []
    for match in BLOCK.finditer(text):
        language, *marks = match["info"].split(",")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, language, frozenset(marks), textwrap.dedent(match["text"])))
    return found


def inline_commands(page: str) -> list[str]:
    """Commands in the text, in tables and in indented blocks of a page."""
    text = BLOCK.sub("", (DOCS / page).read_text())
    codes = re.findall(r"`(?:\./)?(throttle [^`]+)`", text)
    # Of a line, what stands before a pipe, a redirection or a comment.
    codes += [
        re.split(r" [|&;<>#]", line)[0] for line in re.findall(r"^ {4}(throttle .*)$", text, re.MULTILINE)
    ]
    return [" ".join(code.split()) for code in codes]
