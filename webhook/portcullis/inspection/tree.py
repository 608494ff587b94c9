"""The files of an image as one tree. merging.py makes it of layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeGuard

from portcullis.inspection.layerfacts import Entry, EntryKind

MAX_LINKS: Final = 40
"""Symlinks on the way to one file; Linux answers ELOOP beyond (path_resolution(7))."""

MAX_PARTS: Final = 512
"""Parts of a path and of the symlinks on its way. No real one comes near, and a million must not take hours."""

_NAMES: Final = 1000

_FILE, _SYMLINK = int(EntryKind.FILE), int(EntryKind.SYMLINK)


class Inode:
    """A file with several names. ``source`` is the entry that brought its content, ``layer`` the one it is in,
    ``entry`` what the names of that file are now."""

    __slots__ = ("entry", "layer", "nodes", "source")

    def __init__(self, source: Entry, layer: int, node: "Node") -> None:
        self.source = source
        self.layer = layer
        self.entry = node.entry
        self.nodes = [node]


class Node:
    """A name in the tree.

    ``path`` is the clean name, symlinks in it resolved. ``entry`` says what lies there; of a hard link it is that of
    the file. ``layer`` counts from 0 and is the one that brought it (of a folder: that last changed its mode or
    owner).
    """

    __slots__ = ("entry", "inode", "layer", "path")

    def __init__(self, path: bytes, entry: Entry, layer: int) -> None:
        self.path = path
        self.entry = entry
        self.layer = layer
        self.inode: Inode | None = None

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    @property
    def is_file(self) -> bool:
        return self.entry.kind == _FILE

    @property
    def content(self) -> tuple[int, Entry]:
        """The layer and the entry in it that hold the content of this file."""
        return (self.layer, self.entry) if self.inode is None else (self.inode.layer, self.inode.source)

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names that this file has, or had in its layer; the first thousand. busybox has four hundred."""
        return (self.path,) if self.inode is None else tuple(node.path for node in self.inode.nodes[:_NAMES])


class Folder(Node):
    """``implied`` while no entry of its layer names it, ``opaque`` where it hides what is below it."""

    __slots__ = ("children", "implied", "opaque")

    def __init__(self, path: bytes, entry: Entry, layer: int, *, implied: bool = False) -> None:
        super().__init__(path, entry, layer)
        self.children: dict[bytes, Node] = {}
        self.implied = implied
        self.opaque = False


@dataclass(frozen=True, slots=True)
class Shadow:
    """What a later layer (or a later entry of the same one) hides: ``by`` is what took its place, None where nothing
    did, and ``layer`` the one that did it."""

    node: Node
    layer: int
    by: Node | None


def is_folder(node: Node | None) -> TypeGuard[Folder]:
    return type(node) is Folder


class Tree:
    """Layers merged in order.

    ``shadowed`` is what later layers hide, in the order in which they do, and ``layers`` the number of layers.
    """

    def __init__(self) -> None:
        self.root = Folder(b"", Entry(b"", EntryKind.FOLDER, 0o755, 0, 0), 0)
        self.shadowed: list[Shadow] = []
        self.layers = 0

    def get(self, path: bytes) -> Node | None:
        """What lies at this clean name, no symlink followed."""
        node: Node = self.root
        if path:
            for part in path.split(b"/"):
                if not is_folder(node):
                    return None
                child = node.children.get(part)
                if child is None:
                    return None
                node = child
        return node

    def resolve(self, path: bytes, *, start: bytes = b"") -> Node | None:
        """What a process with this root would open, symlinks followed inside it, or None: there is nothing, or the
        way has more than 40 symlinks or 512 parts.

        Args:
            path: absolute, or relative to ``start``, the clean name of a folder.
        """
        return resolve(self.root, path, start)

    def follow(self, node: Node) -> Node | None:
        """What a symlink leads to; the node itself where it is none."""
        if node.entry.kind != _SYMLINK:
            return node
        return self.resolve(node.path)

    def walk(self, start: Folder | None = None) -> Iterator[Node]:
        """Everything below a folder, folders before what is in them."""
        folders = [start or self.root]
        while folders:
            for node in folders.pop().children.values():
                yield node
                if is_folder(node):
                    folders.append(node)


def resolve(root: Folder, path: bytes, start: bytes = b"") -> Node | None:
    """As :meth:`Tree.resolve`, from any root."""
    trail: list[Node] = [root]
    parts = path.split(b"/")[::-1]
    if not path.startswith(b"/") and start:
        parts += start.split(b"/")[::-1]
    links = 0
    total = len(parts)
    while parts:
        part = parts.pop()
        here = trail[-1]
        if not is_folder(here):
            return None
        if part in (b"", b"."):
            continue
        if part == b"..":
            if len(trail) > 1:
                trail.pop()
            continue
        child = here.children.get(part)
        if child is None:
            return None
        if child.entry.kind != _SYMLINK:
            trail.append(child)
            continue
        links += 1
        target = child.entry.link.split(b"/")[::-1]
        total += len(target)
        if links > MAX_LINKS or total > MAX_PARTS or not child.entry.link:
            return None
        parts += target
        if child.entry.link.startswith(b"/"):
            del trail[1:]
    return trail[-1]


def shown_path(path: bytes) -> str:
    """A clean name as an absolute path in text; bytes that are no UTF-8 as ``\\xNN``."""
    return "/" + path.decode("utf-8", "backslashreplace")
