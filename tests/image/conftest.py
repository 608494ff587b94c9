"""The image, built once from the source as it is, and what the tests do with it. They need root on Debian."""

import functools
import hashlib
import os
import platform
import shutil
import threading
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from image.bases import bases
from image.buildah import NAME, Buildah, Built
from image.container import Image
from image.support import registry, run, snapshot, timed

PROGRAMS = ("buildah", "crun", "debootstrap")
"""Each in Debian's package of the same name."""
ARCHITECTURES = {"x86_64": "AMD64", "aarch64": "ARM64"}
SECONDS = 900
"""For the test that comes first, which makes the bases and builds the image."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def programs() -> None:
    assert os.geteuid() == 0, "the image is built and run as root: sudo make image"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        assert shutil.which("apt-get"), f"{', '.join(missing)}: not there, and this is no Debian to install them on"
        with timed(f"apt-get install {' '.join(missing)}"):
            run("apt-get", "update", "--quiet=2")
            quietly = {"DEBIAN_FRONTEND": "noninteractive"}
            run("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", *missing, env=quietly)


@pytest.fixture(scope="session")
def buildah(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    folder = tmp_path_factory.mktemp("buildah")
    made = Buildah(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("context"))


@pytest.fixture(scope="session")
def arguments(buildah: Buildah) -> Iterator[Mapping[str, str]]:
    """The bases' stand-ins, and the OPA of this machine instead of the released one, on a loopback server."""
    chosen = {}
    for name, base in bases().items():
        chosen[name] = f"localhost/{name.lower()}"
        with timed(f"loading {chosen[name]}"):
            buildah.load(chosen[name], base)
    opa = shutil.which("opa")
    assert opa, "opa is not on PATH: run the tests through `make image`"
    pin = hashlib.sha256(Path(opa).read_bytes()).hexdigest()
    chosen[f"OPA_SHA256_{ARCHITECTURES[platform.machine()]}"] = pin
    handler = functools.partial(Quiet, directory=str(Path(opa).parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {**chosen, "OPA_URL": f"http://127.0.0.1:{server.server_address[1]}/opa"}
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def built(buildah: Buildah, context: Path, arguments: Mapping[str, str]) -> Built:
    done = buildah.build(context, "first", arguments)
    assert done.succeeded, done.log[-4000:]
    return done


@pytest.fixture(scope="session")
def image(buildah: Buildah, built: Built) -> Iterator[Image]:
    """Mounted. Nothing has run in it yet, and nothing that runs in it can change it."""
    with buildah.mounted(built.tag) as root:
        yield Image(root, buildah.config(built.tag))


@pytest.fixture(scope="session")
def published(buildah: Buildah, built: Built) -> Iterator[str]:
    """A registry, ``host:port``, with the image as ``portcullis:docker`` and ``portcullis:oci``, and one that names no
    user as ``nobody:1``."""
    nobody = buildah("from", "scratch")
    buildah("commit", "--quiet", "--rm", nobody, f"{NAME}:nobody")
    images = {"portcullis:docker": (built.tag, "v2s2"), "portcullis:oci": (built.tag, "oci")}
    images["nobody:1"] = (f"{NAME}:nobody", "oci")
    with registry() as host:
        for name, (tag, form) in images.items():
            with timed(f"pushing {name}"):
                buildah("push", "--quiet", "--tls-verify=false", "--format", form, tag, f"docker://{host}/{name}")
        yield host
