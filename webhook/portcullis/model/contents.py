"""What lies in the layers of an image: what inspection says to the policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from portcullis.model.image import Digest, ImageUser


class ContentsStatus(StrEnum):
    """How far the look into an image's layers came."""

    COMPLETE = "complete"
    PENDING = "pending"
    UNAVAILABLE = "unavailable"
    SKIPPED = "skipped"
    """No policy asked for it."""


class FindingClass(StrEnum):
    """The lists of ``contents``, under the names that policies see."""

    SHELLS = "shells"
    BUILD_TOOLS = "buildTools"
    PACKAGE_MANAGERS = "packageManagers"
    INTERPRETERS = "interpreters"
    DOWNLOAD_TOOLS = "downloadTools"
    SETUID = "setuid"
    WORLD_WRITABLE = "worldWritable"
    SECRETS = "secrets"
    VCS = "vcs"
    CACHES = "caches"
    TESTS = "tests"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in the files of an image.

    Args:
        path: absolute in the image, such as ``/usr/bin/gcc``; bytes that are no UTF-8 as ``\\xNN``. "" for a
            finding in the history (a build argument that holds a token).
        what: what it is, such as ``gcc``.
        rule: the rule of the catalogue that found it.
        layer: digest of the layer that holds it; ``layer_index`` counts from 0, the base first.
        created_by: the history line that made that layer, "" where the history does not tell. Secrets in it are
            blotted out, and what is over 500 characters is left off with an ellipsis: it is for people.
        deleted: it lies in an earlier layer and is no more in the merged files; whoever pulls the image has it.
        mode: permission bits, such as 0o4755.
        count: how many files it stands for; more than one where ``path`` is a folder of them.
    """

    path: str
    what: str
    rule: str
    layer: Digest
    layer_index: int
    created_by: str = ""
    deleted: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One layer. ``bytes`` are those of its tar, ``files`` the regular files and links that it brings."""

    digest: Digest
    diff_id: Digest
    media_type: str
    compressed_bytes: int
    bytes: int
    files: int
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, by the database of its manager (``dpkg``, ``apk``, ``rpm``, ``python``).

    ``layer_index`` is the layer that holds the entry, or the database file that first names it.
    """

    manager: str
    name: str
    version: str
    architecture: str = ""
    layer_index: int = 0


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """From os-release(5); "" where it does not say or is not there. ``distroless`` is True for an image with
    neither a shell nor a package manager, whatever its name."""

    id: str = ""
    version_id: str = ""
    id_like: tuple[str, ...] = ()
    name: str = ""
    distroless: bool = False
    libc: str = ""
    """``glibc``, ``musl``, ``both``, or "" where no C library is in the image."""


@dataclass(frozen=True, slots=True)
class Application:
    """The files of the application: those below WORKDIR (where it is not the root), the entrypoint's own, and
    those of the usual places (/app, /srv, /opt ...) that a layer above the system brought.

    ``roots`` are the folders that were taken for it. ``files`` counts regular files, and the other numbers are
    parts of it by their owner: root, the runtime user, anybody else. ``writable`` are the files and folders that
    the runtime user may change although he need not, ``foreign`` those of other owners, each cut into folders.
    ``rewritten_bytes`` are those of files that a later layer holds again with the same size and another owner or
    mode only (``RUN chown -R``), which ``COPY --chown`` avoids.
    """

    roots: tuple[str, ...] = ()
    files: int = 0
    owned_by_root: int = 0
    owned_by_user: int = 0
    owned_by_others: int = 0
    writable: tuple[Finding, ...] = ()
    foreign: tuple[Finding, ...] = ()
    rewritten_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that was found in one platform's image. ``files`` and ``bytes`` are those of the merged tree."""

    files: int
    bytes: int
    os: OperatingSystem
    layers: tuple[LayerInfo, ...]
    findings: Mapping[FindingClass, tuple[Finding, ...]]
    libc_mismatches: tuple[Finding, ...] = ()
    """Compiled extensions for another C library than the system has."""
    application: Application = field(default_factory=Application)
    packages: tuple[Package, ...] | None = None
    """None where nobody asked for them, and where a database could not be read: then they would not be all."""
    package_faults: tuple[str, ...] = ()
    """Which package databases could not be read, and why; one sentence each."""
    user: ImageUser | None = None
    """The image's USER, resolved through its own passwd and group; None where it was not asked for."""
