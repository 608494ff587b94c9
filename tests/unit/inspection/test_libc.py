"""C libraries: which one an image has, and what in it needs the other."""

import struct
from collections.abc import Sequence

import pytest

from fakes.layerfacts import file, folder, layer, look, program, symlink
from portcullis.inspection.layerfacts import Entry
from portcullis.inspection.libc import NeededLibrary, elf_loader

GLIBC = [program("lib/x86_64-linux-gnu/libc.so.6"), program("lib64/ld-linux-x86-64.so.2")]
MUSL = [program("lib/ld-musl-x86_64.so.1")]


@pytest.mark.parametrize(
    ("entries", "libc"),
    [
        (GLIBC, "glibc"),
        (MUSL, "musl"),
        ([*MUSL, symlink("lib/libc.so.6", "libgcompat.so.0")], "both"),
        ([program("usr/lib/x86_64-linux-gnu/libc.so.6"), symlink("lib", "usr/lib")], "glibc"),
        ([program("usr/lib64/libc.so.6"), symlink("lib64", "usr/lib64")], "glibc"),
        ([program("lib/aarch64-linux-gnu/ld-linux-aarch64.so.1")], "glibc"),
        ([program("opt/x/libc.so.6")], ""),
        ([file("lib/libc.a"), folder("lib64")], ""),
        ([], ""),
    ],
)
def test_systems(entries: Sequence[Entry], libc: str) -> None:
    assert look(layer(*entries)).os.libc == libc


def extension(*needed: str) -> Entry:
    return file("l/site-packages/a/x.so", marks=[f"libc:{name}" for name in needed])


def asking(loader: str) -> Entry:
    return file("usr/local/bin/tool", mode=0o755, marks=[f"loader:{loader}"])


@pytest.mark.parametrize(
    ("entries", "mismatch"),
    [
        ([*MUSL, extension("glibc")], "needs glibc"),
        ([*GLIBC, extension("musl")], "needs musl"),
        ([*GLIBC, extension("glibc")], None),
        ([*GLIBC, extension()], None),
        ([*GLIBC, extension("glibc", "musl")], None),
        ([*GLIBC, *MUSL, extension("musl")], None),
        ([extension("musl")], None),
        ([*MUSL, asking("/lib64/ld-linux-x86-64.so.2")], "needs /lib64/ld-linux-x86-64.so.2"),
        ([*GLIBC, asking("/lib/ld-musl-x86_64.so.1")], "needs /lib/ld-musl-x86_64.so.1"),
        ([*GLIBC, asking("/lib64/ld-linux-x86-64.so.2")], None),
        ([*MUSL, asking("/opt/odd/ld.so")], None),
        ([*MUSL, asking("/opt/glibc/ld-linux-x86-64.so.2"), file("opt/glibc/ld-linux-x86-64.so.2")], None),
    ],
)
def test_mismatches(entries: Sequence[Entry], mismatch: str | None) -> None:
    found = look(layer(*entries)).libc_mismatches
    assert [one.what for one in found] == ([mismatch] if mismatch else [])


def elf(loader: bytes, *, wide: bool = True, order: str = "<") -> bytes:
    """A header, one program header that is PT_INTERP, and the loader (elf(5))."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        head = struct.pack(order + "HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        return ident + head + struct.pack(order + "IIQQQQQQ", 3, 4, 120, 0, 0, len(loader) + 1, 0, 1) + loader + b"\0"
    head = struct.pack(order + "HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return ident + head + struct.pack(order + "IIIIIIII", 3, 84, 0, 0, len(loader) + 1, 0, 4, 1) + loader + b"\0" * 40


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_loader_of_a_program(wide: bool, order: str) -> None:
    assert elf_loader(elf(b"/lib/ld-musl-x86_64.so.1", wide=wide, order=order)) == "/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize(
    "body", [b"", b"#!/bin/sh", b"\x7fELF", elf(b"/lib/ld.so")[:100], elf(b"relative"), b"\x7fELF" + bytes(200)]
)
def test_what_has_none(body: bytes) -> None:
    assert elf_loader(body) == ""


def test_loaders_of_damaged_headers() -> None:
    body = elf(b"/lib/ld.so")
    for at in range(len(body)):
        assert isinstance(elf_loader(body[:at] + b"\xff" + body[at + 1 :]), str)


@pytest.mark.parametrize(
    ("body", "marks"),
    [
        (b"\x7fELF..\0libc.so.6\0..", ("libc:glibc",)),
        (b"\x7fELF..\0libc.musl-x86_64.so.1\0", ("libc:musl",)),
        (b"\x7fELF..\0mylibc.so.6\0..", ()),
        (b"..\0libc.so.6\0..", ()),
    ],
)
def test_what_a_shared_object_needs(body: bytes, marks: tuple[str, ...]) -> None:
    assert NeededLibrary(100).marks(body) == marks
