"""Sparse files, in the four forms that GNU tar has, and what may be wrong with their maps."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from portcullis.errors import LayerMalformed, TooLarge
from portcullis.inspection.layerfacts import EntryKind
from portcullis.limits import DEFAULT_LIMITS
from unit.inspection.tars import GNU, USTAR, Layer, Wanted, entry, header, octal, pax, read

FORMS = [
    ["--format=gnu"],
    ["--format=pax", "--sparse-version=0.0"],
    ["--format=pax", "--sparse-version=0.1"],
    ["--format=pax", "--sparse-version=1.0"],
]
HOLE = 65536


@pytest.mark.parametrize("form", FORMS, ids=["gnu", "pax 0.0", "pax 0.1", "pax 1.0"])
@pytest.mark.parametrize("parts", [1, 3, 60])
def test_sparse_files_of_gnu_tar_are_read_whole(form: list[str], parts: int, tmp_path: Path) -> None:
    content = b"".join(bytes([65 + at % 26]) * 4096 + bytes(HOLE - 4096) for at in range(parts))
    with (tmp_path / "sparse").open("wb") as file:
        for at in range(parts):
            file.seek(at * HOLE)
            file.write(content[at * HOLE : at * HOLE + 4096])
        file.truncate(len(content))
    (tmp_path / "tail").write_bytes(b"tail")
    command = ["tar", "--create", "--sparse", *form, "--directory", str(tmp_path), "sparse", "tail"]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert len(made) < len(content)  # it is stored as sparse
    facts = Layer.of(made).read(Wanted(kept={b"sparse": len(content)}, probed={b"sparse": HOLE + 1, b"tail": 10}))
    assert [(one.path, one.kind, one.size) for one in facts.entries] == [
        (b"sparse", EntryKind.FILE, len(content)),
        (b"tail", EntryKind.FILE, 4),
    ]
    assert facts.bodies == {b"sparse": content}
    assert facts.entries[0].marks == (content[: HOLE + 1].decode("latin-1"),)
    assert facts.entries[1].marks == ("tail",)


def old(*regions: tuple[int, int], real: int, data: bytes = b"", more: bool = False) -> bytes:
    """A sparse file in a GNU header, which has room for four regions."""
    places = b"".join(octal(offset, 12) + octal(length, 12) for offset, length in regions).ljust(96, b"\0")
    fields = bytes(41) + places + bytes([more]) + octal(real, 12)  # from byte 345 on
    return header(kind=b"S", size=len(data), magic=GNU, prefix=fields[:155], tail=fields[155:])


def extension(*regions: tuple[int, int], more: bool = False) -> bytes:
    places = b"".join(octal(offset, 12) + octal(length, 12) for offset, length in regions)
    return (places.ljust(504, b"\0") + bytes([more])).ljust(512, b"\0")


def v1(lines: bytes, data: bytes = b"", real: bytes = b"10", **fields: object) -> bytes:
    """A sparse file in format 1.0, its map given as it is."""
    return pax(
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"real"),
        (b"GNU.sparse.realsize", real),
    ) + entry(b"GNUSparseFile.1/real", data=lines.ljust(-(-len(lines) // 512) * 512, b"\0") + data, **fields)


def v01(regions: bytes, count: bytes, data: bytes = b"", size: bytes = b"10", kind: bytes = b"0") -> bytes:
    return pax((b"GNU.sparse.numblocks", count), (b"GNU.sparse.map", regions), (b"GNU.sparse.size", size)) + entry(
        b"real", kind, data=data
    )


GOOD = {
    "old": (old((2, 3), real=10, data=b"abc") + b"abc".ljust(512, b"\0"), b"\0\0abc\0\0\0\0\0"),
    "old, all hole": (old(real=10), bytes(10)),
    "old, an end that is marked by an empty region": (
        old((2, 3), (10, 0), real=10, data=b"abc") + b"abc".ljust(512, b"\0"),
        b"\0\0abc\0\0\0\0\0",
    ),
    "old, an extension": (
        old((0, 1), (2, 1), (4, 1), (6, 1), real=10, data=b"abcde", more=True)
        + extension((8, 1))
        + b"abcde".ljust(512, b"\0"),
        b"a\0b\0c\0d\0e\0",
    ),
    "0.1": (v01(b"2,3", b"1", b"abc"), b"\0\0abc\0\0\0\0\0"),
    "0.1, all hole": (
        pax(
            (b"GNU.sparse.major", b"0"),
            (b"GNU.sparse.minor", b"1"),
            (b"GNU.sparse.numblocks", b"0"),
            (b"GNU.sparse.realsize", b"10"),
        )
        + entry(b"real"),
        bytes(10),
    ),
    "1.0": (v1(b"1\n2\n3\n", b"abc"), b"\0\0abc\0\0\0\0\0"),
    "1.0, no region": (v1(b"0\n"), bytes(10)),
    "a version that nobody knows is a plain file": (
        pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"99"))
        + entry(b"real", data=b"plain"),
        b"plain",
    ),
}


@pytest.mark.parametrize(("parts", "content"), GOOD.values(), ids=GOOD)
def test_maps(parts: bytes, content: bytes) -> None:
    name = b"file" if parts.startswith(b"file") else b"real"
    facts = read(parts, header(b"next"), reading=Wanted(kept={name: 1000}))
    assert [one.path for one in facts.entries] == [name, b"next"]
    assert facts.entries[0].size == len(content)
    assert facts.bodies == {name: content}


FITS, DATA = "the sparse map does not fit the file", "the sparse map does not fit the data"
BAD = {
    "old, in a header of another format": (header(kind=b"S", magic=USTAR), "sparse in a header that is not of GNU"),
    "old, no number": (old((2, 3), real=10)[:386] + b"x" * 126, "checksum"),
    "old, more is said and nothing follows": (old(real=1, more=True)[:512] + extension(more=True), "with nothing"),
    "old, the extension is cut off": (old((0, 0), real=0, more=True), "its data is cut off"),
    "over the end": (v01(b"8,3", b"1", b"abc"), FITS),
    "out of order": (v01(b"5,1,2,1", b"2", b"ab"), FITS),
    "overlapping": (v01(b"2,3,4,1", b"2", b"abcd"), FITS),
    "a negative offset": (v01(b"-2,3", b"1", b"abc"), FITS),
    "a negative length": (v01(b"2,-3", b"1", b""), FITS),
    "an overflow": (v01(b"9223372036854775807,9223372036854775807", b"1", b"abc"), FITS),
    "less data": (v01(b"2,3", b"1", b"ab"), DATA),
    "more data": (v01(b"2,3", b"1", b"abcd"), DATA),
    "a negative size": (v1(b"0\n", real=b"-1"), DATA),
    "a count too high": (v01(b"2,3", b"2", b"abc"), "another length than is said"),
    "a negative count": (v01(b"2,3", b"-1", b"abc"), "another length than is said"),
    "no count": (v01(b"2,3", b"", b"abc"), "the count of a sparse map is no number"),
    "a part that is no number": (v01(b"2,x", b"1", b"abc"), "a part of a sparse map is no number"),
    "a size that is no number": (v01(b"2,3", b"1", b"abc", size=b"x"), "the real size of a sparse file is no number"),
    "of a folder": (v01(b"2,3", b"1", kind=b"5"), "it is sparse, and not a file"),
    "of a hard link": (v01(b"2,3", b"1", kind=b"1"), "it is sparse, and not a file"),
    "1.0, no lines": (v1(b"x" * 512), "its sparse map is cut off"),
    "1.0, a count that is no number": (v1(b"one\n"), "the count of a sparse map is no number"),
    "1.0, a negative count": (v1(b"-1\n"), "the count of a sparse map is negative"),
    "1.0, too few lines": (v1(b"2\n2\n3\n"), "its sparse map is cut off"),
    "1.0, a line that is no number": (v1(b"1\n2\nx\n"), "a part of a sparse map is no number"),
    "1.0, a name with a NUL": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"a\0b"))
        + entry(data=b"0\n".ljust(512, b"\0")),
        "its name holds a NUL",
    ),
}


@pytest.mark.parametrize(("parts", "message"), BAD.values(), ids=BAD)
def test_bad_maps_are_refused(parts: bytes, message: str) -> None:
    with pytest.raises(LayerMalformed, match=message):
        Layer.of(parts).read()


def test_regions_are_counted() -> None:
    blocks = [
        old((0, 0), (0, 0), real=0, more=True) + extension((0, 0), (0, 0)),
        v01(b"0,0,0,0,0,0,0,0", b"4", size=b"0"),
        v1(b"4\n" + b"0\n" * 8, real=b"0"),
    ]
    for parts in blocks:
        assert len(read(parts, limits=replace(DEFAULT_LIMITS, layer_sparse_regions=4)).entries) == 1
        with pytest.raises(TooLarge, match="more regions than the limit layerSparseRegions allows, 3"):
            read(parts, limits=replace(DEFAULT_LIMITS, layer_sparse_regions=3))


def test_extensions_of_a_map_end_where_the_regions_do() -> None:
    blocks = old((0, 0), real=0, more=True) + extension((0, 0), more=True) * 1000
    with pytest.raises(TooLarge, match="layerSparseRegions"):
        Layer.of(blocks).read(limits=replace(DEFAULT_LIMITS, layer_sparse_regions=100))


def test_a_map_in_lines_is_bounded_in_bytes() -> None:
    with pytest.raises(TooLarge, match="a sparse map over the limit layerHeaderBytes, 2048"):
        read(v1(b"9999\n" + b"0\n" * 5000), limits=replace(DEFAULT_LIMITS, layer_header_bytes=2048))
