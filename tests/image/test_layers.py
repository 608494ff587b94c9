"""What is read of a layer, against what an independent reader makes of it: each layer is unpacked by system tar, as
root, and the tree on disk is compared entry by entry with the facts. No difference is left out."""

import gzip
import json
import os
import stat
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backports import zstd

from image.bases import bases
from image.buildah import Buildah, Built
from image.support import run
from portcullis.cli.demo import samples
from portcullis.inspection.layer import is_readable
from portcullis.inspection.layerfacts import EntryKind, LayerFacts
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest
from unit.inspection.tars import GZIP, NOTHING, PLAIN, ZSTD, Layer

FORMATS = {"gnu": "--format=gnu", "oldgnu": "--format=oldgnu", "pax": "--format=pax"}
CAPABILITY = "security.capability"


@dataclass(frozen=True, slots=True)
class Seen:
    """One name. ``same`` is every name of the same inode: links are compared by what they share."""

    kind: EntryKind
    mode: int
    uid: int
    gid: int
    size: int
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    capability: bytes = b""
    same: frozenset[bytes] = frozenset()


DEVICES = {EntryKind.CHARACTER_DEVICE, EntryKind.BLOCK_DEVICE}
KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFLNK: EntryKind.SYMLINK,
    stat.S_IFCHR: EntryKind.CHARACTER_DEVICE,
    stat.S_IFBLK: EntryKind.BLOCK_DEVICE,
    stat.S_IFDIR: EntryKind.FOLDER,
    stat.S_IFIFO: EntryKind.FIFO,
}


