"""Rules of style that no other tool checks: the length of files, stray marks, words that do not belong."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_LINES = 500
SOURCES = {".rs", ".py", ".js", ".css", ".html"}
WIDTH = 120

# What decides knows no network, disk, clock, thread or randomness, and tells nobody: its inputs are all
# there is.
PURE = {"core", "node", "journal"}
IMPURE_CRATES = {
    "tokio",
    "tracing",
    "prometheus",
    "rand",
    "fastrand",
    "getrandom",
    "hyper",
    "axum",
    "reqwest",
    "log",
    "libc",
}
IMPURE_CODE = re.compile(
    r"\b(?:Instant::now|SystemTime::now|std::thread|thread::spawn|println!|eprintln!|std::net)\b"
)


def tracked_files() -> list[Path]:
    """All files that git knows, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for line in output.splitlines() if (path := ROOT / line).is_file()]


def is_test(path: Path) -> bool:
    """Tests may be as long as they need to be."""
    return "tests" in path.relative_to(ROOT).parts or path.name in {"tests.rs"}


def lines_of_code(path: Path, text: str) -> int:
    """How many lines a file has before its unit tests."""
    if path.suffix == ".rs":
        text = re.split(r"^#\[cfg\(test\)\]\n(?:#\[expect[^\n]*\n)?mod tests \{", text, flags=re.MULTILINE)[0]
    return len(text.splitlines())


def is_ours(path: Path) -> bool:
    """What others wrote stays as they released it, and what a fuzzer found as it is."""
    return not {"vendor", "corpus"} & set(path.relative_to(ROOT).parts)


def complaints(path: Path) -> list[str]:
    """What is wrong with one file."""
    name = path.relative_to(ROOT)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    found = []
    if path.suffix in SOURCES and not is_test(path) and (lines := lines_of_code(path, text)) > MOST_LINES:
        found.append(f"{name}: {lines} lines of code; at most {MOST_LINES}")
    if path.name != Path(__file__).name:
        found += [
            f"{name}: contains {mark!r}" for mark in ("FIXME", "XXX:", "todo!(", "TODO") if mark in text
        ]
    if text and not text.endswith("\n"):
        found.append(f"{name}: does not end with a newline")
    if path.suffix == ".rs" and not is_test(path) and not text.startswith(("//!", "#![doc")):
        found.append(f"{name}: does not begin with what lives there (//!)")
    if path.suffix in {".rs", ".py"}:
        # A string may be longer: it stays as it is told.
        found += [
            f"{name}:{number}: wider than {WIDTH}"
            for number, line in enumerate(text.splitlines(), 1)
            if len(line) > WIDTH and '"' not in line
        ]
    found += [
        f"{name}:{number}: trailing white space"
        for number, line in enumerate(text.splitlines(), 1)
        if line != line.rstrip() and path.suffix != ".md"
    ]
    return found


def impurities() -> list[str]:
    """What the crates that decide must not depend on, or call. The log may draw the number of a new one."""
    found = []
    for crate in sorted(PURE):
        root = ROOT / "crates" / crate
        manifest = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
        allowed = {"getrandom"} if crate == "journal" else set()
        wrong = IMPURE_CRATES & manifest["dependencies"].keys() - allowed
        found += [f"crates/{crate}: depends on {name}" for name in sorted(wrong)]
        for path in sorted((root / "src").rglob("*.rs")):
            text = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
            found += [f"{path.relative_to(ROOT)}: calls {call}" for call in IMPURE_CODE.findall(text)]
    return found


def main() -> int:
    """Prints what is wrong, if anything is."""
    files = [path for path in tracked_files() if is_ours(path)]
    found = [complaint for path in files for complaint in complaints(path)]
    found += impurities()
    print("\n".join(found) or f"{len(files)} files are tidy")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
