"""One layer as a whole: what makes the answer true, step by step, and the bodies that are looked into.

The steps are those of ``read_layer``: the blob has its digest (1), the tar in it its diffID (2), the entries come from
those bytes (3), and what cannot be read for certain is an error (4), which the vectors and the tests of the walk show.
"""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from backports import zstd

from portcullis.errors import DigestMismatch, LayerMalformed, LayerUnsupported, TooLarge
from portcullis.inspection.layer import is_readable
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from portcullis.limits import DEFAULT_LIMITS, Limits
from portcullis.model.image import Digest
from unit.inspection.tars import (
    END,
    GZIP,
    PLAIN,
    ZSTD,
    Layer,
    Wanted,
    cut,
    entry,
    header,
    pax,
    read,
    sha256,
    tar,
)

CONTENT = tar(entry(b"etc/passwd", data=b"root:x:0:0"), header(b"bin/", b"5"))
PACKED = gzip.compress(CONTENT, mtime=0)


def limits(**changes: int) -> Limits:
    return replace(DEFAULT_LIMITS, **changes)


def test_facts() -> None:
    facts = Layer.of(CONTENT, PACKED).read(Wanted(kept={b"etc/passwd": 100}))
    assert facts == LayerFacts(
        digest=sha256(PACKED),
        diff_id=sha256(CONTENT),
        compressed_bytes=len(PACKED),
        plain_bytes=len(CONTENT),
        entries=(
            Entry(b"etc/passwd", EntryKind.FILE, 0o644, 0, 0, 10),
            Entry(b"bin", EntryKind.FOLDER, 0o644, 0, 0),
        ),
        bodies={b"etc/passwd": b"root:x:0:0"},
    )


@pytest.mark.parametrize("step", [1, 7, 512, 10_000])
def test_it_does_not_matter_how_the_blob_is_cut(step: int) -> None:
    for blob in (CONTENT, PACKED, zstd.compress(CONTENT)):
        layer = Layer.of(CONTENT, blob)
        assert layer.read(pieces=cut(blob, step)) == layer.read(pieces=[b"", blob, b""])


# -- what unpacks it -----------------------------------------------------------------------------------------

DOCKER = "application/vnd.docker.image.rootfs.diff"
READ = [PLAIN, GZIP, ZSTD, f"{DOCKER}.tar", f"{DOCKER}.tar.gzip", f"{DOCKER}.tar.zstd"]
UNREAD = [
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    "application/vnd.oci.image.layer.v1.tar+bzip2",
    "application/vnd.in-toto+json",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/octet-stream",
    GZIP.upper(),
    "",
]


@pytest.mark.parametrize("media_type", READ)
@pytest.mark.parametrize("blob", [CONTENT, PACKED, zstd.compress(CONTENT)], ids=["plain", "gzip", "zstd"])
def test_the_first_bytes_decide_how_it_is_compressed(media_type: str, blob: bytes) -> None:
    assert is_readable(media_type)
    assert len(Layer.of(CONTENT, blob, media_type).read().entries) == 2


@pytest.mark.parametrize("media_type", UNREAD)
def test_other_media_types_are_not_read(media_type: str) -> None:
    def nothing() -> Iterator[bytes]:
        raise AssertionError("a blob that is not read needs not come")
        yield b""

    assert not is_readable(media_type)
    with pytest.raises(LayerUnsupported, match="the layer under test has the media type"):
        Layer.of(CONTENT, PACKED, media_type).read(pieces=nothing())


def test_no_byte_at_all_is_an_empty_layer() -> None:
    for blob in (b"", gzip.compress(b""), zstd.compress(b"")):
        assert Layer.of(b"", blob).read().entries == ()


