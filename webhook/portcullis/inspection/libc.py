"""Which C library an image has, and what in it was built for another one.

A program that is linked dynamically names its loader in PT_INTERP, at the beginning of the file; a shared object names
the library it needs in its dynamic string table. The second is looked for as a text between two NULs: a table that is
found by its header may lie at the end of a large file, which is not read.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from portcullis.inspection.tree import Node, Tree, is_folder

GLIBC: Final = "glibc"
MUSL: Final = "musl"
NEEDS: Final = "libc:"
"""Before the library that a shared object needs, as a mark."""
LOADER: Final = "loader:"
"""Before the path of the loader that a program asks for, as a mark."""

_MUSL_LOADER: Final = re.compile(rb"ld-musl-[^/]*\.so\.1")
_GLIBC_LOADER: Final = re.compile(rb"ld-linux[^/]*\.so\.[0-9]+|ld64\.so\.[0-9]+|ld\.so\.1|libc\.so\.6(?:\.1)?")
_NEEDED: Final = (
    (GLIBC, re.compile(rb"\0libc\.so\.6(?:\.1)?\0")),
    (MUSL, re.compile(rb"\0libc\.musl-[a-z0-9_]+\.so\.1\0")),
)

_MULTIARCH: Final = re.compile(rb"-linux-(?:gnu|musl)[a-z0-9]*$")
"""Folders such as x86_64-linux-gnu (Debian's multiarch)."""

_ELF: Final = b"\x7fELF"
_PT_INTERP: Final = 3
_PROGRAM_HEADERS: Final = 64
_PATH_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class NeededLibrary:
    """A probe of a shared object: which C library it needs."""

    limit: int

    def marks(self, body: bytes) -> tuple[str, ...]:
        if not body.startswith(_ELF):
            return ()
        return tuple(NEEDS + name for name, pattern in _NEEDED if pattern.search(body))


@dataclass(frozen=True, slots=True)
class NeededLoader:
    """A probe of a program: which loader it asks for."""

    limit: int

    def marks(self, body: bytes) -> tuple[str, ...]:
        loader = elf_loader(body)
        return (LOADER + loader,) if loader else ()


def elf_loader(body: bytes) -> str:
    """PT_INTERP of an ELF file (elf(5)) of which ``body`` is the beginning; "" where it has none there."""
    if len(body) < 64 or not body.startswith(_ELF) or body[4] not in (1, 2) or body[5] not in (1, 2):  # 64: Elf64_Ehdr
        return ""
    order = "<" if body[5] == 1 else ">"
    wide = body[4] == 2  # ELFCLASS64
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), body, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", body, 54 if wide else 42)
    for index in range(min(count, _PROGRAM_HEADERS)):
        at = table + index * size
        if at + 56 > len(body):
            return ""
        if wide:
            kind, _, offset, _, _, length = struct.unpack_from(order + "IIQQQQ", body, at)
        else:
            kind, offset, _, _, length = struct.unpack_from(order + "IIIII", body, at)
        if kind == _PT_INTERP:
            text = body[offset : offset + min(length, _PATH_BYTES)].rstrip(b"\0")
            return text.decode("ascii", "replace") if text.startswith(b"/") else ""
    return ""


def libc_of_loader(path: str) -> str:
    name = path.encode("utf-8", "replace").rpartition(b"/")[2]
    return MUSL if _MUSL_LOADER.fullmatch(name) else GLIBC if _GLIBC_LOADER.fullmatch(name) else ""


def system_libc(tree: Tree) -> str:
    """``glibc``, ``musl``, ``both``, or "": what lies in the folders where loaders look."""
    found = set()
    for folder in _library_folders(tree):
        for name in folder:
            if _MUSL_LOADER.fullmatch(name):
                found.add(MUSL)
            elif _GLIBC_LOADER.fullmatch(name):
                found.add(GLIBC)
    return "both" if len(found) > 1 else "".join(found)


def _library_folders(tree: Tree) -> Iterator[Iterable[bytes]]:
    for path in (b"lib", b"lib64", b"lib32", b"usr/lib", b"usr/lib64"):
        folder = tree.resolve(b"/" + path)
        if not is_folder(folder):
            continue
        yield folder.children
        for name, child in folder.children.items():
            if is_folder(child) and _MULTIARCH.search(name):
                yield child.children


def mismatched(node: Node, tree: Tree, libc: str) -> str:
    """What a file asks for that an image with this C library does not have, such as ``needs musl``; "" where all is
    well, or where the image has no C library or both."""
    if libc not in (GLIBC, MUSL):
        return ""
    needed = {mark.removeprefix(NEEDS) for mark in node.entry.marks if mark.startswith(NEEDS)}
    if needed and libc not in needed:
        return f"needs {min(needed)}"
    for mark in node.entry.marks:
        loader = mark.removeprefix(LOADER)
        if loader != mark and libc_of_loader(loader) not in ("", libc) and tree.resolve(loader.encode()) is None:
            return f"needs {loader}"
    return ""
