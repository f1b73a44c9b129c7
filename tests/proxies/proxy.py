"""nginx and HAProxy with the settings of `docs/proxies.md`, as processes on free ports of the loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server import PATIENCE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"


def documented(language: str, server: str) -> str:
    """The settings that the page has for a proxy, with the server that is to be asked."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{PAGE} has {len(blocks)} blocks of {language}"
    return replaced(blocks[0], "127.0.0.1:8000", server)


def replaced(text: str, old: str, new: str) -> str:
    """The text with one word of it replaced, which must be there once."""
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times:\n{text}"
    return text.replace(old, new)


@contextmanager
def nginx(server: str, *, decodes: bool = False, hides: str = "") -> Iterator[str]:
    """The URL of an nginx as documented; or of one that decodes paths, by a URI behind the address.

    What begins with `hides` it answers itself, with 404.
    """
    settings = documented("nginx", server)
    if hides:
        settings = replaced(settings, "location / {", f"location {hides} {{ return 404; }}\nlocation / {{")
    if decodes:
        settings = replaced(settings, "proxy_pass http://throttle;", "proxy_pass http://throttle/;")
    with listening() as listener, tempfile.TemporaryDirectory() as folder:
        settings = replaced(settings, "listen 80;", f"listen 127.0.0.1:{port_of(listener)};")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        # Started by root it would choose a user that has no way into the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        file = Path(folder) / "nginx.conf"
        file.write_text(
            f"daemon off; {user}\npid {folder}/pid;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}\n{settings}\n}}\n"
        )
        command = ["nginx", "-p", folder, "-c", str(file), "-e", "stderr"]
        # A socket that is there already, as when nginx replaces itself.
        with running(command, listener, {"NGINX": f"{listener.fileno()};"}):
            yield f"http://127.0.0.1:{port_of(listener)}"


@contextmanager
def haproxy(server: str) -> Iterator[str]:
    """The URL of an HAProxy as documented."""
    settings = documented("haproxy", server)
    with listening() as listener, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(replaced(settings, "bind :80", f"bind fd@{listener.fileno()}"))
        with running(["haproxy", "-db", "-f", str(file)], listener, {}):
            yield f"http://127.0.0.1:{port_of(listener)}"


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket that listens on a port which the system chose, so that nobody can take it first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    """Its port."""
    port: int = listener.getsockname()[1]
    return port


@contextmanager
def running(command: list[str], listener: socket.socket, environment: dict[str, str]) -> Iterator[None]:
    """A process that answers on the socket. If the block fails, its log is printed."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment},
            pass_fds=[listener.fileno()],
        )
        try:
            yield
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
        except BaseException:
            log.seek(0)
            print(f"--- output of {command[0]}", log.read(), sep="\n", file=sys.stderr, flush=True)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
