"""Laws of merged layers: what is seen is what overlayfs would show, and no file is lost without a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from fakes.layerfacts import EMPTY_CONFIG, file, folder, layer, opaque, symlink, whiteout
from portcullis.errors import LayerMalformed
from portcullis.inspection.config import image_user
from portcullis.inspection.layerfacts import Entry
from portcullis.inspection.merging import merge
from portcullis.inspection.osrelease import parse_os_release
from portcullis.inspection.packages import DATABASES, read_databases
from portcullis.inspection.tree import is_folder
from portcullis.inspection.users import resolve_user
from portcullis.limits import DEFAULT_LIMITS

Operation = tuple[str, str]

paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)
operations = st.tuples(st.sampled_from(["file", "folder", "whiteout", "opaque"]), paths)
layers = st.lists(st.lists(operations, max_size=8), min_size=1, max_size=4)

MAKE = {"file": file, "folder": folder, "whiteout": whiteout, "opaque": opaque}


def entries(some: Sequence[Operation]) -> list[Entry]:
    return [MAKE[what](path) for what, path in some]


class Impossible(Exception):
    """No runtime unpacks it."""


def above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


@dataclass
class Upper:
    """A layer as it lies in overlayfs' upper folder: names to file, folder or whiteout, and opaque folders."""

    names: dict[str, str] = field(default_factory=dict)
    opaque: set[str] = field(default_factory=set)

    def make(self, folders: Sequence[str]) -> None:
        for one in folders:
            if self.names.get(one) == "file":
                raise Impossible
            self.names[one] = "folder"

    def apply(self, what: str, path: str) -> None:
        self.make(above(path))
        there = self.names.get(path)
        if what == "opaque":
            self.make([path])
            self.opaque.add(path)
        elif what == "whiteout":
            if there == "folder":
                self.opaque.add(path)
            elif there is None:
                self.names[path] = "whiteout"
        elif what == "folder":
            self.names[path] = "folder"
        else:
            self.names = {name: kind for name, kind in self.names.items() if not f"{name}/".startswith(f"{path}/")}
            self.opaque = {name for name in self.opaque if not f"{name}/".startswith(f"{path}/")}
            self.names[path] = "file"

    def over(self, lower: dict[str, tuple[str, int]], number: int) -> dict[str, tuple[str, int]]:
        seen = {path: was for path, was in lower.items() if not self.hides(path, was[0])}
        for path, kind in self.names.items():
            if kind != "whiteout":
                seen[path] = (kind, number)
        return seen

    def hides(self, path: str, kind: str) -> bool:
        if kind == "file" and path in self.names:
            return True
        upwards = above(path)
        return any(self.names.get(one) in ("file", "whiteout") for one in (*upwards, path)) or any(
            one in self.opaque for one in upwards
        )


def overlaid(every: Sequence[Sequence[Operation]]) -> dict[str, tuple[str, int]]:
    seen: dict[str, tuple[str, int]] = {}
    for number, some in enumerate(every):
        upper = Upper()
        for what, path in some:
            upper.apply(what, path)
        seen = upper.over(seen, number)
    return seen


@given(layers)
def test_what_is_seen_is_what_overlayfs_shows(every: list[list[Operation]]) -> None:
    try:
        expected = overlaid(every)
    except Impossible:
        expected = None
    try:
        tree = merge([layer(*entries(some)) for some in every], limits=DEFAULT_LIMITS)
    except LayerMalformed:
        assert expected is None
        return
    assert expected is not None
    seen = {node.path.decode(): node for node in tree.walk()}
    assert {path: "folder" if is_folder(node) else "file" for path, node in seen.items()} == {
        path: kind for path, (kind, _) in expected.items()
    }
    assert {path: node.layer for path, node in seen.items() if node.is_file} == {
        path: number for path, (kind, number) in expected.items() if kind == "file"
    }


@given(layers)
def test_no_file_is_lost(every: list[list[Operation]]) -> None:
    """Each is seen, or told as hidden: a secret cannot fall between the two."""
    try:
        tree = merge([layer(*entries(some)) for some in every], limits=DEFAULT_LIMITS)
    except LayerMalformed:
        return
    brought = sum(1 for some in every for what, _ in some if what == "file")
    hidden = sum(1 for shadow in tree.shadowed if shadow.node.is_file)
    assert brought == hidden + sum(1 for node in tree.walk() if node.is_file)


targets = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), max_size=4).map("/".join)
names = st.one_of(operations.map(lambda one: MAKE[one[0]](one[1])), st.builds(symlink, paths, targets))


@given(st.lists(st.lists(names, max_size=10), min_size=1, max_size=3), targets)
def test_symlinks_never_lead_out(every: list[list[Entry]], path: str) -> None:
    try:
        tree = merge([layer(*some) for some in every], limits=DEFAULT_LIMITS)
    except LayerMalformed:
        return
    there = {id(node) for node in (tree.root, *tree.walk())}
    found = tree.resolve(b"/" + path.encode())
    assert found is None or id(found) in there
    for node in tree.walk():
        assert tree.get(node.path) is node
        assert b".." not in node.path.split(b"/")
        assert not node.name.startswith(b".wh.")


@dataclass
class Fixed:
    content: bytes

    def read(self, path: bytes) -> bytes | None:
        return self.content


@given(
    st.one_of(st.binary(max_size=200), st.text("app:x0-9+\n #", max_size=60).map(str.encode)),
    st.text("ap:0+-9", max_size=6),
)
def test_any_passwd_and_any_user(content: bytes, raw: str) -> None:
    """Whoever is not root is somebody else for certain."""
    found = resolve_user(image_user(replace(EMPTY_CONFIG, user=raw)), Fixed(content))
    assert found.raw == raw
    assert found.uid is None or 0 <= found.uid < 2**32
    if found.root is False:
        assert found.uid
    if found.uid == 0:
        assert found.root is True


@given(st.binary(max_size=300))
def test_any_os_release(content: bytes) -> None:
    assert parse_os_release(content).name.isprintable()


@given(st.sampled_from(sorted(DATABASES)), st.binary(max_size=300))
def test_any_package_database(path: bytes, body: bytes) -> None:
    (found,) = read_databases({path: body}, limits=DEFAULT_LIMITS)
    assert not (found.fault and found.packages)
