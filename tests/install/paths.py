"""Each way to install that `docs/install.md` has, by its own commands, from a clean place to a lock."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import unit
from packages import Packages
from page import ROOT, commands, replaced
from place import FailedError, Place, held_and_released, run

RELEASES = "https://github.com/pacman82/throttle/releases/download"


def binary(packages: Packages, directory: Path) -> None:
    """The static binary of an archive, with an environment that has nothing but the system."""
    place = Place(directory)
    # The page has the names of one architecture; the files are those of this machine.
    named = f"throttle-{packages.version}-x86_64-unknown-linux-musl.tar.gz"
    replacements = {f"curl -fLO {RELEASES}/v{packages.version}/{named}": f"cp {packages.binary} {named}"}
    held_and_released(place.shell(replaced(commands("The binary"), replacements)))
    shown = subprocess.run(["ldd", directory / "throttle"], capture_output=True, text=True)
    if "statically linked" not in shown.stdout and "not a dynamic executable" not in shown.stderr:
        raise FailedError(f"the binary is not static: {shown.stdout}{shown.stderr}")


def cargo(packages: Packages, directory: Path) -> None:
    """The crates as they are packed, which hold all that they need."""
    bin_of_cargo = Path(shutil.which("cargo") or "cargo").parent
    place = Place(directory, path=(directory / "installed/bin", bin_of_cargo))
    home = Path.home()
    for variable, folder in (("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")):
        place.env.setdefault(variable, os.environ.get(variable, str(home / folder)))
    place.env["CARGO_TARGET_DIR"] = str(packages.target)
    crate = packages.crates / f"throttle-server-{packages.version}"
    install = f"cargo install --quiet --debug --root {directory}/installed --path {crate}"
    replacements = {"cargo install throttle-server": install}
    held_and_released(place.shell(replaced(commands("cargo"), replacements)))


def pip(packages: Packages, directory: Path) -> None:
    """Both wheels by pip, and a lock from Python too."""
    place = Place(directory, path=(Path(sys.executable).resolve().parent,))
    place.env["PIP_FIND_LINKS"] = f"{place.env.get('PIP_FIND_LINKS', '')} {packages.wheels}".strip()
    pinned = f"throttle-server=={packages.version} throttle-client=={packages.version}"
    replacements = {
        "pip install throttle-server throttle-client": f"pip install --quiet {pinned}",
        "http://localhost:8000": place.url,
    }
    said = place.shell(replaced(commands("pip"), replacements))
    held_and_released(said)
    if "held with fencing token" not in said:
        raise FailedError(f"Python held no lock:\n{said}")
    _check_sources(packages, directory)


def _check_sources(packages: Packages, directory: Path) -> None:
    """The source package of the server has all that cargo asks for before it builds."""
    with tarfile.open(packages.sources / f"throttle_server-{packages.version}.tar.gz") as source:
        source.extractall(directory / "source", filter="data")
    unpacked = directory / f"source/throttle_server-{packages.version}"
    manifest = unpacked / "crates/cli/Cargo.toml"
    metadata = run("cargo", "metadata", "--offline", "--format-version", "1", "--manifest-path", manifest)
    ours = [package for package in json.loads(metadata)["packages"] if package["source"] is None]
    sources = [target["src_path"] for package in ours for target in package["targets"]]
    missing = [path for path in sources if not Path(path).exists()]
    pages = unpacked / "crates/server/dashboard/index.html"
    if missing or not pages.exists():
        raise FailedError(f"the source package lacks files: {missing or pages}")


def uv(packages: Packages, directory: Path) -> None:
    """The server's wheel by uv, without an installation."""
    place = Place(directory, path=(packages.tools,))
    place.env |= {"UV_FIND_LINKS": str(packages.wheels), "UV_CACHE_DIR": str(directory / "cache")}
    python = Path(sys.executable).resolve()
    exactly = f"uvx --quiet --python {python} --from throttle-server=={packages.version} "
    replacements = {"uvx --from throttle-server ": exactly}
    held_and_released(place.shell(replaced(commands("uv"), replacements)))


