"""A service of systemd without systemd: what its unit says of directories, user and command, done by hand."""

import contextlib
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from place import SYSTEM, FailedError

PATIENCE = 30


def settings(unit: Path) -> dict[str, str]:
    """What a unit says; of a key that comes several times the last one."""
    lines = [line.partition("=") for line in unit.read_text(encoding="utf-8").splitlines()]
    return {key: value for key, _, value in lines if value and not key.startswith("#")}


class Notices:
    """The socket on which a service says how it is."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)
        path.chmod(0o777)

    def until(self, notice: str) -> None:
        """Waits until the service has said this."""
        said = ""
        while notice not in said.splitlines():
            try:
                said = self._socket.recv(4096).decode()
            except TimeoutError:
                raise FailedError(f"the service did not say {notice}") from None


@contextlib.contextmanager
def started(root: Path, unit: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A service that runs in `root` and is ready, with more arguments than its unit has; then it stops."""
    says = settings(unit)
    assert says["Type"] == "notify", "only a service that says so is known to be ready"
    user = says["User"]
    for kind, where in (("StateDirectory", "var/lib"), ("RuntimeDirectory", "run")):
        directory = root / where / says[kind]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The owner is known in there only.
        subprocess.run(["chroot", root, "chown", "-R", f"{user}:", f"/{where}/{says[kind]}"], check=True)
    notify = root / "run/notify"
    notify.unlink(missing_ok=True)
    notices = Notices(notify)
    log = root / "var/log/throttle.log"
    command: list[str | Path] = [
        *("chroot", root, "setpriv", f"--reuid={user}", f"--regid={says['Group']}", "--clear-groups"),
        *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
        *shlex.split(says["ExecStart"]),
        *arguments,
    ]
    env = {"PATH": SYSTEM, "NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "1000000"}
    with log.open("wb") as output:
        service = subprocess.Popen(command, env=env, stderr=output)
    try:
        notices.until("READY=1")
        notices.until("WATCHDOG=1")
        yield service
        service.send_signal(signal.SIGTERM)
        notices.until("STOPPING=1")
        if code := service.wait(PATIENCE):
            raise FailedError(f"the service ended with {code}")
    except FailedError as error:
        raise FailedError(f"{error}\n{log.read_text(encoding='utf-8')}") from None
    finally:
        service.kill()
        service.wait()


@contextlib.contextmanager
def machine(directory: Path) -> Iterator[Path]:
    """A copy of this machine in which anything may be changed: only what is changed is copied, into memory.

    Needs a namespace of mounts of its own, so that nothing is left of it.
    """
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    upper, work, root = (directory / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    options = f"lowerdir=/,upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True)
    try:
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", root / "dev"], check=True)
        # A name server may have been found by way of /run.
        resolv = root / "etc/resolv.conf"
        resolv.unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", resolv)
        yield root
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", directory], check=True)
