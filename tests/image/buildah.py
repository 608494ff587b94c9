"""buildah, with images and containers in a folder of its own, of which nothing is left."""

import contextlib
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.bases import Base
from image.support import followed, run, say

NAME = "localhost/portcullis"


@dataclass(frozen=True, slots=True)
class Built:
    """``log`` is what buildah printed; ``cached`` how many steps were taken from before."""

    tag: str
    log: str
    succeeded: bool
    seconds: float

    @property
    def cached(self) -> int:
        return self.log.count("--> Using cache")


@dataclass(frozen=True, slots=True)
class Layer:
    """``compressed`` and ``size`` are bytes: of the gzipped blob that is pulled, and of the files in it."""

    diff_id: str
    compressed: int
    size: int
    step: str


class Buildah:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._driver = self._choose()
        say(f"{run('buildah', '--version').strip()}, storage driver {self._driver}")

    def _choose(self) -> str:
        """overlay where the kernel lets us; vfs, which copies every layer whole, everywhere else."""
        if driver := os.environ.get("STORAGE_DRIVER"):
            return driver
        probe = self._folder / "probe"
        command = [*self._command("overlay", probe), "info"]
        driver = "overlay" if subprocess.run(command, capture_output=True).returncode == 0 else "vfs"
        run("rm", "-rf", probe)
        return driver

    def _command(self, driver: str, folder: Path) -> list[str]:
        places = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        return ["buildah", *places, "--storage-driver", driver]

    def __call__(self, *arguments: str) -> str:
        return run(*self._command(self._driver, self._folder), *arguments).strip()

    def load(self, name: str, base: Base) -> None:
        """Makes an image of a root file system."""
        container = self("from", "scratch")
        self("add", "--quiet", container, str(base.archive), "/")
        self("config", *base.config, container)
        self("commit", "--quiet", "--rm", container, name)

    def build(self, context: Path, tag: str, arguments: Mapping[str, str], *, target: str = "") -> Built:
        """Builds as a runtime that knows HEALTHCHECK has it: in Docker's format, of which OCI's lacks that."""
        command = [
            *self._command(self._driver, self._folder),
            *("build", "--isolation", "chroot", "--format", "docker", "--layers", "--pull-never"),
            *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
            *(("--target", target) if target else ()),
            *("--tag", f"{NAME}:{tag}", str(context)),
        ]
        started = time.monotonic()
        done = followed(command, lambda line: bool(re.match(r"\[\d/\d\] STEP \d+/\d+: (ADD|RUN)", line)))
        built = Built(f"{NAME}:{tag}", done.stdout, done.returncode == 0, time.monotonic() - started)
        say(f"build {tag}: {built.seconds:.1f} s, {built.cached} steps from before")
        return built

    def config(self, tag: str) -> dict[str, Any]:
        """What the image says of how it is run, in Docker's words."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", tag))["Docker"]["config"]
        return found

    def layers(self, tag: str) -> list[Layer]:
        """From the lowest up, as they are pulled."""
        place, name = self._folder / "oci", tag.rpartition(":")[2]
        self("push", "--quiet", tag, f"oci:{place}:{name}")

        def read(descriptor: Mapping[str, Any]) -> Any:
            return json.loads(_blob(place, descriptor).read_text())

        index = json.loads((place / "index.json").read_text())["manifests"]
        (chosen,) = [one for one in index if one["annotations"]["org.opencontainers.image.ref.name"] == name]
        manifest = read(chosen)
        config = read(manifest["config"])
        steps = [one.get("created_by", "") for one in config["history"] if not one.get("empty_layer")]
        return [
            Layer(diff_id, layer["size"], _size(_blob(place, layer)), step)
            for diff_id, layer, step in zip(config["rootfs"]["diff_ids"], manifest["layers"], steps, strict=True)
        ]

    @contextlib.contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """The image's file system."""
        container = self("from", "--pull-never", tag)
        try:
            yield Path(self("mount", container))
        finally:
            self("umount", container)
            self("rm", container)

    def close(self) -> None:
        """Lets nothing of it stay mounted."""
        self("umount", "--all")
        self("rm", "--all")


def _blob(layout: Path, descriptor: Mapping[str, Any]) -> Path:
    digest: str = descriptor["digest"]
    return layout / "blobs" / digest.replace(":", "/")


def _size(layer: Path) -> int:
    with tarfile.open(layer) as archive:
        return sum(member.size for member in archive)
