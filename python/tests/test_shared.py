"""A program under `throttle run` shares the peer of the lock around it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Optional

import httpx
import pytest
from conftest import Server, eventually, first_line

CONFIGURATION = """
[semaphores]
low = 1
mid = { max = 3, level = 1 }
x = { max = 1, deadlock = "detect" }
y = { max = 1, deadlock = "detect" }
"""

PRELUDE = """
import os, sys, threading
import throttle_client
from throttle_client import Client, lock
def say(*words): print(*words, flush=True)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these need a shell")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with levels, and with semaphores on which deadlocks are found."""
    process = Server(tmp_path, CONFIGURATION)
    try:
        if process.see("/v1/semaphores") is None:
            pytest.skip("this server has no /v1")
        yield process
    finally:
        while Inside.running:
            Inside.running.pop().kill()
        process.client.close()
        process.stop()


class Inside:
    """A program under `throttle run`."""

    running: ClassVar[list[Inside]] = []

    def __init__(self, server: Server, locks: str, program: str, shell: str = 'exec "$0" -W error -c "$1"'):
        command = [os.environ["THROTTLE_SERVER"], "run", *locks.split(), "--", "sh", "-c", shell]
        command += [sys.executable, PRELUDE + textwrap.dedent(program)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "THROTTLE_URL": server.url},
        )
        self.running.append(self)

    def line(self) -> str:
        return first_line(self._process)

    def go_on(self) -> None:
        """Let one `input()` return."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self, code: int = 0) -> list[str]:
        """End its input, and return what else it says."""
        output, _ = self._process.communicate()
        assert self._process.returncode == code, output
        return output.splitlines()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.communicate()


def test_a_lock_that_is_held_around_it_is_had_at_once_and_stays_held(server: Server) -> None:
    inside = Inside(
        server,
        "-s low",
        """
        with lock(semaphore="low") as handle:
            say(handle.id, handle.token)
            say(os.environ["THROTTLE_PEER_ID"], os.environ["THROTTLE_FENCING_TOKEN"])
        say("left")
        input()
        """,
    )
    assert inside.line() == inside.line()
    assert inside.line() == "left"
    assert server.client.remainder("low") == 0
    inside.go_on()
    inside.end()
    assert server.client.remainder("low") == 1


def test_a_smaller_count_shrinks_nothing_and_a_larger_one_is_refused(server: Server) -> None:
    inside = Inside(
        server,
        "-s mid -n 2",
        """
        with lock(semaphore="mid"):
            say("inside")
            input()
        try:
            lock(semaphore="mid", count=3).__enter__()
        except throttle_client.HierarchyViolation as error:
            say(error)
        input()
        """,
    )
    assert inside.line() == "inside"
    assert server.client.remainder("mid") == 1
    inside.go_on()
    assert (
        "is held with count 2 by a lock around this process, so a count of 3 would wait for what"
        in inside.line()
    )
    assert server.client.remainder("mid") == 1
    inside.go_on()
    inside.end()


def test_it_releases_its_own_lock_only(server: Server) -> None:
    inside = Inside(
        server,
        "-s mid",
        """
        for _ in range(2):
            with lock(semaphore={"low": 1, "mid": 1}, ttl=1) as handle:
                say(handle.id, *sorted(handle.tokens))
                input()
            say("left")
            input()
        """,
    )
    holder = server.see("/v1/semaphores/mid")["holders"][0]["peer"] if inside.line() else None
    for again in (True, False):
        assert server.see("/v1/semaphores/low")["holders"][0]["peer"] == holder
        inside.go_on()
        assert inside.line() == "left"
        assert (server.client.remainder("low"), server.client.remainder("mid")) == (1, 2)
        inside.go_on()
        if again:
            assert inside.line() == f"{holder} low mid"
    inside.end()
    assert server.client.remainder("mid") == 3


def test_levels_count_unless_it_has_a_client_of_its_own(server: Server) -> None:
    inside = Inside(
        server,
        "-s low",
        """
        try:
            lock(semaphore="mid").__enter__()
        except throttle_client.HierarchyViolation:
            say("refused")
        with Client() as client, lock(client, "mid"):
            say("granted")
        """,
    )
    assert inside.end() == ["refused", "granted"]


def test_a_deadlock_is_found(server: Server) -> None:
    inside = Inside(
        server,
        "-s x",
        """
        input()
        try:
            lock(semaphore="y").__enter__()
        except throttle_client.Deadlock:
            say("refused")
        """,
    )
    eventually(lambda: server.client.remainder("x") == 0)
    other = server.client.new_peer(3600)
    assert server.client.acquire(other, "y")
    assert not server.client.acquire(other, "x")
    inside.go_on()
    assert inside.line() == "refused"
    inside.end()


THREADS = """

def work():
    with lock(semaphore="mid"), lock(semaphore="low") as handle:
        say(handle.id)
        input()
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

TASKS = """
import asyncio
async def work():
    async with lock(semaphore="mid"), lock(semaphore="low") as handle:
        say(handle.id)
        await asyncio.to_thread(input)
async def main():
    await asyncio.gather(work(), work())
asyncio.run(main())
"""

PROCESSES = """
def work():
    with lock(semaphore="mid"), lock(semaphore="low") as handle:
        say(handle.id)
        input()
child = os.fork()
work()
if child: os.waitpid(child, 0)
"""


