"""The layers of an image, merged into one tree: what a container sees, and what lies hidden below it.

A layer is a change set (image-spec layer.md). Where readers of it differ, this is what containerd and Docker do when
they unpack it for overlayfs, for that is what a node sees (containerd ``pkg/archive/tar.go`` applyNaive, mkparent and
OverlayConvertWhiteout; moby ``pkg/archive/diff.go`` UnpackLayer). It is done in the same two steps.

1. Each layer is unpacked into a folder of its own, entry by entry, and never sees what is below:

   * A folder over a folder keeps what is in it. Anything else replaces what was there, with all below it.
   * The parents of a name are followed through symlinks of the same layer, inside the root; missing ones are made.
   * A hard link is another name of its target's file; its own mode and owner are then set on that file, under all its
     names. To a file of a lower layer it is a copy.
   * A whiteout is a device under the name that it hides; what comes later under that name takes its place.
   * AUFS metadata (``.wh..wh.plnk`` and its like at the root) is ignored, but what is in it may be linked to.

2. Then it is laid over the layers below, as overlayfs does (kernel ``Documentation/filesystems/overlayfs.rst``):

   * A folder over a folder is merged with it, unless it is opaque. Anything else hides what is below, so a folder
     hides a symlink that stands where it needs a parent.
   * A whiteout hides what is below, and so never what its own layer has.
   * A character device 0:0 in a tar is a device: only the whiteouts above are whiteouts.
"""

from collections.abc import Sequence
from typing import Final

from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from portcullis.inspection.tree import MAX_LINKS, Folder, Inode, Node, Shadow, Tree, is_folder, resolve, shown_path
from portcullis.limits import Limits
from portcullis.text import clean

_WHITEOUT: Final = b".wh."
_META: Final = b".wh..wh."
_OPAQUE: Final = b".wh..wh..opq"

_HARD_LINK, _SYMLINK, _FOLDER, _DEVICE = (
    int(EntryKind.HARD_LINK),
    int(EntryKind.SYMLINK),
    int(EntryKind.FOLDER),
    int(EntryKind.CHARACTER_DEVICE),
)


def merge(layers: Sequence[LayerFacts], *, limits: Limits) -> Tree:
    """The layers, base first, as one tree.

    Raises:
        LayerMalformed: no runtime could unpack them.
        TooLarge: over ``image_entries``.
    """
    merging = _Merging(limits)
    for facts in layers:
        merging.add(facts)
    return merging.tree


class _Whiteout(Node):
    """Only in a layer that is not yet laid over the others."""

    __slots__ = ()


