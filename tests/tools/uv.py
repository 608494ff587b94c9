"""Installs the pinned uv, which installs everything else of Python; standard library only.

    python3 tests/tools/uv.py [--path]

uv is taken from the cache, from PATH if its version is the pinned one, or from its wheel on the Python package
index, checked by sha256. A plain Debian has no pip and no venv, so neither is used. ``--path`` installs nothing
and prints the folder.
"""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from install import cache, say

VERSION = "0.13.9"
WHEELS = {
    "aarch64": "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
    "x86_64": "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
}
"""``uname -m`` to the sha256 of the wheel."""

WHEEL_BYTES = 128 << 20


def folder() -> Path:
    return cache() / "tools" / f"uv-{VERSION}"


def index() -> str:
    """The package index that pip and uv are set to use on this machine."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if chosen := os.environ.get(name):
            return chosen.rstrip("/")
    return "https://pypi.org/simple"


def fetch(address: str, accept: str) -> bytes:
    if not address.startswith("https://"):
        raise SystemExit(f"uv: {address} is not https")
    request = urllib.request.Request(address, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read(WHEEL_BYTES + 1)
    if len(body) > WHEEL_BYTES:
        raise SystemExit(f"uv: {address} is larger than {WHEEL_BYTES} bytes")
    return bytes(body)


def wheel() -> bytes:
    """The wheel for this machine, found by its hash in the index (PEP 691) and checked by it."""
    expected = WHEELS.get(platform.machine())
    if expected is None or platform.system() != "Linux":
        machine = f"{platform.system()} {platform.machine()}"
        raise SystemExit(f"uv: no pinned wheel for {machine}; install uv {VERSION} on PATH")
    page = json.loads(fetch(f"{index()}/uv/", "application/vnd.pypi.simple.v1+json"))
    for file in page["files"]:
        if file["hashes"].get("sha256") == expected:
            say(f"uv {VERSION}: downloading")
            body = fetch(urllib.parse.urljoin(f"{index()}/uv/", file["url"]), "*/*")
            if hashlib.sha256(body).hexdigest() != expected:
                raise SystemExit(f"uv: {file['filename']} does not have the sha256 {expected}: not used")
            return body
    raise SystemExit(f"uv: the package index has no uv {VERSION} with sha256 {expected}")


def install() -> None:
    place = folder()
    if (place / "uv").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        target = Path(scratch) / "uv"
        found = shutil.which("uv")
        if found and VERSION in subprocess.run([found, "--version"], capture_output=True, text=True).stdout.split():
            target.symlink_to(found)
        else:
            with zipfile.ZipFile(io.BytesIO(wheel())) as archive:
                target.write_bytes(archive.read(f"uv-{VERSION}.data/scripts/uv"))
            target.chmod(0o755)
        target.rename(place / "uv")
    say(f"uv {VERSION}: ready")


if __name__ == "__main__":
    if sys.argv[1:] == ["--path"]:
        print(folder())
    else:
        install()
