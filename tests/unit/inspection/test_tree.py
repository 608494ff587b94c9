"""Layers that are merged, as a node would unpack them."""

from dataclasses import replace

import pytest

from fakes.layerfacts import file, folder, hard_link, layer, opaque, symlink, whiteout
from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from portcullis.inspection.merging import merge
from portcullis.inspection.tree import Tree, is_folder
from portcullis.limits import DEFAULT_LIMITS


def merged(*layers: LayerFacts) -> Tree:
    return merge(layers, limits=DEFAULT_LIMITS)


def seen(tree: Tree) -> dict[str, int]:
    """Every name that is no folder, with its layer."""
    return {node.path.decode(): node.layer for node in tree.walk() if not is_folder(node)}


def hidden(tree: Tree) -> set[tuple[str, int, int]]:
    return {(one.node.path.decode(), one.node.layer, one.layer) for one in tree.shadowed if one.node.is_file}


A, AX, AY = file("a"), file("a/x"), file("a/y")


@pytest.mark.parametrize(
    ("layers", "expected", "gone"),
    [
        ([[A], [file("b")]], {"a": 0, "b": 1}, set()),
        ([[A], [A]], {"a": 1}, {("a", 0, 1)}),
        ([[A, A]], {"a": 0}, {("a", 0, 0)}),
        ([[A], [whiteout("a")]], {}, {("a", 0, 1)}),
        ([[whiteout("a")]], {}, set()),
        ([[AX, AY], [whiteout("a")]], {}, {("a/x", 0, 1), ("a/y", 0, 1)}),
        ([[AX, AY], [whiteout("a/x")]], {"a/y": 0}, {("a/x", 0, 1)}),
        ([[AX], [AY]], {"a/x": 0, "a/y": 1}, set()),
        ([[AX], [folder("a"), AY]], {"a/x": 0, "a/y": 1}, set()),
        ([[AX], [A]], {"a": 1}, {("a/x", 0, 1)}),
        ([[A], [AX]], {"a/x": 1}, {("a", 0, 1)}),
        ([[A], [folder("a")]], {}, {("a", 0, 1)}),
        # Whiteouts touch lower layers only, wherever they stand.
        ([[A], [A, whiteout("a")]], {"a": 1}, {("a", 0, 1)}),
        ([[A], [whiteout("a"), A]], {"a": 1}, {("a", 0, 1)}),
        ([[AX], [AY, whiteout("a")]], {"a/y": 1}, {("a/x", 0, 1)}),
        # In a layer for overlayfs the folder takes the place of the whiteout, and is merged with the lower one.
        ([[AX], [whiteout("a"), folder("a"), AY]], {"a/x": 0, "a/y": 1}, set()),
        ([[AX], [whiteout("a"), AY]], {"a/x": 0, "a/y": 1}, set()),
        ([[A], [whiteout("a"), folder("a")]], {}, {("a", 0, 1)}),
        ([[AX], [opaque("a")]], {}, {("a/x", 0, 1)}),
        ([[AX], [opaque("a"), AY]], {"a/y": 1}, {("a/x", 0, 1)}),
        ([[AX], [AY, opaque("a")]], {"a/y": 1}, {("a/x", 0, 1)}),
        ([[AX], [AX, opaque("a")]], {"a/x": 1}, {("a/x", 0, 1)}),
        ([[AX], [whiteout("a/x"), opaque("a"), folder("a/x")]], {}, {("a/x", 0, 1)}),
        ([[file("a/b/x")], [whiteout("a/b"), opaque("a"), folder("a/b")]], {}, {("a/b/x", 0, 1)}),
        ([[file("a/b/x")], [file("a/b/y"), opaque("a")]], {"a/b/y": 1}, {("a/b/x", 0, 1)}),
        ([[file("a/b/x")], [file("a/b/y"), opaque("a/b"), opaque("a")]], {"a/b/y": 1}, {("a/b/x", 0, 1)}),
        ([[A, file("b")], [opaque(""), file("c")]], {"c": 1}, {("a", 0, 1), ("b", 0, 1)}),
        ([[A], [whiteout("a")], [A]], {"a": 2}, {("a", 0, 1)}),
        # A whiteout names a whole part.
        ([[file("ab"), A], [whiteout("a")]], {"ab": 0}, {("a", 0, 1)}),
        ([[file(".wh.a/b")]], {".wh.a/b": 0}, set()),
    ],
)
def test_layers(layers: list[list[Entry]], expected: dict[str, int], gone: set[tuple[str, int, int]]) -> None:
    tree = merged(*(layer(*entries) for entries in layers))
    assert seen(tree) == expected
    assert hidden(tree) == gone


def test_a_symlink_of_the_same_layer_is_followed_where_a_parent_is_needed() -> None:
    tree = merged(layer(folder("usr/lib"), symlink("lib", "usr/lib"), file("lib/x"), file("lib/sub/y")))
    assert seen(tree) == {"lib": 0, "usr/lib/x": 0, "usr/lib/sub/y": 0}


