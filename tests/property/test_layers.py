"""Laws of layers: what a writer put in comes out, and anything else is refused in bounds, whatever the bytes."""

import contextlib
import gzip
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.seeds import BLOBS, TARS
from fuzz.targets import TARGETS, mended
from portcullis.errors import LayerMalformed
from portcullis.inspection.layerfacts import Entry, EntryKind
from portcullis.inspection.tarheader import Fault, number
from unit.inspection.tars import Layer, Wanted, base256, cut, header, pax, read

KINDS = {
    tarfile.REGTYPE: EntryKind.FILE,
    tarfile.LNKTYPE: EntryKind.HARD_LINK,
    tarfile.SYMTYPE: EntryKind.SYMLINK,
    tarfile.CHRTYPE: EntryKind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: EntryKind.BLOCK_DEVICE,
    tarfile.DIRTYPE: EntryKind.FOLDER,
    tarfile.FIFOTYPE: EntryKind.FIFO,
}
DEVICES = {tarfile.CHRTYPE, tarfile.BLKTYPE}
LINKS = {tarfile.LNKTYPE, tarfile.SYMTYPE}

words = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40).filter(
    lambda word: word not in {".", ".."}
)
names = st.lists(words, min_size=1, max_size=8).map("/".join)
ascii_names = st.text("abcdefgh.-_", min_size=3, max_size=30).filter(lambda word: word.strip("."))


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    kind: bytes
    data: bytes
    link: str
    mode: int
    uid: int
    gid: int
    device: tuple[int, int]

    def info(self) -> tarfile.TarInfo:
        made = tarfile.TarInfo(self.name)
        made.type, made.mode, made.uid, made.gid = self.kind, self.mode, self.uid, self.gid
        made.size = len(self.data) if self.kind == tarfile.REGTYPE else 0
        made.linkname = self.link if self.kind in LINKS else ""
        made.devmajor, made.devminor = self.device if self.kind in DEVICES else (0, 0)
        return made

    def entry(self) -> Entry:
        return Entry(
            self.name.encode(),
            KINDS[self.kind],
            self.mode,
            self.uid,
            self.gid,
            self.info().size,
            self.info().linkname.encode(),
            self.device if self.kind in DEVICES else (0, 0),
        )


def members(name: st.SearchStrategy[str], highest: int) -> st.SearchStrategy[list[Member]]:
    owners = st.integers(0, highest)
    return st.lists(
        st.builds(
            Member,
            name,
            st.sampled_from(sorted(KINDS)),
            st.binary(max_size=2000),
            name,
            st.integers(0, 0o7777),
            owners,
            owners,
            st.tuples(st.integers(0, 0o777777), st.integers(0, 0o777777)),
        ),
        max_size=8,
    )


archives = st.one_of(
    st.tuples(st.just(tarfile.USTAR_FORMAT), members(ascii_names, 0o7777777)),
    st.tuples(st.just(tarfile.GNU_FORMAT), members(names, 2**32 - 2)),
    st.tuples(st.just(tarfile.PAX_FORMAT), members(names, 2**32 - 2)),
)
compressions: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstd.compress]


@settings(deadline=None)
@given(archives, st.sampled_from(compressions), st.integers(1, 5000))
def test_what_tarfile_wrote_is_read(
    archive: tuple[int, list[Member]], compress: Callable[[bytes], bytes], step: int
) -> None:
    form, written = archive
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as opened:
        for member in written:
            opened.addfile(member.info(), io.BytesIO(member.data))
    layer = Layer.of(target.getvalue(), compress(target.getvalue()))
    every = Wanted(kept={member.name.encode(): 3000 for member in written})
    facts = layer.read(every, pieces=cut(layer.blob, step))
    assert list(facts.entries) == [member.entry() for member in written]
    last = {member.name.encode(): member for member in written}
    assert facts.bodies == {name: member.data for name, member in last.items() if member.kind == tarfile.REGTYPE}


def changes(data: st.DataObject, content: bytes) -> Iterator[bytes]:
    """The content with a few places written over, cut out or repeated."""
    tokens = st.one_of(
        st.sampled_from(
            (b"\0", b"/", b"..", b" ", b"8", b"\x80", b"\xff", b"ustar  \0", b"x", b"g", b"L", b"S", b"\n")
        ),
        st.binary(min_size=1, max_size=12),
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        how = data.draw(st.sampled_from(("over", "over", "over", "cut", "repeat", "end")))
        if how == "over":
            token = data.draw(tokens)
            content = content[:at] + token + content[at + len(token) :]
        elif how == "end":
            content = content[:at]
        else:
            block = at // 512 * 512
            content = (
                content[:block] + content[block + 512 :] if how == "cut" else content[: block + 512] + content[block:]
            )
        yield content


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None)
@given(content=st.binary(max_size=3000))
def test_any_bytes(name: str, content: bytes) -> None:
    TARGETS[name](content)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("seed", BLOBS)
def test_seeds(name: str, seed: str) -> None:
    TARGETS[name](BLOBS[seed])


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(TARS)))
def test_changed_tars(data: st.DataObject, seed: str) -> None:
    for content in changes(data, TARS[seed]):
        TARGETS["tar"](mended(content))
        TARGETS["layer"](content)


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(BLOBS)))
def test_changed_blobs(data: st.DataObject, seed: str) -> None:
    for content in changes(data, BLOBS[seed]):
        TARGETS["decompress"](content)


@settings(deadline=None)
@given(st.lists(st.sampled_from((b"", b".", b"..", b"...", b"a", b".b", b"c.", b"\xff")), max_size=9).map(b"/".join))
def test_names_are_normal_paths_below_the_root(name: bytes) -> None:
    facts = read(pax((b"path", name)), header(b"unnamed", b"5"))
    expected = posixpath.normpath(b"/" + name.lstrip(b"/")).lstrip(b"/") if name else b"unnamed"
    assert [one.path for one in facts.entries] == [expected]


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(8, 16))
def test_numbers_in_base_256(value: int, width: int) -> None:
    if -(2 ** (8 * width - 2)) <= value < 2 ** (8 * width - 2):
        assert number(base256(value, width), "field") == value


@settings(deadline=None)
@given(st.integers(0, 8**11 - 1), st.sampled_from((b" ", b"\0", b"")), st.sampled_from((b" ", b"\0", b"0")))
def test_octal_numbers(value: int, end: bytes, padding: bytes) -> None:
    assert number((b"%o" % value + end).rjust(12, padding)[-12:], "field") == value


@settings(deadline=None)
@given(st.binary(min_size=8, max_size=12))
def test_any_field(field: bytes) -> None:
    """A number of 64 bits, or the one fault that there is."""
    with contextlib.suppress(Fault):
        assert -(2**63) <= number(field, "field") < 2**63


@settings(deadline=None)
@given(st.data())
def test_a_changed_byte_never_goes_unnoticed_in_a_header(data: st.DataObject) -> None:
    block = header(b"name", uid=1000)
    at, byte = data.draw(st.integers(0, 511)), data.draw(st.integers(0, 255))
    changed = block[:at] + bytes([byte]) + block[at + 1 :]
    try:
        facts = read(changed)
    except LayerMalformed:
        return
    # Only padding of the checksum may be another.
    assert facts.entries == read(block).entries
    assert changed == block or 148 <= at < 156
