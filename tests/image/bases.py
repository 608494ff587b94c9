"""Stand-ins for the two bases of the Dockerfile, for machines that reach Debian's archive but no container registry.

The builder is what `debootstrap --variant=minbase` makes, which is what debian:bookworm-slim is made of. The runtime
base has the packages that gcr.io/distroless/python3-debian12 has, unpacked and never configured, with the accounts
and settings of its tag `nonroot`. They are kept as archives in the cache of tests/tools/install.py, under a name that
hangs on this file and on what is trusted here.

Source: https://github.com/GoogleContainerTools/distroless (base, cc and python3)
"""

import hashlib
import os
import runpy
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from image.support import ROOT, USER, followed, run, say, timed

SUITE = "bookworm"
DEBOOTSTRAP = ("unshare", "--mount", "debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE)
"""In mounts of its own: what it mounts is gone with it, however it ends."""
PACKAGES = {
    "base": "base-files ca-certificates libc6 libssl3 netbase tzdata",
    "cc": "gcc-12-base libgcc-s1 libgomp1 libstdc++6",
    "python3": (
        "libbz2-1.0 libcom-err2 libcrypt1 libdb5.3 libexpat1 libffi8 libgssapi-krb5-2 libk5crypto3 libkeyutils1 "
        "libkrb5-3 libkrb5support0 liblzma5 libncursesw6 libnsl2 libpython3.11-minimal libpython3.11-stdlib "
        "libreadline8 libsqlite3-0 libtinfo6 libtirpc3 libuuid1 python3-distutils python3.11-minimal zlib1g"
    ),
}
LEFT_OUT = (
    "usr/sbin/update-ca-certificates",
    "usr/share/bug",
    "usr/share/ca-certificates",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
)
"""Of these packages, what distroless does not take over."""

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = """\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
"""
GROUP = """\
root:x:0:
nobody:x:65534:
tty:x:5:
staff:x:50:
nonroot:x:65532:
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A root file system, and the configuration of the image that it becomes."""

    archive: Path
    config: tuple[str, ...]


def bases() -> Mapping[str, Base]:
    """By the argument of the Dockerfile that they stand in for; made where the cache has none."""
    kept = runpy.run_path(str(ROOT / "tests" / "tools" / "install.py"))["cache"]() / "image"
    trusted = Path(ssl.get_default_verify_paths().cafile or f"/{BUNDLE}").read_bytes()
    key = hashlib.sha256(Path(__file__).read_bytes() + trusted).hexdigest()[:16]
    builder, runtime = (kept / f"{name}-{key}.tar" for name in ("builder", "runtime"))
    if builder.exists() and runtime.exists():
        say(f"bases: kept in {kept}")
    else:
        kept.mkdir(parents=True, exist_ok=True)
        for old in kept.glob("*.tar"):
            old.unlink()
        with TemporaryDirectory(dir=kept) as folder:
            _make(Path(folder), trusted, builder, runtime)
    environment = ("LANG=C.UTF-8", f"PATH={PATH}", f"SSL_CERT_FILE=/{BUNDLE}")
    return {
        "BUILDER": Base(builder, ("--cmd", "bash", "--env", f"PATH={PATH}")),
        "BASE": Base(
            runtime,
            (
                *("--user", str(USER), "--workingdir", "/home/nonroot", "--entrypoint", '["/usr/bin/python3.11"]'),
                *(word for one in environment for word in ("--env", one)),
            ),
        ),
    }


def _make(folder: Path, trusted: bytes, builder: Path, runtime: Path) -> None:
    root, base = folder / "root", folder / "base"
    with timed(f"bases: debootstrap {SUITE}"):
        done = followed([*DEBOOTSTRAP, str(root)], lambda line: line.startswith("I: ") and "ase system" in line)
        assert done.returncode == 0, done.stdout[-4000:]
    # What a build fetches comes through whoever this machine trusts: a proxy that opens TLS, for one.
    (root / "usr/local/share/ca-certificates/trusted-here.crt").write_bytes(trusted)
    _inside(root, "update-ca-certificates")
    with timed("bases: the packages of distroless python3"):
        _inside(root, "apt-get update --quiet=2")
        _inside(root, f"mkdir /debs && cd /debs && apt-get download --quiet=2 {' '.join(PACKAGES.values())}")
        for package in sorted((root / "debs").iterdir()):
            run("dpkg-deb", "--extract", package, base)
    shutil.rmtree(root / "debs")
    _inside(root, "apt-get clean && rm -rf /var/lib/apt/lists/*")
    _finish(base, root / BUNDLE)
    for source, archive in ((root, builder), (base, runtime)):
        partial = folder / archive.name
        run("tar", "--create", "--numeric-owner", "--sort=name", "--file", partial, "--directory", source, ".")
        partial.rename(archive)


def _finish(base: Path, bundle: Path) -> None:
    """What distroless lays beside its packages."""
    for name in LEFT_OUT:
        if (base / name).is_dir():
            shutil.rmtree(base / name)
        else:
            (base / name).unlink(missing_ok=True)
    for document in (base / "usr/share/doc").rglob("*"):
        if document.is_file() and document.name != "copyright":
            document.unlink()
    (base / BUNDLE).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(bundle, base / BUNDLE)
    (base / "etc/passwd").write_text(PASSWD)
    (base / "etc/group").write_text(GROUP)
    home = base / "home/nonroot"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    for name in ("python", "python3"):
        (base / "usr/bin" / name).symlink_to("/usr/bin/python3.11")


def _inside(root: Path, script: str) -> None:
    run("chroot", root, "sh", "-ec", script, env={"DEBIAN_FRONTEND": "noninteractive", "PATH": PATH})
