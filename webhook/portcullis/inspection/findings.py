"""The rules of the catalogue, applied to the merged files of an image and to what later layers hide."""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import or_
from typing import Final

from portcullis.errors import TooLarge
from portcullis.inspection.buildargs import History
from portcullis.inspection.capabilities import shown_capabilities
from portcullis.inspection.catalogue import Catalogue, CompiledRule
from portcullis.inspection.folding import Heap, fold
from portcullis.inspection.layerfacts import EntryKind
from portcullis.inspection.tree import Folder, Node, Tree, is_folder, shown_path
from portcullis.limits import Limits
from portcullis.model.contents import Finding, FindingClass
from portcullis.model.image import Digest
from portcullis.text import clean

_FILE, _SYMLINK = int(EntryKind.FILE), int(EntryKind.SYMLINK)
_EXECUTABLE: Final = 0o111
_TEXT_CHARS: Final = 200


@dataclass(slots=True, eq=False)
class _Cover:
    """A folder that is a finding, and the files in it by the layer that brought them."""

    rule: CompiledRule
    folder: Folder
    files: dict[int, int]
    bytes: dict[int, int]

    def add(self, layer: int, size: int) -> None:
        self.files[layer] = self.files.get(layer, 0) + 1
        self.bytes[layer] = self.bytes.get(layer, 0) + size


@dataclass(frozen=True, slots=True)
class _Hit:
    rule: CompiledRule
    node: Node
    layer: int
    what: str
    count: int = 1
    size: int = 0
    deleted: bool = False


_Covers = tuple[_Cover, ...]
_Classes = frozenset[FindingClass]