# -- steps 1 and 2: the digests ------------------------------------------------------------------------------


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("at", [0, 4, 9, 20, len(PACKED) // 2, len(PACKED) - 5, len(PACKED) - 1])
def test_step_1_a_changed_byte_of_the_blob(at: int) -> None:
    """Even where the blob can still be decompressed (its date, say), or not any more."""
    with pytest.raises(DigestMismatch, match="the bytes that came do not have its digest"):
        Layer.of(CONTENT, PACKED).but(blob=flipped(PACKED, at)).read()


@pytest.mark.parametrize("blob", [PACKED[:-1], PACKED[:30], PACKED[:5], b"", PACKED + b"x", PACKED * 2])
def test_step_1_a_blob_that_did_not_come_whole(blob: bytes) -> None:
    with pytest.raises(DigestMismatch, match="the bytes that came do not have its digest"):
        Layer.of(CONTENT, PACKED).but(blob=blob).read()


def test_step_1_comes_before_any_other_fault() -> None:
    """So that a blob which was damaged on its way is fetched again, and not remembered as a bad layer."""
    for wrong in (header(uid=b"x" * 8), b"BZh" + bytes(9), bytes(100)):
        assert sha256(wrong) != sha256(wrong + b"more")
        with pytest.raises(DigestMismatch):
            Layer.of(wrong).but(blob=wrong + b"more").read()
        with pytest.raises((LayerMalformed, LayerUnsupported)):
            Layer.of(wrong).read()


def test_step_2_a_tar_with_another_diff_id() -> None:
    with pytest.raises(DigestMismatch, match=f"does not have the diffID {sha256(b'other')}"):
        Layer.of(CONTENT, PACKED).but(diff_id=sha256(b"other")).read()


def test_step_2_what_follows_the_archive_belongs_to_the_diff_id() -> None:
    more = CONTENT + b"hidden" * 100_000
    layer = Layer.of(more, gzip.compress(more))
    assert layer.read().plain_bytes == len(more)
    with pytest.raises(DigestMismatch, match="diffID"):
        layer.but(diff_id=sha256(CONTENT)).read()


def test_step_2_a_damaged_member_behind_the_archive_is_seen() -> None:
    blob = PACKED + PACKED[:-4] + b"\0\0\0\1"
    with pytest.raises(LayerMalformed, match="gzip member 2"):
        Layer.of(CONTENT * 2, blob).read()


def test_digests_of_sha512() -> None:
    layer = Layer.of(CONTENT, PACKED).but(
        digest=Digest(f"sha512:{hashlib.sha512(PACKED).hexdigest()}"),
        diff_id=Digest(f"sha512:{hashlib.sha512(CONTENT).hexdigest()}"),
    )
    assert layer.read().diff_id == layer.diff_id
    with pytest.raises(DigestMismatch):
        layer.but(blob=flipped(PACKED, 4)).read()


@pytest.mark.parametrize("digest", ["sha1:" + "0" * 40, "md5:" + "0" * 32, "blake3:" + "0" * 64])
def test_digests_of_other_algorithms_are_not_taken(digest: str) -> None:
    for name in ("digest", "diff_id"):
        with pytest.raises(LayerUnsupported, match="has a digest of the algorithm"):
            Layer.of(CONTENT, PACKED).but(**{name: Digest(digest)}).read()


# -- bodies --------------------------------------------------------------------------------------------------


def test_bodies_are_kept_whole_or_not_at_all() -> None:
    parts = [entry(name, data=name * 400) for name in (b"a", b"b", b"c")]
    facts = read(*parts, reading=Wanted(kept={b"a": 400, b"b": 399, b"other": 9}))
    assert facts.bodies == {b"a": b"a" * 400}
    assert facts.oversized == (b"b",)
    assert [one.size for one in facts.entries] == [400, 400, 400]


def test_an_empty_body_is_kept() -> None:
    assert read(header(b"a"), reading=Wanted(kept={b"a": 1})).bodies == {b"a": b""}


def test_a_body_over_many_pieces() -> None:
    data = bytes(range(256)) * 8000
    content = tar(header(b"before"), entry(b"a", data=data), header(b"after"))
    for blob, step in ((content, 1000), (gzip.compress(content), 100)):
        facts = Layer.of(content, blob).read(Wanted({b"a": len(data)}, {b"a": 5}), pieces=cut(blob, step))
        assert facts.bodies == {b"a": data}
        assert facts.entries[1].marks == ("\0\1\2\3\4",)
        assert [one.path for one in facts.entries] == [b"before", b"a", b"after"]


@pytest.mark.parametrize(("limit", "marks"), [(0, ""), (3, "abc"), (6, "abcdef"), (100, "abcdef")])
def test_a_probe_sees_the_beginning(limit: int, marks: str) -> None:
    facts = read(entry(b"a", data=b"abcdef"), header(b"b"), reading=Wanted(probed={b"a": limit}))
    assert [one.marks for one in facts.entries] == [(marks,), ()]
    assert facts.bodies == {}


def test_a_probe_sees_the_beginning_of_what_is_too_long_to_keep() -> None:
    facts = read(entry(b"a", data=b"abcdef"), header(b"b"), reading=Wanted({b"a": 5}, {b"a": 3}))
    assert facts.entries[0].marks == ("abc",)
    assert (facts.bodies, facts.oversized) == ({}, (b"a",))
    assert len(facts.entries) == 2


@pytest.mark.parametrize("name", [b"etc/passwd", b"./etc/passwd", b"/etc/passwd", b"x/../etc//passwd"])
def test_bodies_go_by_the_clean_name(name: bytes) -> None:
    facts = read(entry(name, data=b"x"), reading=Wanted({b"etc/passwd": 9}, {b"etc/passwd": 9}))
    assert facts.bodies == {b"etc/passwd": b"x"}
    assert facts.entries[0].marks == ("x",)


def test_the_last_entry_of_a_name_has_the_body() -> None:
    wanted = Wanted(kept={b"a": 3})
    assert read(entry(b"a", data=b"1"), entry(b"./a", data=b"22"), reading=wanted).bodies == {b"a": b"22"}
    later = {
        "longer": entry(b"a", data=b"4444"),
        "a symlink": header(b"a", b"2", link=b"b"),
        "a hard link": header(b"a", b"1", link=b"b"),
        "a folder": header(b"a", b"5"),
    }
    for what, block in later.items():
        facts = read(entry(b"a", data=b"1"), block, reading=wanted)
        assert facts.bodies == {}, what
        assert facts.oversized == ((b"a",) if what == "longer" else ())
    assert read(entry(b"a", data=b"4444"), entry(b"a", data=b"1"), reading=wanted).oversized == ()


def test_only_files_are_looked_into() -> None:
    wanted = Wanted({b"a": 99}, {b"a": 99})
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        facts = read(header(b"a", kind, link=b"x", size=512), header(b"b"), reading=wanted)
        assert facts.bodies == {}
        assert [one.marks for one in facts.entries] == [(), ()]


def test_what_lies_at_the_root_is_not_kept() -> None:
    assert read(entry(b".", data=b"x"), reading=Wanted({b"": 99}, {b"": 99})).bodies == {}


def test_the_size_of_a_pax_header_is_that_of_the_body() -> None:
    facts = read(
        pax((b"size", b"600")),
        header(b"a", size=0),
        (b"x" * 600).ljust(1024, b"\0"),
        header(b"b"),
        reading=Wanted({b"a": 999}),
    )
    assert facts.bodies == {b"a": b"x" * 600}
    assert [one.path for one in facts.entries] == [b"a", b"b"]


# -- limits --------------------------------------------------------------------------------------------------


def test_layer_bytes() -> None:
    layer = Layer.of(CONTENT, PACKED)
    assert layer.read(limits=limits(layer_bytes=len(PACKED)))
    with pytest.raises(
        TooLarge, match=f"the layer under test is larger than the limit layerBytes, .* {len(PACKED) - 1}"
    ):
        layer.read(limits=limits(layer_bytes=len(PACKED) - 1))


def test_layer_plain_bytes() -> None:
    layer = Layer.of(CONTENT, PACKED)
    assert layer.read(limits=limits(layer_plain_bytes=len(CONTENT)))
    with pytest.raises(TooLarge, match=f"the limit layerPlainBytes .* {len(CONTENT) - 1}"):
        layer.read(limits=limits(layer_plain_bytes=len(CONTENT) - 1))


def test_layer_ratio_and_from_where_on() -> None:
    content = CONTENT + bytes(2_000_000)
    layer = Layer.of(content, gzip.compress(content))
    ratio = len(content) // len(layer.blob) + 1
    one = [layer.blob]
    assert layer.read(limits=limits(layer_ratio_above_bytes=0, layer_ratio=ratio), pieces=one)
    assert layer.read(limits=limits(layer_ratio_above_bytes=len(content), layer_ratio=1), pieces=one)
    with pytest.raises(TooLarge, match="more than the limit layerRatio, 100, allows"):
        layer.read(limits=limits(layer_ratio_above_bytes=1_000_000, layer_ratio=100), pieces=one)


def test_layer_entries() -> None:
    parts = [header(b"a"), header(b".", b"5"), pax((b"comment", b"x"), kind=b"g"), header(b".")]
    assert read(*parts, limits=limits(layer_entries=4))
    with pytest.raises(TooLarge, match="more entries than the limit layerEntries allows, 3"):
        read(*parts, limits=limits(layer_entries=3))


@pytest.mark.parametrize(
    ("parts", "longest"),
    [
        ([pax((b"path", b"n" * 300)), header()], 300),
        ([pax((b"linkpath", b"n" * 300)), header(kind=b"2")], 300),
        ([header(b"n", prefix=b"p" * 150)], 152),
        ([pax((b"path", b"./" * 150), kind=b"g")], 300),
    ],
)
def test_layer_path_bytes(parts: list[bytes], longest: int) -> None:
    assert read(*parts, limits=limits(layer_path_bytes=longest))
    with pytest.raises(TooLarge, match=f"a name of {longest} bytes; the limit layerPathBytes is {longest - 1}"):
        read(*parts, limits=limits(layer_path_bytes=longest - 1))


def test_layer_names_bytes() -> None:
    parts = [header(b"n" * 50, b"2", link=b"l" * 30), header(b"n" * 20)]
    assert read(*parts, limits=limits(layer_names_bytes=100))
    with pytest.raises(TooLarge, match="the limit layerNamesBytes allows, 99"):
        read(*parts, limits=limits(layer_names_bytes=99))


def test_layer_header_bytes() -> None:
    body = pax((b"comment", b"x" * 1000))
    size = int(body[124:135], 8)
    for kind in (b"x", b"g"):
        parts = [pax((b"comment", b"x" * 1000), kind=kind), header()]
        assert read(*parts, limits=limits(layer_header_bytes=size))
        with pytest.raises(
            TooLarge, match=f"an extended header of {size} bytes; the limit layerHeaderBytes is {size - 1}"
        ):
            read(*parts, limits=limits(layer_header_bytes=size - 1))


def test_layer_kept_bytes() -> None:
    parts = [entry(b"a", data=b"1" * 60), entry(b"b", data=b"2" * 40)]
    wanted = Wanted({b"a": 60, b"b": 40})
    assert read(*parts, reading=wanted, limits=limits(layer_kept_bytes=100))
    with pytest.raises(TooLarge, match="the limit layerKeptBytes allows, 99"):
        read(*parts, reading=wanted, limits=limits(layer_kept_bytes=99))


def test_a_size_that_nothing_could_have_needs_no_memory() -> None:
    """Only what came is held, whatever the header says."""
    for kept in ({}, {b"a": 2**63}):
        with pytest.raises(LayerMalformed, match="its data is cut off"):
            Layer.of(header(b"a", size=b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7) + END).read(Wanted(kept=kept))
