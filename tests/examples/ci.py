"""Plays `examples/ci`: the scripts of their jobs are run as GitHub Actions and GitLab run them.

What only these services do is not here: runners, checkouts, secrets, and the conditions of steps.
"""

import argparse
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from server import Server, serving

CI = Path(__file__).resolve().parents[2] / "examples" / "ci"
LOST = 76


def left_of(server: Server) -> int:
    """What is left of the semaphore."""
    with urllib.request.urlopen(f"{server.url}/remainder?semaphore=deploy") as answer:
        left: int = json.load(answer)
    return left


def load(name: str) -> Any:
    """An example, read as the service reads it."""
    return yaml.safe_load((CI / name).read_text())


def shell(script: str, folder: Path, variables: Mapping[str, str]) -> int:
    """Runs a script, as both services do: it ends with the first command that fails."""
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=variables, check=False)
    return done.returncode


def lines(path: Path) -> dict[str, str]:
    """A file of variables, as both services read it: what is right of the first equals sign, as it is."""
    found = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in found}


def programs(folder: Path, names: Iterable[str], exit_code: int) -> None:
    """The programs that work under the lock: they note what it is like."""
    for name in names:
        program = folder / name
        program.write_text(f"#!/bin/sh\nthrottle status deploy -o json >> left\nexit {exit_code}\n")
        program.chmod(0o755)


def environment(server: Server, binary: Path, more: Mapping[str, str]) -> dict[str, str]:
    """What a runner gives to its scripts."""
    path = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "THROTTLE_URL": server.url, **more}


def github(server: Server, binary: Path, folder: Path, exit_code: int) -> None:
    """A run of the workflow, whose programs end like this."""
    programs(folder, ["migrate.sh", "deploy.sh"], exit_code)
    variables = folder / "variables"
    variables.touch()
    (job,) = load("github-actions.yml")["jobs"].values()
    failed = False
    ran = []
    for step in job["steps"]:
        if "run" not in step or failed != ("failure()" in step.get("if", "")):
            continue
        more = {"GITHUB_ENV": str(variables), "GITHUB_RUN_ID": "7", **lines(variables)}
        ran.append(step["name"])
        failed |= shell(step["run"], folder, environment(server, binary, more)) != 0
        if len(ran) == 1:
            assert left_of(server) == 0, "the first step has left the lock held"
    expected = ["Wait for the lock", "Migrate", "Give the lock back" if exit_code else "Deploy"]
    assert (ran, failed) == (expected, bool(exit_code)), (ran, failed)
    assert '"remainder": 1' not in (folder / "left").read_text(), "it worked under the lock"
    assert left_of(server) == 1, "it is given back"


def gitlab(server: Server, binary: Path, folder: Path) -> None:
    """A pipeline, and one whose lock is lost."""
    programs(folder, ["deploy.sh"], 0)
    text = load("gitlab-ci.yml")

    def job(name: str) -> int:
        more = {"CI_PIPELINE_ID": "7", **(lines(folder / "lock.env") if name != "lock" else {})}
        return shell("\n".join(text[name]["script"]), folder, environment(server, binary, more))

    assert text["lock"]["artifacts"]["reports"]["dotenv"] == "lock.env"
    assert [job(stage) for stage in text["stages"]] == [0, 0, 0]
    assert '"remainder": 0' in (folder / "left").read_text(), "it worked under the lock"
    assert left_of(server) == 1, "it is given back"

    assert job("lock") == 0
    peer = lines(folder / "lock.env")["THROTTLE_PEER_ID"]
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/peers/{peer}", method="DELETE")).close()
    assert job("deploy") == LOST


def main() -> None:
    """Plays both, with a server of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, type=Path)
    binary = parser.parse_args().server.resolve(strict=True)
    with tempfile.TemporaryDirectory() as folder, serving(binary, "[semaphores]\ndeploy = 1\n") as server:
        for name, exit_code in (("succeeds", 0), ("fails", 3)):
            place = Path(folder) / name
            place.mkdir()
            github(server, binary, place, exit_code)
        place = Path(folder) / "gitlab"
        place.mkdir()
        gitlab(server, binary, place)


if __name__ == "__main__":
    main()
