"""Which packages are installed, by the databases of their managers.

dpkg: ``/var/lib/dpkg/status`` (deb822 paragraphs, dpkg-query(1) for the states), and the same in
``/var/lib/dpkg/status.d/`` in distroless images. apk: ``/lib/apk/db/installed`` (apk-package(5), fields of one letter).
rpm: rpm.py. Python: the names of ``*.dist-info`` and ``*.egg-info`` (PyPA, recording installed projects): no file is
read for it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from portcullis.errors import TooLarge
from portcullis.inspection import rpm
from portcullis.inspection.faults import DatabaseFault
from portcullis.inspection.layerfacts import LayerFacts, PackageDatabase, PackageRow
from portcullis.inspection.tree import Node, Tree, is_folder, shown_path
from portcullis.limits import Limits
from portcullis.model.contents import Package
from portcullis.text import clean

_TEXT_CHARS: Final = 200
"""Of a name or version."""

_STATUS_FOLDER: Final = b"var/lib/dpkg/status.d/"
_RPM_FOLDERS: Final = (b"usr/lib/sysimage/rpm/", b"var/lib/rpm/", b"usr/share/rpm/")

_FIELD: Final = re.compile(
    rb"^(Package|Status|Version|Architecture):[ \t]*(.*?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE
)
_PARAGRAPHS: Final = re.compile(rb"\n[ \t\r]*\n")
_GONE: Final = frozenset({b"config-files", b"not-installed"})
"""States in which nothing of a package but its configuration is there."""

_DISTRIBUTION: Final = re.compile(rb"(.+?)-([^-]+)(?:-py[0-9.]+)?\.(?:dist|egg)-info")

_Rows = Iterable[tuple[bytes, bytes, bytes]]


def _dpkg(body: bytes) -> _Rows:
    for paragraph in _PARAGRAPHS.split(body):
        fields = {match[1].lower(): match[2] for match in _FIELD.finditer(paragraph)}
        name = fields.get(b"package")
        if name is None:
            if paragraph.strip():
                raise DatabaseFault("has a paragraph without a package")
            continue
        # Distroless has no Status: what is in status.d is installed.
        if not _GONE.isdisjoint(fields.get(b"status", b"").split()[-1:]):
            continue
        yield name, fields.get(b"version", b""), fields.get(b"architecture", b"")


def _apk(body: bytes) -> _Rows:
    for paragraph in body.split(b"\n\n"):
        fields = {line[:1]: line[2:] for line in paragraph.splitlines() if line[:2] in (b"P:", b"V:", b"A:")}
        if b"P" in fields:
            yield fields[b"P"], fields.get(b"V", b""), fields.get(b"A", b"")
        elif paragraph.strip():
            raise DatabaseFault("has a paragraph without a package")


_READERS: Final[Mapping[bytes, tuple[str, Callable[[bytes], _Rows]]]] = {
    b"var/lib/dpkg/status": ("dpkg", _dpkg),
    b"lib/apk/db/installed": ("apk", _apk),
    b"usr/lib/apk/db/installed": ("apk", _apk),
    **{folder + b"rpmdb.sqlite": ("rpm", rpm.read_sqlite) for folder in _RPM_FOLDERS},
    **{folder + b"Packages.db": ("rpm", rpm.read_ndb) for folder in _RPM_FOLDERS},
    **{folder + b"Packages": ("rpm", rpm.read_berkeley) for folder in _RPM_FOLDERS},
}
"""By clean name."""

DATABASES: Final = frozenset(_READERS)
"""Files that are kept for :func:`compact`, beside those for which :func:`is_status_file` is True."""


def is_status_file(path: bytes) -> bool:
    """Whether this is the paragraph of one package, as distroless has it."""
    return path.startswith(_STATUS_FOLDER) and not path.endswith(b".md5sums")


def compact(facts: LayerFacts, *, limits: Limits) -> LayerFacts:
    """The same layer, package databases read and their bodies dropped. One that cannot be read keeps its place, with
    the fault."""
    bodies: dict[bytes, bytes] = {}
    databases: list[PackageDatabase] = []
    for path, body in facts.bodies.items():
        if path in _READERS or is_status_file(path):
            databases.append(_database(path, body, limits))
        else:
            bodies[path] = body
    kept = []
    for path in facts.oversized:
        if path in _READERS or is_status_file(path):
            fault = f"is longer than the limit packageDatabaseBytes, which is {limits.package_database_bytes}"
            databases.append(PackageDatabase(path, _reader(path)[0], (), fault))
        else:
            kept.append(path)
    return msgspec.structs.replace(facts, bodies=bodies, oversized=tuple(kept), databases=tuple(databases))


def read_databases(bodies: Mapping[bytes, bytes], *, limits: Limits) -> tuple[PackageDatabase, ...]:
    """The package databases among files by clean name."""
    return tuple(
        _database(path, body, limits) for path, body in bodies.items() if path in _READERS or is_status_file(path)
    )


def _reader(path: bytes) -> tuple[str, Callable[[bytes], _Rows]]:
    return _READERS.get(path) or ("dpkg", _dpkg)


def _database(path: bytes, body: bytes, limits: Limits) -> PackageDatabase:
    manager, reader = _reader(path)
    rows: list[PackageRow] = []
    try:
        for row in reader(body):
            if len(rows) >= limits.packages:
                raise DatabaseFault(f"names more packages than the limit packages allows, which is {limits.packages}")
            rows.append(PackageRow(*map(_text, row)))
    except DatabaseFault as fault:
        return PackageDatabase(path, manager, (), str(fault))
    return PackageDatabase(path, manager, tuple(rows))


def installed(
    tree: Tree, layers: Sequence[LayerFacts], *, limits: Limits
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The packages of the merged image, and what is wrong with databases that could not be read: then the packages are
    not all.

    Raises:
        TooLarge: over ``packages``.
    """
    first: dict[tuple[str, PackageRow], int] = {}
    by_layer: list[dict[bytes, PackageDatabase]] = []
    for index, facts in enumerate(layers):
        databases = {database.path: database for database in facts.databases}
        by_layer.append(databases)
        for database in databases.values():
            for row in database.packages:
                first.setdefault((database.manager, row), index)
    found: dict[tuple[str, PackageRow], int] = {}
    faults: list[str] = []
    for node in _database_files(tree):
        layer, entry = node.content
        place = by_layer[layer].get(entry.path)
        fault = _fault(node, place, tree)
        if fault:
            faults.append(f"{clean(shown_path(node.path), 200)} {fault}")
        elif place is not None:
            found.update((key, first[key]) for key in ((place.manager, row) for row in place.packages))
    for row, layer in _distributions(tree):
        found.setdefault(("python", row), layer)
    if len(found) > limits.packages:
        raise TooLarge(f"the image has {len(found)} packages; the limit packages is {limits.packages}")
    packages = [
        Package(manager, row.name, row.version, row.architecture, layer) for (manager, row), layer in found.items()
    ]
    return tuple(sorted(packages, key=lambda one: (one.manager, one.name, one.version))), tuple(faults)


