"""A preprocessor of mdBook: what becomes of links that lead out of `docs`, which the site does not have.

With `output.html.git-repository-url` in `book.toml` they lead to the repository. Without it the text says
which file is meant.
"""

import json
import posixpath
import re
import sys
from typing import Any

# Not within code, and not images. The text of a link may have code in it.
LINK = re.compile(
    r"(?P<skip>^```.*?^```|^~~~.*?^~~~|!\[[^\]]*\]\([^)\s]*\))|\[(?P<text>[^\]]*)\]\((?P<to>[^)\s:]+)\)",
    re.MULTILINE | re.DOTALL,
)


def rewritten(text: str, page: str, repository: str) -> str:
    """The page, whose path is relative to `docs`, without links that lead out."""

    def replace(match: re.Match[str]) -> str:
        if match["skip"] or match["to"].startswith("#"):
            return match[0]
        path, _, anchor = match["to"].partition("#")
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
        if path.startswith("docs/"):
            return match[0]
        if repository:
            return f"[{match['text']}]({repository}/blob/main/{path}{'#' * bool(anchor)}{anchor})"
        name = match["text"].strip("`")
        return (
            match["text"]
            if path.endswith(name.rstrip("/")) and "/" in name
            else f"{match['text']} (`{path}`)"
        )

    return LINK.sub(replace, text)


def visit(items: list[Any], repository: str) -> None:
    """Rewrites the chapters, and those below them."""
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            chapter = item["Chapter"]
            if chapter["path"]:
                chapter["content"] = rewritten(chapter["content"], chapter["path"], repository)
            visit(chapter["sub_items"], repository)


def main() -> None:
    """Speaks as mdBook wants it: `supports RENDERER`, or a book on standard input."""
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2] == "html" else 1)
    context, book = json.load(sys.stdin)
    html = context["config"].get("output", {}).get("html", {})
    visit(book.get("items", book.get("sections", [])), html.get("git-repository-url", "").rstrip("/"))
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
