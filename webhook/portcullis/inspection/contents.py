"""From the facts of layers to what policies see of an image's contents; and how that is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection import osrelease, packing
from portcullis.inspection.application import application_of, application_roots
from portcullis.inspection.buildargs import History
from portcullis.inspection.catalogue import Catalogue
from portcullis.inspection.config import image_user
from portcullis.inspection.findings import find, findings_of
from portcullis.inspection.history import build_steps
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from portcullis.inspection.libc import mismatched, system_libc
from portcullis.inspection.merging import merge
from portcullis.inspection.packages import installed
from portcullis.inspection.tree import Node, Tree, is_folder, shown_path
from portcullis.inspection.users import resolve_user
from portcullis.limits import Limits
from portcullis.model.contents import Contents, Finding, FindingClass, LayerInfo, OperatingSystem
from portcullis.model.image import Digest, PlatformImage
from portcullis.text import clean

CONTENTS_VERSION: Final = 1
"""Part of the key under which contents are kept; raised whenever their meaning or form changes."""

_PLAIN_BYTES: Final = 256 * 1024 * 1024
"""Of encoded contents before they are compressed: the limits of findings and packages stay below."""

_FILE, _HARD_LINK, _SYMLINK = int(EntryKind.FILE), int(EntryKind.HARD_LINK), int(EntryKind.SYMLINK)


@dataclass(frozen=True, slots=True)
class Missing:
    """Bodies that a further reading must keep: clean names by the digest of their layer."""

    bodies: dict[str, frozenset[bytes]]


class _Files:
    """Files of the merged image whose content was kept. What was not is noted in ``missing``."""

    def __init__(self, tree: Tree, layers: Sequence[LayerFacts], limits: Limits) -> None:
        self._tree = tree
        self._layers = layers
        self._limits = limits
        self.missing: dict[str, set[bytes]] = {}

    def read(self, path: bytes) -> bytes | None:
        """The content; None where there is no such file, or its content is still to be read.

        Raises:
            TooLarge: it is longer than may be kept.
            LayerMalformed: its layer has several files of that name, and this is not the last one.
        """
        node = self._tree.resolve(b"/" + path)
        if node is None or not node.is_file:
            return None
        index, entry = node.content
        layer = self._layers[index]
        if not entry.size:
            return b""
        if entry.path in layer.oversized:
            limit = "osReleaseBytes" if entry.path in osrelease.PATHS else "userDatabaseBytes"
            raise TooLarge(
                f"{clean(shown_path(node.path), 300)} in the layer {layer.digest} has {entry.size} bytes, which is more"
                f" than the limit {limit} allows"
            )
        body = layer.bodies.get(entry.path)
        if body is None:
            self.missing.setdefault(layer.digest, set()).add(entry.path)
        elif entry is not _last(layer, entry.path):
            raise LayerMalformed(
                f"the layer {layer.digest} has {clean(shown_path(entry.path), 300)} several times, and a link to one"
                " that is not the last"
            )
        return body


def inspect_image(
    *, layers: Sequence[LayerFacts], image: PlatformImage, catalogue: Catalogue, limits: Limits
) -> Contents | Missing:
    """What lies in an image.

    Args:
        layers: facts of all layers, base first, package databases read (``packages.compact``), made with a reading of
            this catalogue and these limits.

    Raises:
        LayerMalformed: no runtime could unpack the layers.
        TooLarge: over ``image_entries``, ``contents_findings``, ``packages`` and so on; says which.
    """
    tree = merge(layers, limits=limits)
    reader = _Files(tree, layers, limits)
    user = resolve_user(image_user(image.config), reader)
    system = _system(tree, reader)
    if reader.missing:
        return Missing({digest: frozenset(names) for digest, names in reader.missing.items()})
    digests = [Digest(facts.digest) for facts in layers]
    history = History(build_steps(image.config, len(layers)), digests, catalogue=catalogue, limits=limits)
    roots = application_roots(image.config, tree)
    findings = find(
        tree,
        layers=digests,
        history=history,
        roots=(*roots.folders, *roots.files),
        catalogue=catalogue,
        limits=limits,
    )
    packages, faults = installed(tree, layers, limits=limits)
    files, size = _measure(tree)
    return Contents(
        files=files,
        bytes=size,
        os=replace(system, distroless=_is_distroless(findings)),
        layers=tuple(_layer(facts, index, image, history.lines[index]) for index, facts in enumerate(layers)),
        findings=findings,
        libc_mismatches=_mismatches(tree, system.libc, digests, history, limits),
        application=application_of(tree, roots=roots, user=user, layers=digests, history=history, limits=limits),
        packages=None if faults else packages,
        package_faults=faults,
        user=user,
    )


def encode_contents(contents: Contents) -> bytes:
    """The contents as they are kept: MessagePack, compressed."""
    return packing.pack(contents)


def decode_contents(content: bytes) -> Contents:
    """What :func:`encode_contents` made.

    Raises:
        ValueError: it is not that, or is of another version.
    """
    return packing.unpack(content, Contents, most=_PLAIN_BYTES, what="contents")


def _system(tree: Tree, reader: _Files) -> OperatingSystem:
    libc = system_libc(tree)
    for path in osrelease.PATHS:
        content = reader.read(path)
        if content is not None:
            return replace(osrelease.parse_os_release(content), libc=libc)
        if reader.missing:
            break
    return OperatingSystem(libc=libc)


def _is_distroless(findings: dict[FindingClass, tuple[Finding, ...]]) -> bool:
    return not findings[FindingClass.SHELLS] and not findings[FindingClass.PACKAGE_MANAGERS]


def _layer(facts: LayerFacts, index: int, image: PlatformImage, line: str) -> LayerInfo:
    links = (_FILE, _HARD_LINK, _SYMLINK)
    files = sum(1 for entry in facts.entries if entry.kind in links and b"/.wh." not in b"/" + entry.path)
    return LayerInfo(
        digest=Digest(facts.digest),
        diff_id=Digest(facts.diff_id),
        media_type=image.layers[index].media_type if index < len(image.layers) else "",
        compressed_bytes=facts.compressed_bytes,
        bytes=facts.plain_bytes,
        files=files,
        created_by=line,
    )


def _measure(tree: Tree) -> tuple[int, int]:
    """Files and links, and the bytes of files; one with several names counts once for its bytes."""
    files = size = 0
    linked: set[int] = set()
    for node in tree.walk():
        if is_folder(node):
            continue
        files += 1
        if node.inode is not None:
            if id(node.inode) in linked:
                continue
            linked.add(id(node.inode))
        size += node.entry.size
    return files, size


def _mismatches(
    tree: Tree, libc: str, digests: Sequence[Digest], history: History, limits: Limits
) -> tuple[Finding, ...]:
    found: list[tuple[Node, str]] = []
    for node in tree.walk():
        if node.entry.marks:
            what = mismatched(node, tree, libc)
            if what:
                found.append((node, what))

    def exceeded() -> TooLarge:
        return TooLarge(
            "the image has more files for another C library than the limit contentsFindings allows, which is"
            f" {limits.contents_findings}"
        )

    return findings_of(
        found,
        tree=tree,
        rule="libc-mismatch",
        layers=digests,
        history=history,
        limit=limits.contents_findings,
        exceeded=exceeded,
    )


def _last(layer: LayerFacts, path: bytes) -> Entry | None:
    """The last file of that name in a layer: the one whose body was kept."""
    return next((entry for entry in reversed(layer.entries) if entry.path == path and entry.kind == _FILE), None)
