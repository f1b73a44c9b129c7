"""Links of the Markdown files, to files and headings of the repository, and those between the built pages."""

import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[(?!\^)[^\]]+\]: (\S+)", re.MULTILINE)


def slug(heading: str) -> str:
    """The anchor of a heading, as forges and mdBook make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    kept = (
        c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "Mn"
    )
    return "".join(kept).replace(" ", "-")


def headings(text: str) -> set[str]:
    """The anchors of a file."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.*)$", FENCE.sub("", text), re.MULTILINE):
        anchor, number = slug(heading), 0
        while (name := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(name)
    return found


def links_of(text: str) -> list[str]:
    """Where a Markdown file leads to."""
    text = CODE.sub("", FENCE.sub("", text))
    return [one or other for one, other in LINK.findall(text)]


def broken_in_sources(files: list[Path], root: Path) -> list[str]:
    """Links of these files that lead to no file of the repository, or to no heading of it."""
    anchors = {path: headings(path.read_text()) for path in files}
    found = []
    for path in files:
        for link in links_of(path.read_text()):
            parts = urlsplit(link)
            if parts.scheme:
                if parts.scheme not in ("http", "https", "mailto") or " " in link:
                    found.append(f"{path.relative_to(root)}: {link} is no address")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists():
                found.append(f"{path.relative_to(root)}: {link} leads to no file")
            elif parts.fragment and target in anchors and parts.fragment not in anchors[target]:
                found.append(f"{path.relative_to(root)}: {link}: no such heading")
    return found


class Page(HTMLParser):
    """Anchors and links of a built page."""

    def __init__(self, path: Path) -> None:
        """Reads it."""
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            if (tag in ("a", "link") and name == "href") or (tag in ("img", "script") and name == "src"):
                self.links.append(value)


def broken_in_book(book: Path) -> list[str]:
    """Links between the pages of a built book that lead nowhere."""
    pages = {path: Page(path) for path in sorted(book.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        # This one is shown below any address, so its links are absolute.
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{path.relative_to(book)}: {link} leads to no page")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{path.relative_to(book)}: {link}: no such place")
    return found
