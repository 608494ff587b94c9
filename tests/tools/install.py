"""Installs the pinned programs that Portcullis and its tests use; standard library only.

    python3 tests/tools/install.py [--path] [NAME ...]

Each program is taken from where it is first found: the cache, PATH (if its version is the pinned one), an
official release checked by sha256 (where one is pinned below), or its Go module built from the folder beside this
file that pins it (go.sum checks the sources). The cache is outside the checkout: $PORTCULLIS_CACHE, else
$XDG_CACHE_HOME/portcullis, else ~/.cache/portcullis. ``--path`` installs nothing and prints the folders of all
pinned programs, ready for PATH.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHUNK = 1 << 20
DOWNLOAD_BYTES = 256 << 20


@dataclass(frozen=True)
class Program:
    """One pinned program.

    ``module`` is the folder beside this file whose go.mod pins it, by the version of ``pins`` where the program itself
    is a few lines in that folder; ``stamp`` the variables that hold its version, which a build from a module leaves
    empty; ``tags`` are Go's build tags; ``releases`` maps ``uname -m`` to (address, sha256) of an official binary.
    """

    name: str
    version: str
    package: str
    version_command: tuple[str, ...]
    module: str
    stamp: tuple[str, ...] = ()
    pins: str = ""
    tags: str = ""
    releases: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def ldflags(self) -> str:
        return " ".join(["-s -w", *(f"-X {value}" for value in self.stamp)])


def _kubernetes(name: str) -> Program:
    version = "1.37.2"
    return Program(
        name=name,
        version=version,
        package=f"k8s.io/kubernetes/cmd/{name}",
        # What kubectl says of its client is not on one line with --version, which the servers have.
        version_command=("version", "--client") if name == "kubectl" else ("--version",),
        module="kubernetes",
        stamp=(f"k8s.io/component-base/version.gitVersion=v{version}",),
    )


PROGRAMS = (
    Program(
        name="opa",
        version="1.21.0",
        package="github.com/open-policy-agent/opa",
        version_command=("version",),
        module="opa",
        releases={
            "x86_64": (
                "https://github.com/open-policy-agent/opa/releases/download/v1.21.0/opa_linux_amd64_static",
                "5eef70644868bb04d0556bcc795ee42f2ab379e73f51d1bfa30f83e1305bc9b9",
            ),
            "aarch64": (
                "https://github.com/open-policy-agent/opa/releases/download/v1.21.0/opa_linux_arm64_static",
                "0ec34027c15b4d969c21d01ed570fe14fbebd508a08157043ab09f9a0dccbee6",
            ),
        },
    ),
    Program(
        name="regal",
        version="0.42.0",
        package="github.com/open-policy-agent/regal",
        version_command=("version",),
        module="regal",
        stamp=("github.com/open-policy-agent/regal/pkg/version.Version=0.42.0",),
    ),
    Program(
        name="crane",
        version="0.22.1",
        package="github.com/google/go-containerregistry/cmd/crane",
        version_command=("version",),
        module="crane",
        stamp=(
            "github.com/google/go-containerregistry/cmd/crane/cmd.Version=0.22.1",
            "github.com/google/go-containerregistry/pkg/v1/remote/transport.Version=0.22.1",
        ),
    ),
    Program(
        name="registry",
        version="3.1.2",
        package="github.com/distribution/distribution/v3/cmd/registry",
        version_command=("--version",),
        module="registry",
        stamp=("github.com/distribution/distribution/v3/version.version=v3.1.2",),
    ),
    Program(
        name="referrers-registry",
        version="0.22.1",
        package="portcullis.dev/tests/tools/referrers",
        version_command=("--version",),
        module="referrers",
        pins="github.com/google/go-containerregistry",
        stamp=("main.version=0.22.1",),
    ),
    Program(
        name="etcd",
        version="3.7.3",
        package="go.etcd.io/etcd/server/v3",
        version_command=("--version",),
        module="etcd",
    ),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kubectl"),
    Program(
        name="helm",
        version="4.3.1",
        package="helm.sh/helm/v4/cmd/helm",
        version_command=("version", "--template", "{{.Version}}"),
        module="helm",
        stamp=("helm.sh/helm/v4/internal/version.version=v4.3.1",),
    ),
    Program(
        name="kubeconform",
        version="0.8.0",
        package="github.com/yannh/kubeconform/cmd/kubeconform",
        version_command=("-v",),
        module="kubeconform",
        stamp=("main.version=v0.8.0",),
    ),
    Program(
        name="helm-unittest",
        version="1.1.2",
        package="github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
        version_command=("--help",),  # it does not tell its version, so one on PATH is never taken
        module="helmunittest",
    ),
    Program(
        name="helm-docs",
        version="1.14.2",
        package="github.com/norwoodj/helm-docs/cmd/helm-docs",
        version_command=("--version",),
        module="helmdocs",
        stamp=("main.version=1.14.2",),
    ),
    Program(
        name="promtool",
        version="0.316.0",
        package="github.com/prometheus/prometheus/cmd/promtool",
        version_command=("--version",),
        module="promtool",
        stamp=("github.com/prometheus/common/version.Version=0.316.0",),
        tags="remove_all_sd",  # the clients of every cloud would take most of the time
    ),
    Program(
        name="cosign",
        version="3.1.3",
        package="github.com/sigstore/cosign/v3/cmd/cosign",
        version_command=("version",),
        module="cosign",
        stamp=("sigs.k8s.io/release-utils/version.gitVersion=v3.1.3",),
    ),
)


def cache() -> Path:
    """The folder that everything is kept in, outside the checkout."""
    if chosen := os.environ.get("PORTCULLIS_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "portcullis"


def folder(program: Program) -> Path:
    return cache() / "tools" / f"{program.name}-{program.version}"


def say(text: str) -> None:
    print(f"tools: {text}", file=sys.stderr, flush=True)


def on_path(program: Program) -> Path | None:
    """The program on PATH, if it is of the pinned version."""
    found = shutil.which(program.name)
    if not found:
        return None
    done = subprocess.run([found, *program.version_command], capture_output=True, text=True, timeout=30, check=False)
    words = done.stdout.replace("\n", " ").split()
    return Path(found) if program.version in words or f"v{program.version}" in words else None


def download(program: Program, target: Path) -> bool:
    """The official release for this machine, checked by sha256. False where there is none or none is reached."""
    release = program.releases.get(platform.machine())
    if release is None or platform.system() != "Linux":
        return False
    address, expected = release
    say(f"{program.name} {program.version}: downloading")
    digest, size, shown = hashlib.sha256(), 0, time.monotonic()
    try:
        with urllib.request.urlopen(address, timeout=20) as answer, target.open("wb") as out:
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                if size > DOWNLOAD_BYTES:
                    raise SystemExit(f"tools: {address} is larger than {DOWNLOAD_BYTES} bytes")
                digest.update(chunk)
                out.write(chunk)
                if time.monotonic() - shown > 2:
                    shown = time.monotonic()
                    say(f"{program.name} {program.version}: {size >> 20} MiB")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        say(f"{program.name} {program.version}: no download ({error})")
        return False
    if digest.hexdigest() != expected:
        raise SystemExit(f"tools: {address} has sha256 {digest.hexdigest()}, expected {expected}: not used")
    return True


def build(program: Program, target: Path) -> None:
    """Builds the program from the module that pins it, and shows that it goes on."""
    go = shutil.which("go")
    if go is None:
        raise SystemExit(
            f"tools: {program.name} {program.version} is neither on PATH nor could it be downloaded, "
            "and there is no Go to build it with. Install Go 1.26 or newer, or put the program on PATH."
        )
    say(f"{program.name} {program.version}: building with Go (a few minutes the first time)")
    command = [go, "build", "-trimpath", "-tags", program.tags, "-ldflags", program.ldflags]
    command += ["-o", str(target), program.package]
    started = time.monotonic()
    done = threading.Event()

    def progress() -> None:
        while not done.wait(10):
            say(f"{program.name} {program.version}: still building, {time.monotonic() - started:.0f} s")

    threading.Thread(target=progress, daemon=True).start()
    try:
        subprocess.run(command, cwd=HERE / program.module, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"tools: building {program.name} failed with exit code {error.returncode}") from None
    finally:
        done.set()
    say(f"{program.name} {program.version}: built in {time.monotonic() - started:.0f} s")


def install(program: Program) -> None:
    """Leaves the program in its cache folder; the last step is a rename, so that a broken run leaves nothing."""
    place = folder(program)
    if (place / program.name).exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        target = Path(scratch) / program.name
        if found := on_path(program):
            say(f"{program.name} {program.version}: found at {found}")
            target.symlink_to(found)
        else:
            if not download(program, target):
                build(program, target)
            target.chmod(0o755)
        target.rename(place / program.name)
    say(f"{program.name} {program.version}: ready")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--path", action="store_true", help="print the folders of all programs and end")
    arguments.add_argument("names", nargs="*", choices=[[], *(program.name for program in PROGRAMS)])
    chosen = arguments.parse_args()
    if chosen.path:
        print(os.pathsep.join(str(folder(program)) for program in PROGRAMS))
        return
    for program in PROGRAMS:
        if not chosen.names or program.name in chosen.names:
            install(program)


if __name__ == "__main__":
    main()