@pytest.mark.parametrize("program", [THREADS, TASKS, PROCESSES], ids=["threads", "tasks", "processes"])
def test_those_side_by_side_exclude_each_other_and_find_what_is_around_them(
    server: Server, program: str
) -> None:
    inside = Inside(server, "-s mid -n 3", program)
    first = inside.line()
    eventually(lambda: server.pending("low") == 1)
    inside.go_on()
    assert inside.line() != first
    inside.go_on()
    assert inside.end() == []
    assert (server.client.remainder("low"), server.client.remainder("mid")) == (1, 3)


def test_one_that_gives_up_withdraws_its_request(server: Server) -> None:
    other = server.client.new_peer(3600)
    assert server.client.acquire(other, "low")
    inside = Inside(
        server,
        "-s mid",
        """
        try:
            lock(semaphore="low", timeout=0).__enter__()
        except throttle_client.Timeout:
            say("gave up")
        input()
        """,
    )
    assert inside.line() == "gave up"
    assert server.pending("low") == 0
    assert server.client.remainder("mid") == 2
    inside.go_on()
    inside.end()


def test_what_is_taken_from_the_lock_around_it_is_a_loss(server: Server) -> None:
    # It outlives SIGTERM, and renews often enough to learn of the loss before SIGKILL, a second later.
    inside = Inside(
        server,
        "-s mid --ttl 3s",
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with lock(semaphore="mid", on_lost="ignore") as handle:
            say(handle.id)
            handle.lost.wait(None)
            say(handle.lost.loss.reason, handle.lost.loss.detail)
        """,
        'THROTTLE_PEER_TTL_MS=1500 exec "$0" -c "$1"',
    )
    server.kick(int(inside.line()), "stuck")
    assert "stuck" in inside.line()
    inside.end(76)


@pytest.mark.parametrize("forks", [False, True])
def test_what_a_killed_one_held_comes_free_while_the_lock_around_it_goes_on(
    server: Server, forks: bool
) -> None:
    inside = Inside(
        server,
        "-s mid --ttl 3s",
        f"""
        with lock(semaphore="low") as handle:
            if {forks} and os.fork() == 0:
                sys.stdin.read()
                os._exit(0)
            say(handle.id)
            os.kill(os.getpid(), 9)
        """,
        '"$0" -c "$1"; echo killed; read x; true',
    )
    holder = inside.line()
    assert inside.line() == "killed"
    eventually(lambda: server.client.remainder("low") == 1, 30)
    assert server.see("/v1/semaphores/mid")["holders"][0]["peer"] == holder
    inside.end()


def test_a_server_that_forgot_everything_gets_all_back(server: Server) -> None:
    inside = Inside(
        server,
        "-s mid --ttl 12s",
        """
        with lock(semaphore="low") as handle:
            say(handle.id)
            input()
            handle.check()
        """,
    )
    holder = inside.line()

    def holders(semaphore: str) -> list[str]:
        with contextlib.suppress(httpx.HTTPError):
            return [entry["peer"] for entry in server.see(f"/v1/semaphores/{semaphore}")["holders"]]
        return []

    server.stop()
    server.start()
    for semaphore in ("low", "mid"):
        eventually(lambda semaphore=semaphore: holders(semaphore) == [holder], 30)
    inside.go_on()
    inside.end()
    assert (server.client.remainder("low"), server.client.remainder("mid")) == (1, 3)


def in_environment(url: str, peer: int, other_url: Optional[str] = None) -> subprocess.CompletedProcess[str]:
    """Take a lock where an outer one left these variables."""
    program = PRELUDE + 'with lock(semaphore="low") as handle: say(handle.id)'
    environment = {
        **os.environ,
        "THROTTLE_URL": url,
        "THROTTLE_PEER_URL": other_url or url,
        "THROTTLE_PEER_ID": str(peer),
        "THROTTLE_PEER_TTL_MS": "60000",
    }
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, text=True, capture_output=True, check=True
    )


def test_a_peer_that_is_gone_is_told_of_and_one_of_another_server_is_not(server: Server) -> None:
    gone = in_environment(server.url, 42)
    assert gone.stdout.strip() != "42"
    assert f"peer 42 at {server.url}, which THROTTLE_PEER_ID names, is not to be shared" in gone.stderr
    other = in_environment(server.url, 42, "http://elsewhere:8000")
    assert other.stderr == ""
    peer = server.client.new_peer(3600)
    known = in_environment(server.url, peer)
    assert known.stdout.strip() != str(peer), "nothing says who else uses it"
    assert known.stderr == ""


def test_a_local_peer_that_is_kept_can_be_used_again(server: Server) -> None:
    inside = Inside(
        server,
        "-s mid",
        """
        from throttle_client import get_local_peer, set_local_peer
        url = os.environ["THROTTLE_URL"]
        with lock(url, "low") as handle:
            peer = get_local_peer(url)
            say(peer.id)
        set_local_peer(url, peer)
        with lock(url, "low") as handle:
            say(handle.id)
        """,
    )
    first, second = inside.end()
    assert first == second
    assert (server.client.remainder("low"), server.client.remainder("mid")) == (1, 3)
