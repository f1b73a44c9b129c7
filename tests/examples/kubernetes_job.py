"""Checks `examples/kubernetes/job.yaml`, and plays its container: pods wait, and release on SIGTERM.

Kubernetes itself is not here.
"""

import signal
import tempfile
from pathlib import Path

import yaml
from _shared import (
    EXAMPLES,
    environment,
    most_at_once,
    noting,
    peers,
    program,
    server_binary,
    start,
    succeeded,
)
from server import PATIENCE, serving, until


def seconds(duration: str) -> int:
    """A duration of whole seconds."""
    assert duration.endswith("s"), duration
    return int(duration.removesuffix("s"))


def main() -> None:
    """The manifest, then three of its pods, then one that is asked to stop."""
    binary = server_binary()
    job = yaml.safe_load((EXAMPLES / "kubernetes" / "job.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = [*container["command"], *container["args"]]
    stop = seconds(command[command.index("--stop-timeout") + 1])
    assert pod["terminationGracePeriodSeconds"] > stop
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert variables.keys() == {"THROTTLE_URL", "THROTTLE_TOKEN_FILE"}
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]
    (source,) = volume["projected"]["sources"]
    there = f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"
    assert (mount["name"], there) == (volume["name"], variables["THROTTLE_TOKEN_FILE"])

    with serving(binary, "[semaphores]\ndatabase = 1\n") as server, tempfile.TemporaryDirectory() as folder:
        journal, begun = Path(folder) / "journal", Path(folder) / "begun"
        here = environment(server, binary)
        work = program(Path(folder) / "import.sh", noting(journal, "import"))
        assert command[-1] == "/app/import.sh"
        succeeded([start([*command[:-1], work], here) for _ in range(3)])
        assert most_at_once(journal) == {"import": 1}

        sleeper = program(Path(folder) / "sleep.sh", f"touch {begun}; exec sleep 3600")
        evicted = start([*command[:-1], sleeper], here)
        until(begun.exists, "it works")
        evicted.send_signal(signal.SIGTERM)
        assert evicted.wait(PATIENCE) == 128 + signal.SIGTERM
        assert peers(server) == [], "the lock is given back before the container has ended"


if __name__ == "__main__":
    main()
