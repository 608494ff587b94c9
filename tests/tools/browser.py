"""Installs what the tests in a browser need, Chromium and axe-core; standard library only.

    python3 tests/tools/browser.py [--axe]

Chromium is Debian's package: taken from PATH, else installed by apt-get where we are root. axe-core, which looks for
faults that keep people out, is one file of its package in npm's registry, checked by sha512 and kept in the cache
(install.py). ``--axe`` installs nothing and prints that file.
"""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from install import cache, say

CHROMIUM = "chromium"
VERSION = "4.14.1"
ADDRESS = f"https://registry.npmjs.org/axe-core/-/axe-core-{VERSION}.tgz"
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
"""sha512 of the package, in base64, as the registry states it."""

PACKAGE_BYTES = 32 << 20


def axe() -> Path:
    return cache() / "tools" / f"axe-core-{VERSION}" / "axe.min.js"


def install_axe() -> None:
    target = axe()
    if target.exists():
        return
    say(f"axe-core {VERSION}: downloading")
    try:
        with urllib.request.urlopen(ADDRESS, timeout=30) as answer:
            package = answer.read(PACKAGE_BYTES + 1)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SystemExit(f"tools: axe-core {VERSION} cannot be downloaded: {error}") from None
    if hashlib.sha512(package).digest() != base64.b64decode(INTEGRITY):
        raise SystemExit(f"tools: {ADDRESS} does not have the sha512 that is pinned: not used")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        content = member.read()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as scratch:
        scratch.write(content)
    Path(scratch.name).rename(target)
    say(f"axe-core {VERSION}: ready")


def install_chromium() -> None:
    """Where it cannot be installed, says what to do; the tests that need it fail then, and no others."""
    if shutil.which(CHROMIUM):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say("chromium is not on PATH: install it (Debian: apt-get install chromium), or run this as root on Debian")
        return
    say("chromium: apt-get install")
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", CHROMIUM]):
        done = subprocess.run(["apt-get", "--quiet=2", *command], env=quietly, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit(f"tools: apt-get {command[0]} failed with exit code {done.returncode}")


def main() -> None:
    if sys.argv[1:] == ["--axe"]:
        print(axe())
        return
    install_axe()
    install_chromium()


if __name__ == "__main__":
    main()
