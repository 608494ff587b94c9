"""Images as Dockerfiles on python:3.13-slim, python:3.13-alpine and python:3.13 make them, file by file in small.

Which files and lines the official images have is told by their Dockerfiles
(https://github.com/docker-library/python/tree/master/3.13) and by those of debian, buildpack-deps and alpine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from portcullis.cli.demo.images import File, Layer, layer, program

WHEEL_DATA = b"Metadata-Version: 2.1\nName: %s\nVersion: %s\n"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the history; ``layer`` is what it made, None where it made none."""

    created_by: str
    layer: Layer | None = None


def folder(path: str, mode: int = 0o755, uid: int = 0) -> File:
    return File(path, None, mode, uid)


def run(path: str, mode: int = 0o755) -> File:
    return File(path, program(path), mode)


def link(path: str, target: str) -> File:
    return File(path, b"", link=target)


def text(path: str, content: str = "x\n", uid: int = 0) -> File:
    return File(path, content.encode(), uid=uid)


def line(created_by: str, *files: File) -> Line:
    return Line(created_by, layer(files, created_by))


def distribution(path: str, name: str, version: str) -> list[File]:
    """An installed Python package."""
    return [
        text(f"{path}/{name}/__init__.py"),
        File(f"{path}/{name}-{version}.dist-info/METADATA", WHEEL_DATA % (name.encode(), version.encode())),
    ]


LIBRARY = "usr/local/lib/python3.13"
PYTHON = [
    run("usr/local/bin/python3.13"),
    run("usr/local/bin/python3.13-config"),
    run("usr/local/bin/pip3.13"),
    run("usr/local/bin/pip3"),
    run("usr/local/bin/pip"),
    text("usr/local/include/python3.13/Python.h"),
    text(f"{LIBRARY}/os.py"),
    File(f"{LIBRARY}/__pycache__/os.cpython-313.pyc", b"\xf3\r\r\n" + bytes(64)),
    *distribution(f"{LIBRARY}/site-packages", "pip", "25.3"),
]
LINKS = [
    link("usr/local/bin/python3", "python3.13"),
    link("usr/local/bin/python", "python3"),
    link("usr/local/bin/python3-config", "python3.13-config"),
]
BUILD_PYTHON = (
    "RUN /bin/sh -c set -eux; {before}wget -O python.tar.xz https://www.python.org/python.tar.xz; make; {after}"
)
SETUID = ["chfn", "chsh", "gpasswd", "mount", "newgrp", "passwd", "su", "umount"]


def release(name: str, version: str) -> File:
    return text("etc/os-release", f'ID={name}\nVERSION_ID="{version}"\nPRETTY_NAME="{name} {version}"\n')


