"""Makes the packages that users install, each once: crates, wheels, binary and image, the Debian package.

All of them have a build for development in them: what is tried here is the packing, and a build for a
release takes longer than all tests of it.
"""

import functools
import json
import os
import platform
import re
import shutil
import tarfile
import time
from pathlib import Path

from page import ROOT, replaced
from place import run

MACHINE = platform.machine()
MUSL = f"{MACHINE}-unknown-linux-musl"


class Packages:
    """The packages, below `directory`; what cargo builds for them is shared with all other builds."""

    def __init__(self, directory: Path, tools: Path) -> None:
        self.directory = directory
        self.tools = tools
        self.target = ROOT / "target"
        self.env = os.environ | {"CARGO_TARGET_DIR": str(self.target)}

    @functools.cached_property
    def version(self) -> str:
        """The version of all that is published."""
        return str(next(package["version"] for package in published()))

    @functools.cached_property
    def crates(self) -> Path:
        """The packed crates, unpacked again, as the only members of a workspace."""
        packed = self.directory / "crates"
        names = [str(package["name"]) for package in published()]
        chosen = [argument for name in names for argument in ("--package", name)]
        run(
            "cargo", "package", "--no-verify", "--allow-dirty", "--quiet", *chosen,
            cwd=ROOT, env=os.environ | {"CARGO_TARGET_DIR": str(self.directory / "packed")},
        )  # fmt: skip
        for name in names:
            with tarfile.open(self.directory / f"packed/package/{name}-{self.version}.crate") as crate:
                crate.extractall(packed, filter=_as_new)
        members = [f"{name}-{self.version}" for name in names]
        patches = "".join(f'{name} = {{ path = "{name}-{self.version}" }}\n' for name in names)
        (packed / "Cargo.toml").write_text(
            f'[workspace]\nresolver = "3"\nmembers = {json.dumps(members)}\n\n[patch.crates-io]\n{patches}\n'
            '[profile.dev]\ndebug = "line-tables-only"\n',
            encoding="utf-8",
        )
        # Without the members that are not there.
        shutil.copy(ROOT / "Cargo.lock", packed)
        run("cargo", "update", "--workspace", "--quiet", cwd=packed, env=self.env)
        return packed

    @functools.cached_property
    def wheels(self) -> Path:
        """Wheels and source packages of the client and of the server."""
        wheels = self.directory / "wheels"
        pip = (self.tools / "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels)
        sources = self.directory / "sources"
        run(self.tools / "python", "-m", "build", "--sdist", "--outdir", sources, ROOT / "python")
        # As an installation from the source package does it.
        run(*pip, sources / f"throttle_client-{self.version}.tar.gz")
        maturin, server = self.tools / "maturin", ROOT / "packages/throttle-server"
        run(maturin, "sdist", "--out", sources, cwd=server, env=self.env)
        run(maturin, "build", "--quiet", "--profile", "dev", "--out", wheels, cwd=server, env=self.env)
        return wheels

    @functools.cached_property
    def sources(self) -> Path:
        """The source packages for Python."""
        assert self.wheels
        return self.directory / "sources"

    @functools.cached_property
    def image(self) -> Path:
        """What the first stage of the Dockerfile makes: the folders `image` and `data`.

        Its command runs here, in nothing but what `.dockerignore` lets through.
        """
        context = self.directory / "context"
        for name in self._let_through():
            copy = context / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)
        made = self.directory / "image"
        made.mkdir()
        command = re.search(r"^RUN ((?:.*\\\n)*.*)$", _read("Dockerfile"), flags=re.MULTILINE)
        assert command, "the Dockerfile runs nothing"
        replacements = {
            "cargo build --release": f"cargo build --quiet --target {MUSL}",
            "target/release/": f"{self.target}/{MUSL}/debug/",
            " /image/": f" {made}/image/",
            "mkdir /data": f"mkdir {made}/data",
        }
        run("sh", "-ec", replaced(command[1], replacements), cwd=context, env=self.env)
        return made

    @functools.cached_property
    def binary(self) -> Path:
        """The static binary, packed as the releases have it."""
        archive = self.directory / f"throttle-{self.version}-{MUSL}.tar.gz"
        with tarfile.open(archive, "w:gz") as pack:
            pack.add(self.image / "image/usr/bin/throttle", "throttle")
        return archive

    @functools.cached_property
    def deb(self) -> Path:
        """The Debian package of this version."""
        return self._deb("1")

    @functools.cached_property
    def next_deb(self) -> Path:
        """The one that upgrades it."""
        return self._deb("2")

    def _deb(self, revision: str) -> Path:
        run("cargo", "build", "--quiet", "--package", "throttle-server", cwd=ROOT, env=self.env)
        # Only builds for releases are packed, so this one lies where they do.
        target = self.directory / f"debian-{revision}"
        (target / "release").mkdir(parents=True)
        shutil.copy(self.target / "debug/throttle", target / "release")
        version = f"{self.version}-{revision}"
        command = ("cargo", "deb", "--quiet", "--fast", "--package", "throttle-server", "--no-build")
        env = self.env | {"CARGO_TARGET_DIR": str(target)}
        run(*command, "--deb-version", version, "--output", target, cwd=ROOT, env=env)
        return next(target.glob(f"throttle_{version}_*.deb"))

    def _let_through(self) -> list[str]:
        lines = _read(".dockerignore").splitlines()
        kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
        files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *kept, cwd=ROOT)
        return files.splitlines()


@functools.cache
def published() -> list[dict[str, object]]:
    """The crates that are for others, as `cargo metadata` describes them."""
    metadata = json.loads(run("cargo", "metadata", "--format-version", "1", "--no-deps", cwd=ROOT))
    return [package for package in metadata["packages"] if package["publish"] != []]


def _as_new(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    """A file of an archive with the time of now: to cargo, one with the time in the crate never changes."""
    return tarfile.data_filter(member, path).replace(mtime=time.time())


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