def image(packages: Packages, directory: Path) -> None:
    """The image by Buildah, run in a chroot as its own user, with its health check."""
    place = Place(directory)
    buildah = [
        "buildah", "--root", str(directory / "storage"), "--runroot", str(directory / "run"),
        "--storage-driver", "vfs",
    ]  # fmt: skip
    build = ("bud", "--quiet", "--isolation", "chroot", "--format", "docker", "--tag", "throttle")
    run(*buildah, *build, "--build-context", f"build={packages.image}", ROOT)
    described = json.loads(run(*buildah, "inspect", "--type", "image", "throttle"))["Docker"]["config"]
    if described["User"].split(":")[0] in {"", "0", "root"}:
        raise FailedError("the image runs as root")
    container = run(*buildah, "from", "throttle").strip()
    inside = " ".join([*buildah, "run", "--isolation", "chroot"])
    options = f"--env THROTTLE_PORT={place.port} --env THROTTLE_URL={place.url}"
    health = " ".join(described["Healthcheck"]["Test"][1:])
    start = (
        "docker run --detach --name throttle --publish 127.0.0.1:8000:8000 "
        "--volume throttle:/var/lib/throttle \\\n"
        f"    ghcr.io/pacman82/throttle:{packages.version} --semaphore database=1"
    )
    entry = " ".join(described["Entrypoint"])
    replacements = {
        start: f"{inside} {options} {container} -- {entry} --semaphore database=1 &",
        "docker exec throttle": f"{inside} {options} {container} --",
    }
    checked = f"{inside} {options} {container} -- {health}\n"
    said = place.shell(replaced(commands("The image"), replacements) + checked)
    held_and_released(said)
    if " is ready: Ok" not in said:
        raise FailedError(f"the health check said nothing:\n{said}")
    # The server is gone, and the check says so.
    place.shell(f"! {checked}")
    mounted = Path(run(*buildah, "mount", container).strip())
    owner = (mounted / "var/lib/throttle").stat().st_uid
    run(*buildah, "umount", container)
    if str(owner) != described["User"].split(":")[0]:
        raise FailedError(f"the data directory belongs to {owner}")


def debian(packages: Packages, directory: Path) -> None:
    """The Debian package: installed, started, upgraded, removed and purged on a copy of this machine."""
    named = f"throttle_{packages.version}-1_amd64.deb"
    replacements = {
        f"curl -fLO {RELEASES}/v{packages.version}/{named}": "true",
        "sudo apt install ": "apt-get install --yes --quiet ",
    }
    installing, using = _split(replaced(commands("Debian and Ubuntu"), replacements), "apt-get install")
    with unit.machine(directory) as root:
        place = Place(root / "root/throttle", root=root)
        place.env["DEBIAN_FRONTEND"] = "noninteractive"
        shutil.copy(packages.deb, place.directory / named)
        shutil.copy(packages.next_deb, place.directory / "next.deb")
        place.shell(installing)
        service = root / "lib/systemd/system/throttle.service"
        with _service(place, root, service):
            held_and_released(place.shell(using))
        file = root / "etc/throttle/throttle.toml"
        mine = file.read_text(encoding="utf-8").replace("[semaphores]\n", "[semaphores]\nlicence = 4\n")
        file.write_text(mine, encoding="utf-8")
        place.shell("apt-get install --yes --quiet ./next.deb")
        _is(file.read_text(encoding="utf-8") == mine, "an upgrade keeps the configuration")
        with _service(place, root, service):
            said = place.shell("throttle status")
            _is("database" in said and "licence" in said, f"an upgrade keeps journal and file: {said}")
        place.shell("apt-get remove --yes --quiet throttle")
        _is(not (root / "usr/bin/throttle").exists(), "removed")
        _is(file.exists() and (root / "var/lib/throttle/journal.db").exists(), "what was written is kept")
        place.shell("apt-get purge --yes --quiet throttle")
        left = [name for name in ("etc/throttle", "var/lib/throttle", service) if (root / name).exists()]
        _is(not left, f"a purge leaves nothing: {left}")


def systemd(packages: Packages, directory: Path) -> None:
    """The unit with the binary, on a copy of this machine: started as it says, and judged by systemd."""
    replacements = {
        "sudo ": "",
        " deploy/": f" {ROOT}/deploy/",
        "systemctl enable --now throttle": "true",
    }
    installing, using = _split(replaced(commands("systemd"), replacements), "true")
    with unit.machine(directory) as root:
        place = Place(root / "root/throttle", root=root)
        with tarfile.open(packages.binary) as archive:
            archive.extractall(place.directory, filter="data")
        place.shell(installing)
        service = root / "etc/systemd/system/throttle.service"
        with _service(place, root, service):
            held_and_released(place.shell(using))
        inside = f"/{service.relative_to(root)}"
        said = place.shell(f"systemd-analyze verify {inside}")
        _is(not said, f"systemd has nothing to say of the unit: {said}")
        place.shell(f"systemd-analyze security --offline=true --threshold=20 {inside}")


def _split(block: str, last: str) -> tuple[str, str]:
    """The commands up to the line that begins with `last`, and those after it."""
    lines = block.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines, 1) if line.startswith(last))
    return "".join(lines[:end]), "".join(lines[end:])


def _service(place: Place, root: Path, service: Path) -> AbstractContextManager[object]:
    return unit.started(root, service, "--port", str(place.port))


def _is(so: bool, what: str) -> None:
    if not so:
        raise FailedError(f"not so: {what}")


PATHS: dict[str, Callable[[Packages, Path], None]] = {
    path.__name__: path for path in (binary, cargo, pip, uv, image, debian, systemd)
}
