"""The commands of `docs/install.md`, section by section, and what takes the place of some."""

import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INDENT = "    "


def commands(title: str) -> str:
    """The first block of commands of a section."""
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    section = next(section for section in sections if section.startswith(f"{title}\n"))
    block = re.search(rf"(?:^{INDENT}.*\n)+", section, flags=re.MULTILINE)
    assert block, f"{title} has no commands"
    return "".join(line.removeprefix(INDENT) for line in block[0].splitlines(keepends=True))


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """The commands with others in place of some; each of these must be there."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, new)
    return text
