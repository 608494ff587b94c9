"""The files of the application, and who may change them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from portcullis.errors import TooLarge
from portcullis.inspection.buildargs import History
from portcullis.inspection.findings import findings_of
from portcullis.inspection.layerfacts import EntryKind
from portcullis.inspection.tree import Node, Tree, is_folder, shown_path
from portcullis.limits import Limits
from portcullis.model.contents import Application
from portcullis.model.image import Digest, ImageConfig, ImageUser

_FILE, _SYMLINK = int(EntryKind.FILE), int(EntryKind.SYMLINK)

_USUAL: Final = (
    b"app",
    b"srv",
    b"opt",
    b"code",
    b"workspace",
    b"usr/src/app",
    b"usr/src",
    b"var/www",
    b"var/task",
    b"home",
)
"""Where images keep applications. Only what a layer above the first brought counts there: the first is the system's."""

_SYSTEM: Final = frozenset(
    {b"", b"bin", b"sbin", b"boot", b"dev", b"etc", b"lib", b"lib32", b"lib64", b"proc", b"run", b"sys", b"tmp", b"usr"}
    | {b"var", b"root", b"opt", b"srv", b"home", b"mnt", b"media"}
    | {
        b"usr/" + name
        for name in (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libexec", b"share", b"include", b"local", b"src")
    }
    | {b"usr/local/" + name for name in (b"bin", b"sbin", b"lib", b"share", b"include")}
    | {b"var/" + name for name in (b"lib", b"cache", b"log", b"run", b"tmp", b"spool", b"opt")}
)
"""Folders that are no application's own, even where WORKDIR names one."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the application lies.

    ``own`` are folders of which everything counts, ``usual`` those of which what upper layers brought counts, and
    ``files`` single files. All are clean names.
    """

    own: tuple[bytes, ...]
    usual: tuple[bytes, ...]
    files: tuple[bytes, ...]

    @property
    def folders(self) -> tuple[bytes, ...]:
        return _outermost({*self.own, *self.usual})


def application_roots(config: ImageConfig, tree: Tree) -> Roots:
    """WORKDIR where it is a folder of its own; the files that ENTRYPOINT and CMD name, unless they are the system's or
    lie in WORKDIR; and the usual places that upper layers fill."""
    own: set[bytes] = set()
    files: set[bytes] = set()
    work = tree.resolve(b"/" + config.working_dir.encode("utf-8", "surrogatepass"))
    if is_folder(work) and work.path not in _SYSTEM:
        own.add(work.path)
    start = work.path if is_folder(work) else b""
    for word in (*config.entrypoint, *config.cmd):
        if "/" not in word or word.startswith("-"):
            continue
        node = tree.resolve(word.encode("utf-8", "surrogatepass"), start=start)
        if node is not None and node.is_file and not _is_of_system(node, tree.layers):
            files.add(node.path)
    usual = tuple(path for path in _USUAL if _has_of_upper_layers(path, tree))
    inside = tuple(path + b"/" for path in own)
    return Roots(_outermost(own), usual, tuple(sorted(path for path in files if not path.startswith(inside))))


def application_of(
    tree: Tree,
    *,
    roots: Roots,
    user: ImageUser,
    layers: Sequence[Digest],
    history: History,
    limits: Limits,
) -> Application:
    """Who owns the files of the application.

    Of an image that runs as root, nothing is told as writable: root may write everything.

    Raises:
        TooLarge: more of them than ``contents_findings`` must be told one by one.
    """
    files = owned_by_root = owned_by_user = owned_by_others = 0
    writable: list[tuple[Node, str]] = []
    foreign: list[tuple[Node, str]] = []
    for node in _nodes(tree, roots, several=len(layers) > 1):
        entry = node.entry
        if entry.kind == _FILE:
            files += 1
            if entry.uid == 0:
                owned_by_root += 1
            elif entry.uid == user.uid:
                owned_by_user += 1
            else:
                owned_by_others += 1
        if entry.kind == _SYMLINK:
            continue
        if entry.uid not in (0, user.uid):
            foreign.append((node, f"owned by {entry.uid}"))
        reason = _writable(node, user)
        if reason:
            writable.append((node, reason))

    def exceeded(what: str) -> TooLarge:
        return TooLarge(
            f"the image has more {what} files of its application than the limit contentsFindings allows, which is"
            f" {limits.contents_findings}"
        )

    return Application(
        roots=tuple(shown_path(path) for path in (*roots.folders, *roots.files)),
        files=files,
        owned_by_root=owned_by_root,
        owned_by_user=owned_by_user,
        owned_by_others=owned_by_others,
        writable=findings_of(
            writable,
            tree=tree,
            rule="application-writable",
            layers=layers,
            history=history,
            limit=limits.contents_findings,
            exceeded=lambda: exceeded("writable"),
        ),
        foreign=findings_of(
            foreign,
            tree=tree,
            rule="application-foreign",
            layers=layers,
            history=history,
            limit=limits.contents_findings,
            exceeded=lambda: exceeded("foreign"),
        ),
        rewritten_bytes=rewritten_bytes(tree),
    )


def rewritten_bytes(tree: Tree) -> int:
    """Bytes of files that a later layer holds again with the same size, and another owner or mode only."""
    total = 0
    for shadow in tree.shadowed:
        old, new = shadow.node, shadow.by
        if new is None or old.entry.kind != _FILE or new.entry.kind != _FILE or old.layer == new.layer:
            continue
        before, after = old.entry, new.entry
        if before.size == after.size and (before.mode, before.uid, before.gid) != (after.mode, after.uid, after.gid):
            total += after.size
    return total


def _nodes(tree: Tree, roots: Roots, *, several: bool) -> Iterator[Node]:
    """Each file and folder of the application once."""
    own = _outermost(set(roots.own))
    inside = tuple(path + b"/" for path in own)
    seen_files = set(roots.files)
    for path in own:
        top = tree.get(path)
        if is_folder(top):
            yield top
            yield from tree.walk(top)
    for path in _outermost(set(roots.usual)):
        top = tree.get(path)
        if is_folder(top):
            for node in tree.walk(top):
                if (node.layer or not several) and node.path not in own and not node.path.startswith(inside):
                    seen_files.discard(node.path)
                    yield node
    for path in sorted(seen_files):
        file = tree.get(path)
        if file is not None:
            yield file


def _writable(node: Node, user: ImageUser) -> str:
    """Why the runtime user may change this; "" where he may not, or is root. An owner may give himself the right."""
    entry = node.entry
    if user.uid is None or user.uid == 0:
        return ""
    if entry.uid == user.uid:
        return "owned by the runtime user"
    if user.gid is not None and entry.gid == user.gid and entry.mode & 0o020:
        return "writable by the group of the runtime user"
    if entry.mode & 0o002 and not (is_folder(node) and entry.mode & 0o1000):
        return "writable by everybody"
    return ""


def _has_of_upper_layers(path: bytes, tree: Tree) -> bool:
    folder = tree.get(path)
    return is_folder(folder) and any(node.layer or tree.layers == 1 for node in tree.walk(folder))


def _is_of_system(node: Node, layers: int) -> bool:
    """Files of system folders are the system's where the first layer brought them."""
    folder = node.path.rpartition(b"/")[0]
    top = folder.split(b"/", 1)[0]
    system = folder in _SYSTEM or top in (b"bin", b"sbin", b"lib", b"lib64", b"etc") or folder.startswith(b"usr/lib")
    return system and (node.layer == 0 or layers == 1)


def _outermost(paths: set[bytes]) -> tuple[bytes, ...]:
    """Sorted, those below another one left out."""
    kept: list[bytes] = []
    for path in sorted(paths):
        if not any(path == other or path.startswith(other + b"/") for other in kept):
            kept.append(path)
    return tuple(kept)