class _Merging:
    """A tree that layers are added to."""

    def __init__(self, limits: Limits) -> None:
        self.tree = Tree()
        self._limits = limits
        self._made = 0
        self._layer = -1
        self._digest = ""
        # Of the layer that is being unpacked:
        self._upper = self.tree.root
        self._parents: dict[bytes, Folder] = {}
        self._inodes: list[Inode] = []
        self._aufs: dict[bytes, Node] = {}
        self._whiteouts = False

    # -- unpacking a layer -------------------------------------------------------------------------------------

    def add(self, facts: LayerFacts) -> None:
        """Puts a layer on top. Raises as :func:`merge`."""
        self._layer += 1
        self.tree.layers += 1
        self._digest = facts.digest
        self._count(len(facts.entries))
        self._upper = Folder(b"", self.tree.root.entry, self._layer, implied=True)
        self._whiteouts = False
        for entry in facts.entries:
            self._place(entry)
        for inode in self._inodes:
            for node in inode.nodes:
                node.entry = inode.entry
        self._parents.clear()
        self._inodes.clear()
        self._aufs.clear()
        self._lay_over()

    def _place(self, entry: Entry) -> None:
        path = entry.path
        if path.startswith(_META) and path != _OPAQUE:
            self._aufs[path] = Node(path, entry, self._layer)
            return
        parent_path, _, name = path.rpartition(b"/")
        parent = self._parents.get(parent_path)
        if parent is None:
            parent = self._parents[parent_path] = self._parent(parent_path)
        if name.startswith(_WHITEOUT):
            self._white_out(parent, name)
            return
        old = parent.children.get(name) if path else parent
        if entry.kind == _FOLDER and is_folder(old):
            old.entry = entry
            old.implied = False
            return
        if not path:
            return
        # The path as written is the real one unless a symlink led here.
        real = path if parent.path == parent_path else _joined(parent.path, name)
        new = self._made_of(real, entry)
        if old is new:
            return
        if old is not None and type(old) is not _Whiteout:
            self._forget(old, new)
            if is_folder(old) or old.entry.kind == _SYMLINK:
                self._parents.clear()
        parent.children[name] = new

    def _made_of(self, path: bytes, entry: Entry) -> Node:
        if entry.kind == _FOLDER:
            return Folder(path, entry, self._layer)
        if entry.kind == _HARD_LINK:
            return self._linked(path, entry)
        return Node(path, entry, self._layer)

    def _linked(self, path: bytes, entry: Entry) -> Node:
        """Another name of a file that is there."""
        target = self._aufs.get(entry.link) or self._link_target(entry.link)
        if target is None or is_folder(target):
            raise self._malformed(entry, f"is a hard link to {_shown(entry.link)}, which is no file of this image")
        if target.path == path and target.layer == self._layer:
            return target
        old = target.entry if target.inode is None else target.inode.entry
        shared = Entry(
            path=old.path,
            kind=old.kind,
            mode=old.mode if old.kind == _SYMLINK else entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=old.size,
            link=old.link,
            device=old.device,
            capability=entry.capability or old.capability,
            marks=old.marks,
        )
        node = Node(path, shared, self._layer)
        layer, source = target.content
        if target.layer != self._layer:
            node.inode = Inode(source, layer, node)
            return node
        inode = target.inode
        if inode is None:
            inode = target.inode = Inode(source, layer, target)
            self._inodes.append(inode)
        inode.nodes.append(node)
        inode.entry = shared
        node.inode = inode
        return node

    def _link_target(self, link: bytes) -> Node | None:
        """In this layer, else in those below. Its last part is not followed, its parents are."""
        parent_path, _, name = link.rpartition(b"/")
        for root in (self._upper, self.tree.root):
            parent = resolve(root, b"/" + parent_path)
            found = parent.children.get(name) if is_folder(parent) else None
            if found is not None and type(found) is not _Whiteout:
                return found
        return None

    def _white_out(self, parent: Folder, name: bytes) -> None:
        if name == _OPAQUE:
            parent.opaque = True
            return
        if name.startswith(_META):
            return
        hidden = name[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise LayerMalformed(f"the layer {self._digest} has a whiteout of no name in {_shown(parent.path)}")
        there = parent.children.get(hidden)
        if there is None:
            self._whiteouts = True
            path = _joined(parent.path, hidden)
            parent.children[hidden] = _Whiteout(path, Entry(path, _DEVICE, 0, 0, 0), self._layer)
        elif is_folder(there):  # no runtime can make a device there; the specification hides what is below
            there.opaque = True

    # -- parents -----------------------------------------------------------------------------------------------

    def _parent(self, path: bytes) -> Folder:
        """The folder of this name in the layer that is being unpacked, made where it has none."""
        folder = self._upper
        if not path:
            return folder
        for part in path.split(b"/"):
            child = folder.children.get(part)
            if is_folder(child):
                folder = child
            elif child is not None and child.entry.kind == _SYMLINK:
                return self._parent_by_links(path)
            else:
                folder = self._new_folder(folder, part)
        return folder

    def _parent_by_links(self, path: bytes) -> Folder:
        """As :func:`_parent`. First the symlinks of this layer are followed, then missing folders are made."""
        trail: list[tuple[bytes, Node | None]] = []
        parts = path.split(b"/")[::-1]
        links = 0
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del trail[-1:]
                continue
            above = trail[-1][1] if trail else self._upper
            child = above.children.get(part) if is_folder(above) else None
            if child is None or child.entry.kind != _SYMLINK:
                trail.append((part, child))
                continue
            target = child.entry.link.split(b"/")[::-1]
            links += 1
            self._count(1 + len(target) // 16)
            if links > MAX_LINKS:
                raise LayerMalformed(
                    f"the layer {self._digest} has more than {MAX_LINKS} symlinks above {_shown(path)}"
                )
            if child.entry.link.startswith(b"/"):
                trail.clear()
            parts += target
        folder = self._upper
        for part, _ in trail:
            child = folder.children.get(part)
            folder = child if is_folder(child) else self._new_folder(folder, part)
        return folder

    def _new_folder(self, parent: Folder, name: bytes) -> Folder:
        old = parent.children.get(name)
        if old is not None and type(old) is not _Whiteout:
            raise self._malformed(old.entry, "is no folder, and the same layer has files below it")
        self._count(1)
        path = _joined(parent.path, name)
        new = Folder(path, Entry(path, _FOLDER, 0o755, 0, 0), self._layer, implied=True)
        parent.children[name] = new
        return new

    # -- laying it over those below ----------------------------------------------------------------------------

    def _lay_over(self) -> None:
        self._renew(self.tree.root, self._upper)
        pairs = [(self.tree.root, self._upper)]
        while pairs:
            below, above = pairs.pop()
            children = below.children
            for name, new in above.children.items():
                old = children.get(name)
                if is_folder(new) and is_folder(old):
                    self._renew(old, new)
                    pairs.append((old, new))
                    continue
                if old is not None:
                    self._forget(old, None if type(new) is _Whiteout else new)
                    del children[name]
                if type(new) is not _Whiteout:
                    children[name] = new
                    if is_folder(new) and self._whiteouts:
                        self._without_whiteouts(new)

    def _renew(self, old: Folder, new: Folder) -> None:
        """A folder over a folder. Builders write parents again as they were: those stay with the layer they are
        from."""
        if new.opaque:
            for node in old.children.values():
                self._forget(node, None)
            old.children = {}
        before, after = old.entry, new.entry
        if not new.implied and (before.mode, before.uid, before.gid) != (after.mode, after.uid, after.gid):
            old.entry = after
            old.layer = self._layer

    def _without_whiteouts(self, folder: Folder) -> None:
        """Whiteouts in a folder that has nothing below it hide nothing."""
        folders = [folder]
        while folders:
            here = folders.pop()
            for name in [name for name, node in here.children.items() if type(node) is _Whiteout]:
                del here.children[name]
            folders += [node for node in here.children.values() if is_folder(node)]

    def _forget(self, node: Node, by: Node | None) -> None:
        if type(node) is _Whiteout:
            return
        self.tree.shadowed.append(Shadow(node, self._layer, by))
        if is_folder(node):
            self.tree.shadowed += [
                Shadow(below, self._layer, None) for below in self.tree.walk(node) if type(below) is not _Whiteout
            ]

    # -- bounds ------------------------------------------------------------------------------------------------

    def _count(self, more: int) -> None:
        self._made += more
        if self._made > self._limits.image_entries:
            raise TooLarge(
                f"the layers of the image up to {self._digest} have more files and folders than the limit imageEntries"
                f" allows, which is {self._limits.image_entries}"
            )

    def _malformed(self, entry: Entry, problem: str) -> LayerMalformed:
        return LayerMalformed(f"{_shown(entry.path)} in the layer {self._digest} {problem}")


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def _shown(path: bytes) -> str:
    return clean(shown_path(path), 300)