@pytest.mark.parametrize(
    ("target", "path"),
    [("/usr/lib", "usr/lib/x"), ("../../usr/lib", "usr/lib/x"), ("usr/./lib/", "usr/lib/x"), ("missing", "missing/x")],
)
def test_it_stays_inside_the_root(target: str, path: str) -> None:
    tree = merged(layer(folder("usr/lib"), symlink("lib", target), file("lib/x")))
    assert seen(tree)[path] == 0


def test_a_symlink_of_a_lower_layer_is_hidden_by_a_new_folder() -> None:
    """What containerd's mkparent does in the upper folder of overlayfs: it breaks a merged /usr, and is what runs."""
    tree = merged(layer(file("usr/lib/old"), symlink("lib", "usr/lib")), layer(file("lib/new")))
    assert seen(tree) == {"usr/lib/old": 0, "lib/new": 1}
    lib = tree.get(b"lib")
    assert is_folder(lib)
    assert (lib.entry.mode, lib.layer) == (0o755, 1)
    assert [one.node.path for one in tree.shadowed] == [b"lib"]


def test_a_folder_entry_takes_the_place_of_a_symlink() -> None:
    tree = merged(layer(folder("usr/lib"), symlink("lib", "usr/lib"), file("lib/a"), folder("lib"), file("lib/b")))
    assert seen(tree) == {"usr/lib/a": 0, "lib/b": 0}


def test_a_symlink_takes_the_place_of_a_folder() -> None:
    tree = merged(layer(file("lib/a"), symlink("lib", "usr/lib"), file("lib/b")))
    assert seen(tree) == {"lib": 0, "usr/lib/b": 0}
    assert hidden(tree) == {("lib/a", 0, 0)}


def test_links_above_a_file_that_never_end() -> None:
    with pytest.raises(LayerMalformed, match="more than 40 symlinks"):
        merged(layer(symlink("a", "b"), symlink("b", "a"), file("a/x")))


def test_a_file_where_the_same_layer_needs_a_folder() -> None:
    with pytest.raises(LayerMalformed, match=r"/a in the layer sha256:.* is no folder"):
        merged(layer(file("a"), file("a/b")))


@pytest.mark.parametrize("name", [".wh.", "a/.wh..", "a/.wh..."])
def test_a_whiteout_of_no_name(name: str) -> None:
    with pytest.raises(LayerMalformed, match="whiteout of no name"):
        merged(layer(file("a/x"), file(name)))


def test_metadata_of_aufs_is_no_file_but_may_be_linked_to() -> None:
    tree = merged(
        layer(
            file(".wh..wh.aufs"),
            folder(".wh..wh.plnk"),
            file(".wh..wh.plnk/101", size=7, mode=0o755),
            hard_link("a", ".wh..wh.plnk/101", mode=0o755),
        )
    )
    assert seen(tree) == {"a": 0}
    found = tree.get(b"a")
    assert found is not None
    assert (found.is_file, found.entry.size) == (True, 7)


def test_a_device_that_looks_like_an_overlay_whiteout_is_a_device() -> None:
    device = Entry(b"a", EntryKind.CHARACTER_DEVICE, 0o666, 0, 0, device=(0, 0))
    tree = merged(layer(file("a")), layer(device))
    found = tree.get(b"a")
    assert found is not None
    assert (found.entry.kind, found.layer) == (EntryKind.CHARACTER_DEVICE, 1)


class TestHardLinks:
    def test_it_is_its_target_under_another_name(self) -> None:
        tree = merged(layer(file("a", size=5, marks=["m"], capability=b"c"), hard_link("d/b", "a")))
        one, other = tree.get(b"a"), tree.get(b"d/b")
        assert one is not None
        assert other is not None
        assert (other.is_file, other.entry.size, other.entry.marks, other.entry.capability) == (True, 5, ("m",), b"c")
        assert set(one.names) == set(other.names) == {b"a", b"d/b"}
        assert other.content == one.content

    def test_its_mode_and_owner_are_set_on_the_file(self) -> None:
        """chmod and chown go to the inode: a setuid bit cannot hide in the entry of a link."""
        tree = merged(
            layer(file("a", mode=0o755), hard_link("b", "a", mode=0o4755, uid=3), hard_link("c", "b", mode=0o4755))
        )
        modes = [(node.entry.mode, node.entry.uid) for name in (b"a", b"b", b"c") if (node := tree.get(name))]
        assert modes == [(0o4755, 0)] * 3

    def test_across_layers_it_is_a_copy(self) -> None:
        tree = merged(layer(file("a", size=5, mode=0o755)), layer(hard_link("b", "a", mode=0o4755)))
        one, other = tree.get(b"a"), tree.get(b"b")
        assert one is not None
        assert other is not None
        assert (one.entry.mode, other.entry.mode, other.entry.size, other.layer) == (0o755, 0o4755, 5, 1)
        assert other.content == (0, one.entry)

    def test_to_a_symlink_it_is_that_symlink(self) -> None:
        tree = merged(layer(file("a"), symlink("s", "a"), hard_link("b", "s", mode=0o777)))
        found = tree.get(b"b")
        assert found is not None
        assert (found.entry.kind, found.entry.link) == (EntryKind.SYMLINK, b"a")

    def test_the_parents_of_its_target_may_be_symlinks(self) -> None:
        tree = merged(layer(file("usr/bin/x"), symlink("bin", "usr/bin"), hard_link("y", "bin/x")))
        assert seen(tree) == {"usr/bin/x": 0, "bin": 0, "y": 0}

    def test_to_itself_it_changes_nothing(self) -> None:
        assert seen(merged(layer(file("a"), hard_link("a", "a")))) == {"a": 0}

    @pytest.mark.parametrize("target", ["missing", "d", "a/b"])
    def test_to_no_file(self, target: str) -> None:
        with pytest.raises(LayerMalformed, match=r"/b in the layer .* is a hard link to"):
            merged(layer(file("a"), folder("d"), hard_link("b", target)))

    def test_it_outlives_its_target(self) -> None:
        tree = merged(layer(file("a", size=5), hard_link("b", "a")), layer(whiteout("a")))
        found = tree.get(b"b")
        assert found is not None
        assert (found.is_file, found.entry.size) == (True, 5)