def on_disk(root: Path) -> Mapping[bytes, Seen]:
    found: dict[bytes, Seen] = {}
    inodes: dict[int, set[bytes]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        name = os.fsencode(path.relative_to(root)) if path != root else b""
        device = os.major(status.st_rdev), os.minor(status.st_rdev)
        found[name] = Seen(
            kind,
            # A symlink has none of its own: tar stores 0777, and Linux shows that.
            0o777 if kind is EntryKind.SYMLINK else stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_size if kind is EntryKind.FILE else 0,
            os.readlink(os.fsencode(path)) if kind is EntryKind.SYMLINK else b"",  # noqa: PTH115 - Path tidies it
            device if kind in DEVICES else (0, 0),
            _capability(path),
        )
        if kind is not EntryKind.FOLDER:
            inodes.setdefault(status.st_ino, set()).add(name)
    return _shared(found, inodes.values())


def _capability(path: Path) -> bytes:
    try:
        return os.getxattr(path, CAPABILITY, follow_symlinks=False)
    except OSError:
        return b""


def in_facts(facts: LayerFacts) -> Mapping[bytes, Seen]:
    found: dict[bytes, Seen] = {}
    groups: dict[bytes, set[bytes]] = {}
    for entry in facts.entries:
        if entry.kind == EntryKind.HARD_LINK:
            found[entry.path] = found[entry.link]
            groups.setdefault(entry.link, {entry.link}).add(entry.path)
            groups[entry.path] = groups[entry.link]
            continue
        kind = EntryKind(entry.kind)
        found[entry.path] = Seen(
            kind, entry.mode, entry.uid, entry.gid, entry.size, entry.link, entry.device, entry.capability
        )
    return _shared(found, groups.values())


def _shared(found: dict[bytes, Seen], groups: Iterable[set[bytes]]) -> Mapping[bytes, Seen]:
    for group in groups:
        if len(group) > 1:
            for name in group:
                found[name] = replace(found[name], same=frozenset(group))
    return found


def unpacked(content: bytes, folder: Path) -> Path:
    root = folder / "unpacked"
    root.mkdir()
    command = [
        "tar",
        "--extract",
        "--preserve-permissions",
        "--numeric-owner",
        "--same-owner",
        "--delay-directory-restore",
    ]
    command += ["--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "--directory", str(root)]
    subprocess.run(command, input=content, check=True)
    return root


def assert_same(layer: Layer, content: bytes, folder: Path, least: int) -> None:
    facts = layer.read(NOTHING, DEFAULT_LIMITS)
    expected, found = on_disk(unpacked(content, folder)), in_facts(facts)
    if not any(entry.path == b"" for entry in facts.entries):
        expected = {name: seen for name, seen in expected.items() if name}
    differences = {
        name: (expected.get(name), found.get(name))
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    }
    assert not differences, list(differences.items())[:5]
    assert len(found) >= least


@pytest.mark.parametrize("name", ["BUILDER", "BASE"])
@pytest.mark.parametrize("media_type", [PLAIN, GZIP, ZSTD])
def test_distribution_trees(programs: None, name: str, media_type: str, tmp_path: Path) -> None:
    """Debian by debootstrap, and the runtime base of the image."""
    content = bases()[name].archive.read_bytes()
    blob = {PLAIN: bytes, GZIP: lambda plain: gzip.compress(plain, 1), ZSTD: zstd.compress}[media_type](content)
    assert_same(Layer.of(content, blob, media_type), content, tmp_path, least=1000)


@pytest.fixture
def every_kind(programs: None, tmp_path: Path) -> Path:
    """A tree with one of each thing that a tar can hold."""
    root = tmp_path / "tree"
    deep = root / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / ("f" * 200)).write_bytes(b"deep")
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    (root / "setuid").write_bytes(b"x" * 513)
    os.chown(root / "setuid", 70_000, 4_000_000_000)
    (root / "setuid").chmod(0o6755)
    (root / "hard").hardlink_to(root / "setuid")
    (root / "symlink").symlink_to("../" * 60 + "etc/passwd")
    (root / "loop").symlink_to("loop")
    os.lchown(root / "loop", 7, 8)
    (root / "two links").hardlink_to(root / "symlink")
    os.mkfifo(root / "fifo", 0o600)
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    (root / "ünïcödé").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe\nline")).write_bytes(b"not UTF-8")
    (root / ".wh.gone").write_bytes(b"")
    (root / "program").write_bytes(b"\x7fELF")
    run("setcap", "cap_net_raw+ep", root / "program")
    with (root / "sparse").open("wb") as file:
        for at in range(30):
            file.seek(at << 16)
            file.write(b"data" * 1024)
        file.truncate(31 << 16)
    return root


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("sparse", [[], ["--sparse"]], ids=["whole", "sparse"])
def test_every_kind_of_entry(every_kind: Path, form: str, sparse: list[str], tmp_path: Path) -> None:
    xattrs = ["--xattrs", "--xattrs-include=security.capability"] if form == "--format=pax" else []
    command = ["tar", "--create", form, *sparse, *xattrs, "--numeric-owner", "--directory", str(every_kind), "."]
    content = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert_same(Layer.of(content, gzip.compress(content, 1)), content, tmp_path, least=18)


def test_the_images_of_the_demo(programs: None, tmp_path: Path) -> None:
    count = 0
    for sample in samples.build(samples.SAMPLES, datetime.now(UTC)).values():
        for blob in sample.blobs:
            if is_readable(blob.media_type):
                content = gzip.decompress(blob.content)
                folder = tmp_path / str(count)
                folder.mkdir()
                assert_same(Layer.of(content, blob.content, blob.media_type), content, folder, least=1)
                count += 1
    assert count > 1


def test_the_image_itself(buildah: Buildah, built: Built, tmp_path: Path) -> None:
    """Layer by layer, as buildah writes them."""
    target = tmp_path / "pushed"
    buildah("push", "--quiet", "--format", "oci", built.tag, f"dir:{target}")
    manifest = json.loads((target / "manifest.json").read_bytes())
    config = json.loads((target / manifest["config"]["digest"].partition(":")[2]).read_bytes())
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) > 1
    for descriptor, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        digest = Digest(descriptor["digest"])
        blob = (target / digest.hex).read_bytes()
        content = gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob
        folder = tmp_path / digest.hex
        folder.mkdir()
        assert_same(Layer(blob, digest, Digest(diff_id), descriptor["mediaType"]), content, folder, least=1)
