"""Layers with what does not belong into an image that runs: a shell, a compiler, a key that was deleted too late."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence

from portcullis.cli.demo.images import File, Layer, layer, program


def shell() -> Sequence[Layer]:
    """BusyBox as /bin/sh, and the package manager that comes with it."""
    files = [
        File("bin", None, 0o755),
        File("bin/busybox", program("busybox"), 0o755),
        File("bin/sh", None, 0o777, link="/bin/busybox"),
        File("sbin", None, 0o755),
        File("sbin/apk", program("apk"), 0o755),
    ]
    return [layer(files, "ADD alpine-minirootfs.tar.gz / # buildkit")]


def toolchain() -> Sequence[Layer]:
    """What ``apt-get install build-essential git`` leaves behind, without the shell."""
    names = ("gcc", "ld", "make", "git")
    files = [File("usr", None, 0o755), File("usr/bin", None, 0o755)]
    files += [File(f"usr/bin/{name}", program(name), 0o755) for name in names]
    files += [File("usr/include", None, 0o755), File("usr/include/stdio.h", b"int puts(const char *);\n")]
    return [layer(files, "RUN /bin/sh -c apt-get update && apt-get install -y build-essential git # buildkit")]


def deleted_key() -> Sequence[Layer]:
    """A private key that one step copies and the next deletes. It stays in the first one's layer."""
    body = base64.encodebytes(b"".join(hashlib.sha256(bytes([number])).digest() for number in range(30))).decode()
    key = f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"
    return [
        layer(
            [File("root", None, 0o700), File("root/deploy.pem", key.encode(), 0o600)],
            "COPY deploy.pem /root/ # buildkit",
        ),
        layer(
            [File("root", None, 0o700), File("root/.wh.deploy.pem", b"")],
            "RUN /bin/sh -c rm /root/deploy.pem # buildkit",
        ),
    ]


def other_passwd() -> Sequence[Layer]:
    """A later layer in which the user "app" has become uid 0."""
    accounts = "root:x:0:0:root:/root:/sbin/nologin\napp:x:0:0:app:/app:/sbin/nologin\n"
    return [
        layer([File("etc", None, 0o755), File("etc/passwd", accounts.encode())], "COPY passwd /etc/passwd # buildkit")
    ]


EXTRAS: Mapping[str, Callable[[], Sequence[Layer]]] = {
    "shell": shell,
    "toolchain": toolchain,
    "deleted-key": deleted_key,
    "other-passwd": other_passwd,
}