class _Scan:
    """One way through a tree."""

    def __init__(self, tree: Tree, catalogue: Catalogue, roots: Sequence[bytes], limits: Limits) -> None:
        self._tree = tree
        self._limits = limits
        self._catalogue = catalogue
        self._roots = tuple(root + b"/" for root in roots)
        self._covers: list[_Cover] = []
        self._found: Counter[CompiledRule] = Counter()
        self.hits: list[_Hit] = []
        self._modes = {
            kind: tuple(rule for rule in catalogue.modes if rule.rule.kind == kind) for kind in ("file", "folder")
        }
        self._bits = {kind: functools.reduce(or_, (rule.bits for rule in self._modes[kind]), 0) for kind in self._modes}

    def run(self) -> list[_Hit]:
        self._walk()
        for cover in self._covers:
            what = cover.rule.rule.what or _text(cover.folder.name)
            self.hits += [
                _Hit(cover.rule, cover.folder, layer, what, count, cover.bytes[layer])
                for layer, count in cover.files.items()
            ]
        self._hidden()
        return self.hits

    def _walk(self) -> None:
        """Folders are what all is found in, and what is asked of each file must cost nearly nothing."""
        file_rules, folder_rules = self._catalogue.files.candidates, self._catalogue.folders.candidates
        bits = self._bits["file"]
        stack: list[tuple[Folder, _Covers]] = [(self._tree.root, ())]
        while stack:
            folder, covers = stack.pop()
            covered: _Classes = frozenset(name for cover in covers for name in cover.rule.rule.classes)
            for name, node in folder.children.items():
                entry = node.entry
                if entry.kind == _FILE:
                    if covers:
                        _cover(covers, node)
                    if file_rules(name):
                        self._named(name, node, node, covered)
                    if entry.mode & bits or entry.capability:
                        self._marked(node, covered)
                elif is_folder(node):
                    self._mode(node, "folder", covered)
                    inner = self._folder(name, node, covers, covered) if folder_rules(name) else covers
                    stack.append((node, inner))
                elif entry.kind == _SYMLINK and file_rules(name):
                    self._symlink(name, node, covered)

    def _folder(self, name: bytes, node: Folder, covers: _Covers, covered: _Classes) -> _Covers:
        """The topmost folder is the finding: below it, further ones of its class are not asked for."""
        for rule in self._catalogue.folders.matches(name, node.path):
            if covered.issuperset(rule.rule.classes) or not self._wanted(rule, node.path):
                continue
            cover = _Cover(rule, node, {}, {})
            self._covers.append(cover)
            covers = (*covers, cover)
        return covers

    def _named(self, name: bytes, node: Node, file: Node, covered: _Classes) -> None:
        """``file`` is the one that ``node`` is, or leads to."""
        for rule in self._catalogue.files.matches(name, node.path):
            if not rule.rule.executable and covered.issuperset(rule.rule.classes):
                continue
            if _fits(rule, file) and self._wanted(rule, node.path):
                self._add(_Hit(rule, node, node.layer, _what(rule, name, file), size=file.entry.size))

    def _symlink(self, name: bytes, node: Node, covered: _Classes) -> None:
        file = self._tree.follow(node)
        if file is not None and file.is_file:
            self._named(name, node, file, covered)

    def _mode(self, node: Node, kind: str, covered: _Classes) -> None:
        mode = node.entry.mode
        if not mode & self._bits[kind]:
            return
        for rule in self._modes[kind]:
            if not mode & rule.bits or mode & rule.without or covered.issuperset(rule.rule.classes):
                continue
            if self._wanted(rule, node.path):
                what = rule.rule.what or rule.rule.id
                self._add(_Hit(rule, node, node.layer, what, size=node.entry.size))

    def _marked(self, node: Node, covered: _Classes) -> None:
        self._mode(node, "file", covered)
        what = shown_capabilities(node.entry.capability) if node.entry.capability else ""
        if what:
            for rule in self._catalogue.capabilities:
                if self._wanted(rule, node.path):
                    self._add(_Hit(rule, node, node.layer, rule.rule.what or what, size=node.entry.size))

    def _hidden(self) -> None:
        """Secrets that later layers hide. A copy with another owner of what is still there is no news."""
        for shadow in self._tree.shadowed:
            node = shadow.node
            if node.entry.kind != _FILE:
                continue
            name = node.name
            if not self._catalogue.files.candidates(name):
                continue
            for rule in self._catalogue.files.matches(name, node.path):
                if rule.hidden and _fits(rule, node) and self._wanted(rule, node.path) and not self._seen(node):
                    what = _what(rule, name, node)
                    self._add(_Hit(rule, node, node.layer, what, size=node.entry.size, deleted=True))

    def _add(self, hit: _Hit) -> None:
        """What will not be folded is counted at once: an image that is nothing but shells is not listed first."""
        self.hits.append(hit)
        self._found[hit.rule] += 1
        if not hit.rule.rule.fold and self._found[hit.rule] > self._limits.contents_findings:
            raise _exceeded(hit.rule.rule.classes[0], self._limits)

    def _seen(self, node: Node) -> bool:
        there = self._tree.get(node.path)
        if there is None or there.entry.kind != _FILE:
            return False
        return there.entry.size == node.entry.size and there.entry.marks == node.entry.marks

    def _wanted(self, rule: CompiledRule, path: bytes) -> bool:
        return rule.covers(path) and (not rule.rule.application or path.startswith(self._roots))


def _cover(covers: _Covers, node: Node) -> None:
    for cover in covers:
        if node.entry.size >= cover.rule.rule.min_bytes:
            cover.add(node.layer, node.entry.size)


def find(
    tree: Tree,
    *,
    layers: Sequence[Digest],
    history: History,
    roots: Sequence[bytes],
    catalogue: Catalogue,
    limits: Limits,
) -> dict[FindingClass, tuple[Finding, ...]]:
    """What the rules of the catalogue find, by class, in the order of paths.

    Args:
        layers: digests, base first.
        roots: clean names of the application's folders.

    Raises:
        TooLarge: a class has more than ``contents_findings``.
    """
    found: defaultdict[FindingClass, list[Finding]] = defaultdict(list)

    def keep(rule: CompiledRule, finding: Finding) -> None:
        for name in rule.rule.classes:
            found[name].append(finding)
            if len(found[name]) > limits.contents_findings:
                raise _exceeded(name, limits)

    for rule, finding in history.findings:
        keep(rule, finding)
    masses: defaultdict[tuple[CompiledRule, int], list[_Hit]] = defaultdict(list)
    for hit in _Scan(tree, catalogue, roots, limits).run():
        if hit.rule.rule.fold:
            masses[hit.rule, hit.layer].append(hit)
        else:
            keep(hit.rule, _finding(hit, layers, history))
    for (rule, layer), hits in masses.items():
        for hit in _folded(tree, rule, layer, hits):
            keep(rule, _finding(hit, layers, history))
    return {name: tuple(sorted(found[name], key=_order)) for name in FindingClass}


