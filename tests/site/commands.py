"""Runs the commands of the pages, and looks for their other blocks in files that tests run.

The blocks of `sh` of one page are run one after the other, in a folder and with a server of the page's own.
What cannot run here is marked `sh,not-run`, says why on the page, and is listed. A block of another
language stands word for word in a file of the repository that a test runs; `text` is only looked at. Of a
command within the text or a table, which may name what is not there, the subcommand and its flags have to
be known.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pages import CHECKED, PAGES, ROOT, Block, blocks, inline_commands
from server import PATIENCE, Server

# Where the blocks of other languages come from. All of these are run by tests.
SOURCES = ["examples", "crates/client/examples"]
# Commands that have subcommands.
GROUPS = {"semaphore", "token", "cluster", "journal"}
# What is shown and not claimed to be in a file.
SHOWN = {"text", ""}
CONFIGURATION = """\
[semaphores]
database = 3
board = 1
"""


@contextmanager
def site(binary: Path) -> Iterator[tuple[Server, Path]]:
    """A durable server, and the folder that it works in, as a reader of the pages has them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration = f'{CONFIGURATION}[durability]\ndata_dir = "{folder}/data"\n'
        server = Server(binary, 0, folder, configuration)
        server.start()
        try:
            yield server, folder
        except BaseException:
            print(server.output(), file=sys.stderr)
            raise
        finally:
            server.stop()


def environment(server: Server, binary: Path) -> dict[str, str]:
    """The commands find `throttle`, and it the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THROTTLE_")}
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    client = str(ROOT / "python" / "src")
    return {**kept, "PATH": path, "PYTHONPATH": client, "THROTTLE_URL": server.url}


def run(page: str, binary: Path) -> list[str]:
    """What is wrong with the commands of a page."""
    found = blocks(page)
    shell = [block for block in found if block.language == "sh" and "not-run" not in block.marks]
    programs = [block for block in found if block.language == "python" and stands_alone(block)]
    if not shell and not programs:
        return []
    wrong = []
    with site(binary) as (server, folder):
        steps = [(block, ["bash", "-euo", "pipefail", "-c", block.text]) for block in shell]
        steps += [(block, [sys.executable, "-c", block.text]) for block in programs]
        for block, command in steps:
            here = [part.replace("http://localhost:8000", server.url) for part in command]
            done = subprocess.run(
                here,
                cwd=folder,
                env=environment(server, binary),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=2 * PATIENCE,
                check=False,
            )
            if done.returncode != 0:
                output = textwrap.indent(done.stdout, "    ")
                wrong.append(
                    f"{block.where}: {shlex.join(command[:1])} ends with {done.returncode}\n{output}"
                )
    return wrong


def stands_alone(block: Block) -> bool:
    """A program that needs nothing around it."""
    return block.text.startswith(("from ", "import "))


def plain(text: str) -> str:
    """Without what depends on where it stands."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


@cache
def sources() -> list[str]:
    """The texts of all files that blocks may come from."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *SOURCES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [plain((ROOT / line).read_text()) for line in listed.splitlines() if (ROOT / line).is_file()]


def nowhere(page: str) -> list[str]:
    """Blocks of a page that stand in no file that a test runs."""
    wrong = []
    for block in blocks(page):
        if block.language in SHOWN or block.language == "sh":
            continue
        if block.language == "python" and stands_alone(block):
            continue
        if not any(plain(block.text) in source for source in sources()):
            wrong.append(f"{block.where}: this {block.language} stands in no file that a test runs")
    return wrong


@cache
def usage(binary: Path, words: tuple[str, ...]) -> str:
    """What the command says of itself; empty if there is no such command."""
    done = subprocess.run([binary, *words, "--help"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def unknown(page: str, binary: Path) -> list[str]:
    """Commands within the text of a page that there are not, or not with these flags."""
    wrong = []
    for code in inline_commands(page):
        words = shlex.split(code.partition(" -- ")[0])[1:]
        end = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
        # Before the flags, one word is a subcommand, or two if the first has some of its own and no
        # name comes next.
        is_name = len(words) > 1 and words[1].isupper()
        known = tuple(words[: min(end, 2 if words[0] in GROUPS and not is_name else 1)])
        told = usage(binary, known)
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        wrong += [f"docs/{page}: {code}: no such command"] if not told else []
        wrong += [f"docs/{page}: {code}: no {flag}" for flag in flags if told and not has(told, flag)]
    return wrong


def has(told: str, flag: str) -> bool:
    """Whether a command has the flag, by what it says of itself."""
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", told) is not None


def main() -> int:
    """Prints what is wrong, if anything is, and what was not run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", required=True, type=Path, help="the server binary")
    parser.add_argument("--only", help="one page, such as start.md")
    arguments = parser.parse_args()
    binary = arguments.server.resolve(strict=True)
    wrong, ran, inline = [], 0, 0
    for page in PAGES if arguments.only is None else [arguments.only]:
        wrong += unknown(page, binary)
        inline += len(inline_commands(page))
        if page not in CHECKED:
            continue
        wrong += run(page, binary) + nowhere(page)
        ran += sum(block.language == "sh" and "not-run" not in block.marks for block in blocks(page))
        for block in blocks(page):
            if "not-run" in block.marks:
                print(f"not run: {block.where}: {block.text.splitlines()[0]}")
    print("\n".join(wrong) or f"{ran} blocks of commands ran; {inline} commands in the text are known")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
