"""An nginx in front of servers, with the settings of docs/dashboard.md."""

import os
import re
import socket
import subprocess
from pathlib import Path

SETTINGS = Path(__file__).resolve().parents[2] / "docs" / "dashboard.md"


def documented() -> str:
    """The documented settings for a server below a path."""
    blocks: list[str] = re.findall(r"^```nginx\n(.*?)^```$", SETTINGS.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{SETTINGS} has {len(blocks)} blocks of settings for nginx"
    assert blocks[0].count("http://127.0.0.1:8000/") == 1, blocks[0]
    return blocks[0]


class Nginx:
    """An nginx with these locations."""

    def __init__(self, directory: Path, locations: str) -> None:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
        # Started by root it would choose a user that has no way into the directory.
        user = "user root;" if os.geteuid() == 0 else ""
        file = directory / "nginx.conf"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
            file.write_text(
                f"daemon off; {user}\npid {directory}/pid;\nevents {{}}\n"
                f"http {{\naccess_log off;\n{temporary}\n"
                f"server {{\nlisten 127.0.0.1:{self.port};\n{locations}}}\n}}\n"
            )
            # It takes over the socket as when it replaces itself, so that nobody can take the port first.
            self.process = subprocess.Popen(
                ["nginx", "-p", directory, "-c", file, "-e", directory / "log"],
                env=os.environ | {"NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        # Not `kill`, which would leave its workers behind.
        self.process.terminate()
        self.process.wait()