def _exceeded(name: FindingClass, limits: Limits) -> TooLarge:
    return TooLarge(
        f"the image has more findings of the class {name} than the limit contentsFindings allows, which is"
        f" {limits.contents_findings}"
    )


def _folded(tree: Tree, rule: CompiledRule, layer: int, hits: Sequence[_Hit]) -> Iterator[_Hit]:
    by_path = {hit.node.path: hit for hit in hits}
    for heap in fold(Heap(hit.node.path, hit.count, hit.size) for hit in hits):
        hit = by_path.get(heap.path)
        if hit is not None and hit.count == heap.count:
            yield hit
            continue
        node = tree.get(heap.path)
        assert node is not None
        yield _Hit(rule, node, layer, hits[0].what, heap.count, heap.size)


def findings_of(
    nodes: Sequence[tuple[Node, str]],
    *,
    tree: Tree,
    rule: str,
    layers: Sequence[Digest],
    history: History,
    limit: int,
    exceeded: Callable[[], TooLarge],
) -> tuple[Finding, ...]:
    """Findings of a rule that is no rule of the catalogue, folded.

    Raises:
        TooLarge: there are more than ``limit``, by ``exceeded``.
    """
    by_layer: defaultdict[int, list[tuple[Node, str]]] = defaultdict(list)
    for node, what in nodes:
        by_layer[node.layer].append((node, what))
    found: list[Finding] = []
    for layer, some in by_layer.items():
        by_path = {node.path: (node, what) for node, what in some}
        for heap in fold(Heap(node.path, 1, node.entry.size) for node, _ in some):
            place, what = by_path.get(heap.path) or (tree.get(heap.path), some[0][1])
            assert place is not None
            found.append(_shown(place, layer, what, rule, layers, history, count=heap.count, size=heap.size))
    if len(found) > limit:
        raise exceeded()
    return tuple(sorted(found, key=_order))


def _finding(hit: _Hit, layers: Sequence[Digest], history: History) -> Finding:
    return _shown(
        hit.node,
        hit.layer,
        hit.what,
        hit.rule.rule.id,
        layers,
        history,
        count=hit.count,
        size=hit.size,
        deleted=hit.deleted,
    )


def _shown(
    node: Node,
    layer: int,
    what: str,
    rule: str,
    layers: Sequence[Digest],
    history: History,
    *,
    count: int,
    size: int,
    deleted: bool = False,
) -> Finding:
    entry = node.entry
    return Finding(
        path=shown_path(node.path),
        what=what,
        rule=rule,
        layer=layers[layer],
        layer_index=layer,
        created_by=history.lines[layer],
        deleted=deleted,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=size,
        count=count,
    )


def _order(finding: Finding) -> tuple[str, str, int]:
    return finding.path, finding.rule, finding.layer_index


def _fits(rule: CompiledRule, file: Node) -> bool:
    """Whether the file itself is what the rule is about; its name and place were looked at."""
    entry, written = file.entry, rule.rule
    if written.executable and not entry.mode & _EXECUTABLE:
        return False
    if rule.content is not None and written.id not in entry.marks:
        return False
    return entry.size >= written.min_bytes


def _what(rule: CompiledRule, name: bytes, file: Node) -> str:
    """``sh (busybox)``: beside its own name that of the file that a link leads to."""
    what = rule.rule.what or _text(name)
    if rule.rule.what:
        return what
    other = file.name
    if other == name:
        other = next(
            (path.rpartition(b"/")[2] for path in file.names if path.endswith((b"/busybox", b"/toybox"))), name
        )
    return what if other == name else f"{what} ({_text(other)})"


def _text(name: bytes) -> str:
    return clean(name.decode("utf-8", "backslashreplace"), _TEXT_CHARS)
