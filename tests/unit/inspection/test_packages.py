"""Package databases. One that cannot be read is a fault, and never an empty list."""

import sqlite3
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import pytest

from fakes.layerfacts import file, folder, layer, look, symlink, whiteout
from portcullis.errors import TooLarge
from portcullis.inspection.layerfacts import PackageDatabase
from portcullis.inspection.packages import compact, read_databases
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.contents import Package

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9
Description: GNU C Library
 Version: 9 is not its version
 .
 and Package: neither

Package: gone
Status: deinstall ok config-files
Version: 1

package: half
Status: install reinstreq half-installed
Architecture: all
Version: 3:1.0~rc1

"""
APK = b"C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:busybox\nV:1.36.1-r5\nA:x86_64\n\n"


def database(path: str, body: bytes, *, packages: int = DEFAULT_LIMITS.packages) -> PackageDatabase:
    (found,) = read_databases({path.encode(): body}, limits=replace(DEFAULT_LIMITS, packages=packages))
    return found


def rows(path: str, body: bytes) -> list[tuple[str, str, str]]:
    found = database(path, body)
    assert found.fault == ""
    return [(row.name, row.version, row.architecture) for row in found.packages]


# -- rpm: what its own libraries write, written here by the same definitions -------------------------------------------


def header(name: str, version: str, release: str = "", *, epoch: int = 0, architecture: str = "x86_64") -> bytes:
    """A header blob as lib/header.c lays it down."""
    entries: list[tuple[int, int, int, int]] = []
    store = b""
    for tag, text in ((1000, name), (1001, version), (1002, release), (1022, architecture)):
        if text:
            entries.append((tag, 6, len(store), 1))
            store += text.encode() + b"\0"
    if epoch:
        store += b"\0" * (-len(store) % 4)
        entries.append((1003, 4, len(store), 1))
        store += struct.pack(">I", epoch)
    index = b"".join(struct.pack(">IIII", *entry) for entry in entries)
    return struct.pack(">II", len(entries), len(store)) + index + store


BLOBS = [header("bash", "5.2", "1.fc39"), header("dbus", "1.14", "2", epoch=1, architecture="noarch")]
EXPECTED = [("bash", "5.2-1.fc39", "x86_64"), ("dbus", "1:1.14-2", "noarch")]


def sqlite(
    blobs: Sequence[object], *, script: str = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)"
) -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    if "TABLE Packages" in script:
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in blobs])
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


def ndb(blobs: Sequence[bytes]) -> bytes:
    slots = struct.pack("<IIII", 0x506D7052, 0, 1, 1) + struct.pack("<IIII", len(blobs) + 1, 0, 0, 0)
    content = b""
    for index, blob in enumerate(blobs, 1):
        block = (4096 + len(content)) // 16
        piece = struct.pack("<IIII", 0x53626C42, index, 1, len(blob)) + blob
        piece += b"\0" * (-len(piece) % 16)
        slots += struct.pack("<IIII", 0x746F6C53, index, block, len(piece) // 16)
        content += piece
    return slots + struct.pack("<IIII", 0x746F6C53, 0, 0, 0) * ((4096 - len(slots)) // 16) + content


def berkeley(blobs: Sequence[bytes], *, order: str = "<", size: int = 512) -> bytes:
    """A meta page, a page of the hash and overflow pages (dbinc/db_page.h)."""
    meta = bytearray(size)
    struct.pack_into(order + "III", meta, 12, 0x061561, 9, size)
    meta[25] = 8
    items: list[bytes] = [b"\1" + bytes(4), b"\1" + struct.pack(order + "I", 7)]
    overflow: list[bytes] = []
    for index, blob in enumerate(blobs, 1):
        items.append(b"\1" + struct.pack(order + "I", index))
        first = 2 + len(overflow)
        items.append(b"\3\0\0\0" + struct.pack(order + "II", first, len(blob)))
        pieces = [blob[at : at + size - 26] for at in range(0, len(blob), size - 26)]
        for at, piece in enumerate(pieces):
            following = 0 if at == len(pieces) - 1 else first + at + 1
            page = bytearray(size)
            struct.pack_into(order + "III", page, 8, first + at, 0, following)
            struct.pack_into(order + "HH", page, 20, 1, len(piece))
            page[25] = 7
            page[26 : 26 + len(piece)] = piece
            overflow.append(bytes(page))
    page = bytearray(size)
    end = size
    for number, item in enumerate(items):
        end -= len(item)
        page[end : end + len(item)] = item
        struct.pack_into(order + "H", page, 26 + 2 * number, end)
    struct.pack_into(order + "HH", page, 20, len(items), end)
    page[25] = 13
    return bytes(meta) + bytes(page) + b"".join(overflow)


LONG = header("kernel" * 200, "6", "1")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("var/lib/dpkg/status", STATUS, [("libc6", "2.36-9", "amd64"), ("half", "3:1.0~rc1", "all")]),
        (
            "var/lib/dpkg/status",
            STATUS.replace(b"\n", b"\r\n"),
            [("libc6", "2.36-9", "amd64"), ("half", "3:1.0~rc1", "all")],
        ),
        (
            "var/lib/dpkg/status.d/tzdata",
            b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
            [("tzdata", "2024a", "all")],
        ),
        ("var/lib/dpkg/status", b"", []),
        ("lib/apk/db/installed", APK, [("musl", "1.2.4-r2", "x86_64"), ("busybox", "1.36.1-r5", "x86_64")]),
        ("usr/lib/apk/db/installed", APK[:60], [("musl", "1.2.4-r2", "x86_64")]),
        ("var/lib/rpm/rpmdb.sqlite", sqlite(BLOBS), EXPECTED),
        ("usr/lib/sysimage/rpm/Packages.db", ndb(BLOBS), EXPECTED),
        ("var/lib/rpm/Packages", berkeley(BLOBS), EXPECTED),
        ("var/lib/rpm/Packages", berkeley(BLOBS, order=">"), EXPECTED),
        ("var/lib/rpm/Packages", berkeley([LONG, *BLOBS]), [("kernel" * 33 + "k…", "6-1", "x86_64"), *EXPECTED]),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([]), []),
    ],
)
def test_databases(path: str, body: bytes, expected: list[tuple[str, str, str]]) -> None:
    assert rows(path, body) == expected


def test_a_database_that_was_used_with_a_write_ahead_log() -> None:
    content = bytearray(sqlite(BLOBS))
    content[18:20] = b"\2\2"
    assert rows("var/lib/rpm/rpmdb.sqlite", bytes(content)) == EXPECTED


VIEW = (
    "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS (SELECT x'00' UNION ALL SELECT blob FROM n) SELECT blob FROM n"
)


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("var/lib/dpkg/status", b"Nothing: here\n", "paragraph without a package"),
        ("lib/apk/db/installed", b"V:1\n\n", "paragraph without a package"),
        ("var/lib/rpm/rpmdb.sqlite", b"no", "is no SQLite database"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite(BLOBS)[:4096], "cannot be read by SQLite"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([], script="CREATE TABLE Other (x)"), "has no table of packages"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([], script=VIEW), "has no table of packages"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite(["text"]), "a package that is no header"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([b"short"]), "a header that is cut off"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([header("", "1")]), "a package without a name"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([BLOBS[0][:-7]]), "a header that is cut off"),
        ("var/lib/rpm/rpmdb.sqlite", sqlite([struct.pack(">II", 2**31, 0)]), "a header that is cut off"),
        ("var/lib/rpm/Packages.db", b"x" * 4096, "is no ndb database of version 0"),
        ("var/lib/rpm/Packages.db", b"x", "is no ndb database"),
        ("var/lib/rpm/Packages.db", ndb(BLOBS)[:-40], "a package that is cut off"),
        ("var/lib/rpm/Packages.db", ndb(BLOBS)[:4096], "a package beyond its end"),
        ("var/lib/rpm/Packages.db", ndb(BLOBS)[:32] + b"x" * 4064, "a slot that is none"),
        ("var/lib/rpm/Packages", b"x" * 512, "is no Berkeley DB hash"),
        ("var/lib/rpm/Packages", berkeley(BLOBS)[:-512], "an item that leads out of it"),
        ("var/lib/rpm/Packages", berkeley(BLOBS)[:-1], "is a Berkeley DB that is cut off"),
    ],
)
def test_faults(path: str, body: bytes, fault: str) -> None:
    found = database(path, body)
    assert fault in found.fault
    assert found.packages == ()


def test_packages_that_share_their_bytes() -> None:
    """A small file could name one large header any number of times."""
    content = ndb([header("a" * 3000, "1")])
    slot = content[32:48]
    assert "overlap" in database("var/lib/rpm/Packages.db", content[:32] + slot * 200 + content[32 + 200 * 16 :]).fault


@pytest.mark.parametrize("body", [sqlite(BLOBS), ndb(BLOBS), berkeley(BLOBS), STATUS, APK], ids=range(5))
@pytest.mark.parametrize(
    "path", ["var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages.db", "var/lib/rpm/Packages", "var/lib/dpkg/status"]
)
def test_damage_is_a_fault_or_reads_otherwise(path: str, body: bytes) -> None:
    """Nothing but a fault comes out of any of them, whatever is in the file."""
    for at in range(0, len(body), max(len(body) // 150, 1)):
        assert database(path, body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :])
        assert database(path, body[:at])


def test_files_that_are_no_database() -> None:
    bodies = {
        b"etc/passwd": b"x",
        b"var/lib/dpkg/status.d/base.md5sums": b"abc  usr/x\n",
        b"x/var/lib/dpkg/status": STATUS,
    }
    assert read_databases(bodies, limits=DEFAULT_LIMITS) == ()


class TestCompact:
    def test_databases_take_the_place_of_their_bodies(self) -> None:
        facts = compact(layer(bodies={"etc/passwd": b"p", "var/lib/dpkg/status": STATUS}), limits=DEFAULT_LIMITS)
        assert facts.bodies == {b"etc/passwd": b"p"}
        assert [database.path for database in facts.databases] == [b"var/lib/dpkg/status"]

    def test_one_that_was_too_long_is_a_fault(self) -> None:
        facts = layer(file("var/lib/dpkg/status", size=99), file("etc/passwd", size=99))
        raw = msgspec.structs.replace(facts, oversized=(b"var/lib/dpkg/status", b"etc/passwd"))
        limits = replace(DEFAULT_LIMITS, package_database_bytes=50)
        found = compact(raw, limits=limits)
        assert found.oversized == (b"etc/passwd",)
        assert "limit packageDatabaseBytes, which is 50" in found.databases[0].fault


class TestInstalled:
    def test_the_merged_database_counts_and_each_entry_has_its_layer(self) -> None:
        more = STATUS + b"Package: curl\nStatus: install ok installed\nVersion: 8\nArchitecture: amd64\n"
        packages = look(
            layer(bodies={"var/lib/dpkg/status": STATUS}), layer(bodies={"var/lib/dpkg/status": more})
        ).packages
        assert packages == (
            Package("dpkg", "curl", "8", "amd64", 1),
            Package("dpkg", "half", "3:1.0~rc1", "all", 0),
            Package("dpkg", "libc6", "2.36-9", "amd64", 0),
        )

    def test_one_that_is_deleted_says_nothing(self) -> None:
        below = layer(bodies={"var/lib/dpkg/status": STATUS})
        assert look(below, layer(whiteout("var/lib/dpkg"))).packages == ()

    def test_distroless(self) -> None:
        bodies = {"var/lib/dpkg/status.d/a": b"Package: a\nVersion: 1\n", "var/lib/dpkg/status.d/a.md5sums": b"x"}
        assert look(layer(bodies=bodies)).packages == (Package("dpkg", "a", "1", "", 0),)

    def test_python_by_the_names_of_its_folders(self) -> None:
        entries = [
            folder("l/site-packages/requests-2.31.0.dist-info"),
            folder("l/dist-packages/python_apt-2.6.0.egg-info"),
            file("l/dist-packages/six-1.16.0-py3.11.egg-info"),
            folder("l/site-packages/x/vendored-1.0.dist-info"),
            folder("elsewhere/a-1.dist-info"),
            folder("l/site-packages/broken.dist-info"),
        ]
        assert look(layer(*entries)).packages == (
            Package("python", "python_apt", "2.6.0"),
            Package("python", "requests", "2.31.0"),
            Package("python", "six", "1.16.0"),
        )

    def test_a_linked_folder_is_read_once(self) -> None:
        facts = layer(
            symlink("var/lib/rpm", "../../usr/lib/sysimage/rpm"),
            bodies={"usr/lib/sysimage/rpm/rpmdb.sqlite": sqlite(BLOBS)},
        )
        assert [one.name for one in look(facts).packages or ()] == ["bash", "dbus"]

    @pytest.mark.parametrize(
        ("bodies", "entries", "fault"),
        [
            ({"var/lib/dpkg/status": b"x: y\n"}, [], "/var/lib/dpkg/status has a paragraph without a package"),
            (
                {"db": STATUS},
                [symlink("var/lib/dpkg/status", "/db")],
                "/db is a package database in a place where none is read",
            ),
            (
                {"var/lib/rpm/rpmdb.sqlite": sqlite(BLOBS)},
                [file("var/lib/rpm/rpmdb.sqlite-wal")],
                "has a write-ahead log",
            ),
        ],
    )
    def test_faults_leave_the_packages_unknown(
        self, bodies: Mapping[str, bytes], entries: list[object], fault: str
    ) -> None:
        contents = look(layer(*entries, bodies=bodies))  # type: ignore[arg-type]
        assert contents.packages is None
        assert fault in contents.package_faults[0]

    def test_an_empty_write_ahead_log_is_none(self) -> None:
        facts = layer(file("var/lib/rpm/rpmdb.sqlite-wal", size=0), bodies={"var/lib/rpm/rpmdb.sqlite": sqlite(BLOBS)})
        assert len(look(facts).packages or ()) == 2

    def test_their_number_is_bounded(self) -> None:
        facts = layer(*(folder(f"l/site-packages/p{number}-1.dist-info") for number in range(3)))
        assert look(facts, limits=replace(DEFAULT_LIMITS, packages=3)).packages
        with pytest.raises(TooLarge, match="3 packages; the limit packages is 2"):
            look(facts, limits=replace(DEFAULT_LIMITS, packages=2))
        assert "the limit packages allows, which is 1" in database("lib/apk/db/installed", APK, packages=1).fault