def _database_files(tree: Tree) -> Iterable[Node]:
    """Where the managers look, links followed; each file once."""
    seen: set[bytes] = set()
    for path in sorted(DATABASES):
        node = tree.resolve(b"/" + path)
        if node is not None and node.is_file and node.entry.size and node.path not in seen:
            seen.add(node.path)
            yield node
    folder = tree.resolve(b"/" + _STATUS_FOLDER)
    if is_folder(folder):
        for node in folder.children.values():
            if node.is_file and node.entry.size and not node.name.endswith(b".md5sums"):
                yield node


def _fault(node: Node, database: PackageDatabase | None, tree: Tree) -> str:
    if database is None:
        return "is a package database in a place where none is read"
    if database.fault:
        return database.fault
    log = tree.get(node.path + b"-wal")
    if node.name == b"rpmdb.sqlite" and log is not None and log.entry.size:
        return "has a write-ahead log beside it, which is not read"
    return ""


def _distributions(tree: Tree) -> Iterable[tuple[PackageRow, int]]:
    for node in tree.walk():
        path = node.path
        if path.endswith(b"-info") and b"-packages/" in path:
            parent, _, name = path.rpartition(b"/")
            match = _DISTRIBUTION.fullmatch(name)
            if match is not None and parent.endswith(b"-packages"):
                yield PackageRow(_text(match[1]), _text(match[2]), ""), node.layer


def _text(text: bytes) -> str:
    return clean(text.decode("utf-8", "replace"), _TEXT_CHARS)