DEBIAN = line(
    "# debian.sh --arch 'amd64' out/ 'trixie' '@1761004800'",
    folder("etc"),
    release("debian", "13"),
    text("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
    folder("usr"),
    link("bin", "usr/bin"),
    link("lib", "usr/lib"),
    *(run(f"usr/bin/{name}") for name in ("bash", "dash", "perl", "apt-get", "apt", "dpkg")),
    link("usr/bin/sh", "dash"),
    *(run(f"usr/bin/{name}", 0o4755) for name in SETUID),
    run("usr/lib/x86_64-linux-gnu/libc.so.6"),
    folder("tmp", 0o1777),
    folder("root", 0o700),
)
SLIM = [
    DEBIAN,
    Line('CMD ["bash"]'),
    Line("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"),
    line(
        "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates netbase "
        "tzdata ; apt-get dist-clean # buildkit",
        text("etc/ssl/certs/ca-certificates.crt"),
    ),
    Line("ENV PYTHON_VERSION=3.13.9"),
    line(
        BUILD_PYTHON.format(
            before='savedAptMark="$(apt-mark showmanual)"; apt-get update; apt-get install -y '
            "--no-install-recommends dpkg-dev gcc libc6-dev make wget; ",
            after="apt-get purge -y --auto-remove -o APT::AutoRemove::RecommendsImportant=false; apt-get dist-clean",
        )
        + " # buildkit",
        *PYTHON,
    ),
    line("RUN /bin/sh -c set -eux; for src in pip3 python3 python3-config; do ln -svT; done # buildkit", *LINKS),
    Line('CMD ["python3"]'),
]
ALPINE = [
    line(
        "ADD alpine-minirootfs-3.22.2-x86_64.tar.gz / # buildkit",
        release("alpine", "3.22.2"),
        text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        run("bin/busybox"),
        *(link(f"bin/{name}", "/bin/busybox") for name in ("sh", "ash", "ls")),
        *(link(f"usr/bin/{name}", "/bin/busybox") for name in ("wget", "nc")),
        run("sbin/apk"),
        run("usr/bin/ssl_client"),
        run("lib/ld-musl-x86_64.so.1"),
        folder("tmp", 0o1777),
    ),
    Line('CMD ["/bin/sh"]'),
    line("RUN /bin/sh -c set -eux; apk add --no-cache ca-certificates tzdata ; # buildkit", text("etc/ssl/cert.pem")),
    Line("ENV PYTHON_VERSION=3.13.9"),
    line(
        BUILD_PYTHON.format(
            before="apk add --no-cache --virtual .build-deps gcc libc-dev make tar; ",
            after="apk del --no-network .build-deps",
        )
        + " # buildkit",
        *PYTHON,
    ),
    line("RUN /bin/sh -c set -eux; for src in pip3 python3 python3-config; do ln -svT; done # buildkit", *LINKS),
    Line('CMD ["python3"]'),
]
FULL = [
    DEBIAN,
    Line('CMD ["bash"]'),
    line(
        "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends git mercurial "
        "openssh-client subversion procps ; rm -rf /var/lib/apt/lists/* # buildkit",
        run("usr/bin/git"),
        run("usr/bin/svn"),
        run("usr/bin/ssh"),
    ),
    line(
        "RUN /bin/sh -c set -ex; apt-get update; apt-get install -y --no-install-recommends autoconf gcc g++ make ; "
        "rm -rf /var/lib/apt/lists/* # buildkit",
        run("usr/bin/x86_64-linux-gnu-gcc-14"),
        link("usr/bin/gcc", "x86_64-linux-gnu-gcc-14"),
        run("usr/bin/make"),
        text("usr/include/stdio.h"),
        text("usr/lib/x86_64-linux-gnu/libc.a"),
    ),
    line(BUILD_PYTHON.format(before="", after="ldconfig") + " # buildkit", *PYTHON),
    line("RUN /bin/sh -c set -eux; for src in pip3 python3 python3-config; do ln -svT; done # buildkit", *LINKS),
    Line('CMD ["python3"]'),
]


def environment() -> list[File]:
    """What ``python -m venv /opt/venv`` and ``pip install --no-compile -r requirements.txt`` leave."""
    packages = "opt/venv/lib/python3.13/site-packages"
    return [
        folder("opt/venv"),
        text("opt/venv/pyvenv.cfg"),
        link("opt/venv/bin/python", "/usr/local/bin/python3.13"),
        run("opt/venv/bin/pip"),
        run("opt/venv/bin/gunicorn"),
        *distribution(packages, "pip", "25.3"),
        *distribution(packages, "flask", "3.1.2"),
        *distribution(packages, "gunicorn", "23.0.0"),
    ]


CHECK = ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8080/health')"]
START = ["gunicorn", "--bind", "0.0.0.0:8080", "shop:app"]

WELL_MADE = [
    line("WORKDIR /app", folder("app")),
    Line("ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1"),
    line("COPY /opt/venv /opt/venv # buildkit", *environment()),
    line("COPY src/ /app/ # buildkit", text("app/shop/__init__.py"), text("app/shop/views.py")),
    Line("USER 10001"),
    Line("EXPOSE map[8080/tcp:{}]"),
    Line("HEALTHCHECK &{" + json.dumps(CHECK) + ' "0s" "0s" "0s" "0s" \'\\x00\'}'),
    Line(f"CMD {json.dumps(START)}"),
]
"""The final stage of a Dockerfile with two, on slim or alpine."""

SINGLE_STAGE = [
    line("WORKDIR /app", folder("app")),
    line(
        "COPY . . # buildkit",
        text("app/requirements.txt"),
        text("app/shop/__init__.py"),
        text("app/.git/config"),
        text("app/.git/HEAD"),
    ),
    line(
        "RUN /bin/sh -c pip install -r requirements.txt # buildkit",
        *distribution(f"{LIBRARY}/site-packages", "flask", "3.1.2"),
        *distribution(f"{LIBRARY}/site-packages", "gunicorn", "23.0.0"),
        File("app/shop/__pycache__/views.cpython-313.pyc", bytes(64)),
        File("root/.cache/pip/http-v2/a", bytes(512)),
    ),
    Line('CMD ["/bin/sh" "-c" "gunicorn shop:app"]'),
]
"""All that is done on python:3.13, as first Dockerfiles do it."""


def layers(lines: Sequence[Line]) -> list[Layer]:
    return [one.layer for one in lines if one.layer is not None]
