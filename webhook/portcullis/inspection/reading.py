"""Which bodies are looked into while a layer is read. It is asked for each file, so most answers are one look-up.

Kept whole are the user database, os-release, and package databases. The beginning is looked into of files that a rule
of the catalogue wants the content of, of compiled extensions (which C library they need), and of programs outside the
folders of the system (which loader they ask for).
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from portcullis.inspection import osrelease, packages, users
from portcullis.inspection.catalogue import Catalogue, CompiledRule
from portcullis.inspection.libc import NeededLibrary, NeededLoader
from portcullis.inspection.tarwalk import Probe
from portcullis.limits import Limits

_MEANING: Final = "1"
"""Part of the revision; raised whenever what is kept or marked changes with the same rules and limits."""

_EXECUTABLE: Final = 0o111
_LOADER_BYTES: Final = 4096
"""Program headers and the loader's name stand in the first page of a program."""
_LIBRARIES: Final = frozenset({b".so", b".node"})
_PROGRAMS: Final = (b"app/", b"opt/", b"srv/", b"usr/local/", b"home/", b"usr/src/")
"""Folders that a distribution leaves to others (Filesystem Hierarchy Standard 3.0)."""


@dataclass(frozen=True, slots=True)
class _Content:
    """Which of these rules the content fulfils, by their ids."""

    limit: int
    rules: tuple[CompiledRule, ...]

    def marks(self, body: bytes) -> tuple[str, ...]:
        return tuple(
            rule.rule.id for rule in self.rules if rule.content is not None and rule.content.search(body) is not None
        )


class CatalogueReading:
    """What is looked into.

    Args:
        limits: ``user_database_bytes``, ``os_release_bytes``, ``package_database_bytes``, ``probed_bytes`` and
            ``probed_library_bytes``.
        extra: clean names of files that are kept beside the usual ones, such as those that a link at /etc/passwd
            leads to.
    """

    def __init__(self, *, catalogue: Catalogue, limits: Limits, extra: frozenset[bytes] = frozenset()) -> None:
        self._contents = catalogue.contents
        self._names = catalogue.contents.names
        self._extensions = catalogue.contents.extensions | _LIBRARIES
        self._other = catalogue.contents.other
        self._limits = limits
        self._library = NeededLibrary(limits.probed_library_bytes)
        self._loader = NeededLoader(_LOADER_BYTES)
        self._caps = dict.fromkeys(extra, limits.user_database_bytes)
        self._caps |= dict.fromkeys((users.PASSWD, users.GROUP), limits.user_database_bytes)
        self._caps |= dict.fromkeys(osrelease.PATHS, limits.os_release_bytes)
        self._caps |= dict.fromkeys(packages.DATABASES, limits.package_database_bytes)

    def keep(self, path: bytes) -> int:
        """The cap in bytes of a body that is kept whole; 0 where it is not kept."""
        cap = self._caps.get(path)
        if cap is not None:
            return cap
        if path.startswith(b"var/lib/dpkg/") and packages.is_status_file(path):
            return self._limits.package_database_bytes
        return 0

    def probe(self, path: bytes, mode: int, size: int) -> Probe | None:
        """What looks into the body of this file; None where nothing does."""
        name = path[path.rfind(b"/") + 1 :]
        if (
            name in self._names
            or name[name.rfind(b".") :] in self._extensions
            or (self._other is not None and self._other.fullmatch(name))
        ):
            probe = self._named(name, path)
            if probe is not None:
                return probe if size else None
        if mode & _EXECUTABLE and size and (path.startswith(_PROGRAMS) or b"/" not in path):
            return self._loader
        return None

    def _named(self, name: bytes, path: bytes) -> Probe | None:
        if name.endswith(b".node") or (name.endswith(b".so") and b"-packages/" in path):
            return self._library
        rules = tuple(rule for rule in self._contents.matches(name, path) if rule.covers(path))
        return _Content(self._limits.probed_bytes, rules) if rules else None


def reading_revision(catalogue: Catalogue, limits: Limits) -> str:
    """Part of the key under which facts of layers are kept: they hold for readings of one revision."""
    rules = sorted(
        (rule.id, rule.content, rule.files, rule.only, rule.except_) for rule in catalogue.rules if rule.content
    )
    caps = (
        limits.user_database_bytes,
        limits.os_release_bytes,
        limits.package_database_bytes,
        limits.packages,
        limits.probed_bytes,
        limits.probed_library_bytes,
    )
    return hashlib.sha256(repr((_MEANING, rules, caps)).encode()).hexdigest()[:16]