class TestFolders:
    def test_one_that_is_written_again_as_it_was_stays_with_its_layer(self) -> None:
        tree = merged(layer(folder("a", mode=0o700)), layer(folder("a", mode=0o700), file("a/x")))
        found = tree.get(b"a")
        assert found is not None
        assert found.layer == 0

    def test_one_whose_mode_changes_is_of_the_layer_that_did_it(self) -> None:
        tree = merged(layer(folder("a")), layer(folder("a", mode=0o777)))
        found = tree.get(b"a")
        assert found is not None
        assert (found.layer, found.entry.mode) == (1, 0o777)

    def test_the_root_has_a_mode(self) -> None:
        root = merged(layer(folder("", mode=0o777))).root
        assert root.entry.mode == 0o777


class TestResolve:
    TREE = merged(
        layer(
            file("usr/bin/dash"),
            symlink("bin", "usr/bin"),
            symlink("usr/bin/sh", "dash"),
            symlink("abs", "/bin/sh"),
            symlink("up", "../../../../bin/dash"),
            symlink("loop", "pool"),
            symlink("pool", "loop"),
            symlink("self", "self/x"),
            symlink("dangling", "nowhere"),
            symlink("empty", ""),
            *(symlink(f"l{number}", f"l{number + 1}") for number in range(41)),
            file("l41"),
        )
    )

    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("/usr/bin/dash", "usr/bin/dash"),
            ("/bin/dash", "usr/bin/dash"),
            ("/bin/sh", "usr/bin/dash"),
            ("/abs", "usr/bin/dash"),
            ("/up", "usr/bin/dash"),
            ("/bin/../bin/./sh", "usr/bin/dash"),
            ("/bin/..", "usr"),
            ("/", ""),
            ("/..", ""),
            ("/loop", None),
            ("/self", None),
            ("/dangling", None),
            ("/empty", None),
            ("/usr/bin/dash/x", None),
            ("/usr/bin/dash/", None),
            ("/usr/bin/dash/..", None),
            ("/l1", "l41"),
            ("/l0", None),
        ],
    )
    def test_paths(self, path: str, found: str | None) -> None:
        node = self.TREE.resolve(path.encode())
        assert (None if node is None else node.path.decode()) == found

    @pytest.mark.parametrize(("parts", "found"), [(510, True), (511, False)])
    def test_paths_of_too_many_parts(self, parts: int, found: bool) -> None:
        """Those of ``/l`` count as well."""
        tree = merged(layer(symlink("l", "./" * (parts - 1) + "x"), file("x")))
        assert (tree.resolve(b"/l") is not None) is found

    def test_relative_ones_begin_in_a_folder(self) -> None:
        node = self.TREE.resolve(b"sh", start=b"usr/bin")
        assert node is not None
        assert node.path == b"usr/bin/dash"


class TestBounds:
    def test_entries_of_all_layers(self) -> None:
        limits = replace(DEFAULT_LIMITS, image_entries=3)
        assert seen(merge([layer(file("a"), file("b")), layer(file("c"))], limits=limits))
        with pytest.raises(TooLarge, match="the limit imageEntries allows, which is 3"):
            merge([layer(file("a"), file("b")), layer(file("c"), file("d"))], limits=limits)

    def test_folders_that_no_entry_names_count(self) -> None:
        with pytest.raises(TooLarge, match="imageEntries"):
            merge([layer(file("a/b/c/d"))], limits=replace(DEFAULT_LIMITS, image_entries=3))

    def test_symlinks_that_are_followed_count(self) -> None:
        entries = (symlink("a", "b"), symlink("b", "c"), folder("c"))
        with pytest.raises(TooLarge, match="imageEntries"):
            merge(
                [layer(*entries, file("a/x"), file("a/x/../y"))],
                limits=replace(DEFAULT_LIMITS, image_entries=6),
            )
