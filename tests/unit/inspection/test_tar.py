"""The walk over a tar: every form of header that there is, read as archive/tar of Go reads it.

The outcomes of the forms that readers disagree about were compared with Go 1.26 itself, over some 100,000 mutated
archives, when the walk was written.
"""

import subprocess
from pathlib import Path

import pytest

from portcullis.errors import LayerMalformed
from portcullis.inspection.layerfacts import Entry, EntryKind, LayerFacts
from unit.inspection.tars import (
    END,
    GNU,
    USTAR,
    V7,
    Layer,
    Wanted,
    base256,
    entry,
    header,
    long_name,
    octal,
    pax,
    read,
    record,
    tar,
)


def only(*parts: bytes) -> Entry:
    (found,) = read(*parts).entries
    return found


def names(facts: LayerFacts) -> list[bytes]:
    return [one.path for one in facts.entries]


# -- kinds -------------------------------------------------------------------------------------------------

KINDS = {
    "a file": (entry(data=b"abc"), Entry(b"file", EntryKind.FILE, 0o644, 0, 0, 3)),
    "a file of the oldest kind": (entry(kind=b"\0", data=b"abc"), Entry(b"file", EntryKind.FILE, 0o644, 0, 0, 3)),
    "a contiguous file": (entry(kind=b"7", data=b"abc"), Entry(b"file", EntryKind.FILE, 0o644, 0, 0, 3)),
    "a hard link": (header(kind=b"1", link=b"./a//b/"), Entry(b"file", EntryKind.HARD_LINK, 0o644, 0, 0, 0, b"a/b")),
    "a hard link from above the root": (
        header(kind=b"1", link=b"../../a"),
        Entry(b"file", EntryKind.HARD_LINK, 0o644, 0, 0, 0, b"a"),
    ),
    "a symlink": (
        header(kind=b"2", link=b"../a/./b/"),
        Entry(b"file", EntryKind.SYMLINK, 0o644, 0, 0, 0, b"../a/./b/"),
    ),
    "a character device": (
        header(kind=b"3", device=(1, 3)),
        Entry(b"file", EntryKind.CHARACTER_DEVICE, 0o644, 0, 0, 0, b"", (1, 3)),
    ),
    "a block device": (
        header(kind=b"4", device=(8, base256(70_000, 8))),
        Entry(b"file", EntryKind.BLOCK_DEVICE, 0o644, 0, 0, 0, b"", (8, 70_000)),
    ),
    "a folder": (header(b"folder/", b"5", mode=0o1777), Entry(b"folder", EntryKind.FOLDER, 0o1777, 0, 0)),
    "a fifo": (header(kind=b"6"), Entry(b"file", EntryKind.FIFO, 0o644, 0, 0)),
    "a folder of the oldest kind": (header(b"folder/", b"\0"), Entry(b"folder", EntryKind.FOLDER, 0o644, 0, 0)),
    "a file with a slash behind it": (entry(b"file/", data=b"abc"), Entry(b"file", EntryKind.FILE, 0o644, 0, 0, 3)),
    "a device in the oldest format": (
        header(kind=b"3", device=(1, 3), magic=V7),
        Entry(b"file", EntryKind.CHARACTER_DEVICE, 0o644, 0, 0),
    ),
}


@pytest.mark.parametrize(("block", "expected"), KINDS.values(), ids=KINDS)
def test_kinds(block: bytes, expected: Entry) -> None:
    assert only(block) == expected


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_only_files_have_data_whatever_the_size_says(kind: bytes) -> None:
    facts = read(header(b"a", kind, link=b"target", size=1024), header(b"b"))
    assert names(facts) == [b"a", b"b"]
    assert facts.entries[0].size == 0


@pytest.mark.parametrize("kind", [b"8", b"V", b"M", b"D", b"N", b"X", b"A", b"\xff"])
def test_other_types_are_refused_as_runtimes_refuse_them(kind: bytes) -> None:
    with pytest.raises(LayerMalformed, match=r"at 512 in the tar, 'strange': its type, .*, is not known"):
        read(header(b"before"), header(b"strange", kind))


# -- numbers -----------------------------------------------------------------------------------------------

NUMBERS = {
    "octal": (b"0001750\0", 1000),
    "octal without an end": (b"00001750", 1000),
    "blanks around": (b"  1750 \0", 1000),
    "NULs in front": (b"\0\0\0" + b"1750\0", 1000),
    "something behind the NUL": (b"1750\0xyz", 1000),
    "empty": (bytes(8), 0),
    "blanks": (b" " * 8, 0),
    "base 256": (base256(3_000_000, 8), 3_000_000),
}


@pytest.mark.parametrize(("field", "value"), NUMBERS.values(), ids=NUMBERS)
def test_numbers(field: bytes, value: int) -> None:
    assert only(header(uid=field)).uid == value
    assert only(header(gid=field)).gid == value


BAD_NUMBERS = {
    "a digit too high": b"0000008\0",
    "letters": b"0000abc\0",
    "a sign": b"-000001\0",
    "a prefix of Python": b"0o00017\0",
    "an underscore": b"00_0017\0",
    "a blank between": b"0001 00\0",
}


@pytest.mark.parametrize("field", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
@pytest.mark.parametrize("name", ["mode", "uid", "gid"])
def test_what_is_no_number_is_refused(field: bytes, name: str) -> None:
    with pytest.raises(LayerMalformed, match=f"the field {name} of the header is no number"):
        read(header(**{name: field}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["size", "mtime"])
def test_what_is_no_long_number_is_refused(name: str) -> None:
    for field in (b"0000000000x\0", base256(1 << 70, 12)):
        with pytest.raises(LayerMalformed, match=f"the field {name} of the header is no number"):
            read(header(**{name: field}))  # type: ignore[arg-type]


def test_devices_are_numbers_in_every_kind_of_entry() -> None:
    with pytest.raises(LayerMalformed, match="devmajor"):
        read(header(device=(b"x" * 8, 0)))
    with pytest.raises(LayerMalformed, match="devminor"):
        read(header(device=(0, b"x" * 8), magic=GNU))


@pytest.mark.parametrize("field", [base256(-1, 12), base256(-512, 12)])
@pytest.mark.parametrize("kind", [b"0", b"5", b"x", b"g", b"L", b"S"])
def test_a_negative_size_is_refused(field: bytes, kind: bytes) -> None:
    with pytest.raises(LayerMalformed, match="its size is negative"):
        read(header(kind=kind, size=field, magic=GNU))


@pytest.mark.parametrize("owner", [-1, 2**32 - 1, 2**32, 2**40])
def test_an_owner_that_chown_would_take_for_another_is_refused(owner: int) -> None:
    for block in (header(uid=base256(owner, 8)), header(gid=base256(owner, 8))):
        with pytest.raises(LayerMalformed, match=r"is owned by .*, which no file can be"):
            read(block)
    for key in (b"uid", b"gid"):
        with pytest.raises(LayerMalformed, match="is owned by"):
            read(pax((key, b"%d" % owner)), header())


def test_the_highest_owner() -> None:
    assert only(header(uid=base256(2**32 - 2, 8))).uid == 2**32 - 2


def test_of_the_mode_only_permissions_count() -> None:
    assert only(header(mode=0o104755)).mode == 0o4755
    assert only(header(mode=base256(-1, 8))).mode == 0o7777


# -- checksums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("magic", [USTAR, GNU, V7])
@pytest.mark.parametrize("signed", [False, True])
def test_the_checksum_is_of_unsigned_or_of_signed_bytes(magic: bytes, signed: bool) -> None:
    assert only(header(b"\xff" * 99, magic=magic, signed=signed)).path == b"\xff" * 99


@pytest.mark.parametrize("checksum", [b"000000\0 ", b"", b"xxxxxx\0 "])
def test_a_wrong_checksum_is_refused(checksum: bytes) -> None:
    with pytest.raises(LayerMalformed, match="at 512 in the tar: "):
        read(header(), header(b"other", checksum=checksum))


def test_each_byte_counts_for_the_checksum() -> None:
    block = header(b"name" * 20, tail=b"t" * 12)
    for at in [*range(0, 512, 37), 511]:
        changed = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        if not 148 <= at < 156:
            with pytest.raises(LayerMalformed, match="checksum"):
                read(changed)


# -- names -------------------------------------------------------------------------------------------------

NAMES = {
    b"usr/bin/sh": b"usr/bin/sh",
    b"./usr/bin/sh": b"usr/bin/sh",
    b"/usr/bin/sh": b"usr/bin/sh",
    b"//usr//bin///sh": b"usr/bin/sh",
    b"usr/./bin/../sbin/sh": b"usr/sbin/sh",
    b"../../etc/passwd": b"etc/passwd",
    b"usr/../../../etc/passwd": b"etc/passwd",
    b".../x": b".../x",
    b".hidden/..x": b".hidden/..x",
    b"./.hidden": b".hidden",
    b"././/./x": b"x",
    b"x/.": b"x",
    b"x/y/..": b"x",
    b"\xff\xfe/\x01": b"\xff\xfe/\x01",
    b"a\nb": b"a\nb",
    b"a\\b": b"a\\b",
}


@pytest.mark.parametrize(("name", "path"), NAMES.items())
def test_names_are_cleaned_below_the_root(name: bytes, path: bytes) -> None:
    assert only(header(name)).path == path
    assert only(header(name + b"/", b"5")).path == path


@pytest.mark.parametrize("name", [b"", b".", b"./", b"/", b"..", b"../..", b"a/..", b"./../"])
def test_at_the_root_only_a_folder_is_something(name: bytes) -> None:
    assert names(read(header(name, b"5", mode=0o700), entry(name, data=b"lost"), header(b"next"))) == [b"", b"next"]
    assert names(read(header(name, b"2", link=b"x"), header(name, b"1", link=b"x"))) == []


def test_a_name_ends_at_its_nul_and_may_fill_its_field() -> None:
    assert only(header(b"name\0rest")).path == b"name"
    assert only(header(b"n" * 100)).path == b"n" * 100
    assert only(header(kind=b"2", link=b"l" * 100)).link == b"l" * 100


def test_the_prefix_of_ustar_comes_first() -> None:
    assert only(header(b"n" * 100, prefix=b"p" * 155)).path == b"p" * 155 + b"/" + b"n" * 100


def test_the_prefix_of_star_is_shorter() -> None:
    times = octal(1, 12) * 2
    block = header(b"name", prefix=b"p" * 131 + times, tail=b"".ljust(8, b"\0") + b"tar\0")
    assert only(block).path == b"p" * 131 + b"/name"
    with pytest.raises(LayerMalformed, match="atime"):
        read(header(b"name", prefix=b"p" * 131 + b"no time here", tail=b"".ljust(8, b"\0") + b"tar\0"))


def test_gnu_has_times_in_the_place_of_a_prefix() -> None:
    assert only(header(b"name", prefix=octal(1, 12) * 2, magic=GNU)).path == b"name"
    assert only(header(b"name", prefix=bytes(12) + octal(1, 12), magic=GNU)).path == b"name"


def test_a_name_in_the_place_of_the_times_is_the_prefix_that_old_go_wrote() -> None:
    assert only(header(b"name", prefix=b"folder", magic=GNU)).path == b"folder/name"
    assert only(header(b"name", prefix="ä".encode(), magic=GNU)).path == b"name"


def test_the_oldest_format_has_no_prefix() -> None:
    assert only(header(b"name", prefix=b"prefix", magic=V7)).path == b"name"
    assert only(header(b"name", prefix=b"prefix", magic=b"ustar  x")).path == b"name"


def test_entries_stay_in_order_and_repeat() -> None:
    facts = read(header(b"a", mode=0o600), header(b"b"), header(b"./a", mode=0o4755))
    assert [(one.path, one.mode) for one in facts.entries] == [(b"a", 0o600), (b"b", 0o644), (b"a", 0o4755)]


# -- extended headers --------------------------------------------------------------------------------------


def test_gnu_long_names_and_links() -> None:
    name, link = b"n/" * 300 + b"x", b"l/" * 300 + b"y"
    found = only(long_name(link, b"K"), long_name(name), header(b"short", b"2", link=b"short", magic=GNU))
    assert (found.path, found.link) == (name, link)


def test_gnu_long_names_are_for_one_entry() -> None:
    assert names(read(long_name(b"long"), header(b"a"), header(b"b"))) == [b"long", b"b"]


def test_an_empty_long_name_is_none() -> None:
    assert only(long_name(b""), header(b"short")).path == b"short"


def test_a_long_name_ends_at_its_nul() -> None:
    assert only(long_name(b"long\0er"), header(b"short")).path == b"long"


def test_pax_records_replace_what_the_header_says() -> None:
    name = "ünï/".encode() * 60 + b"x"
    capability = b"\x01\0\0\2\0\4\0\0" + bytes(12)
    found = only(
        pax(
            (b"path", name),
            (b"linkpath", b"elsewhere"),
            (b"uid", b"70000"),
            (b"gid", b"+70001"),
            (b"size", b"5"),
            (b"mtime", b"1700000000.123"),
            (b"atime", b"-1.5"),
            (b"ctime", b"0"),
            (b"comment", b"what = that\0"),
            (b"SCHILY.xattr.security.capability", capability),
        ),
        header(b"short", b"0", size=0, uid=5, gid=6, link=b"other"),
        b"12345".ljust(512, b"\0"),
    )
    assert found == Entry(name, EntryKind.FILE, 0o644, 70000, 70001, 5, b"", (0, 0), capability)


def test_pax_records_are_for_one_entry() -> None:
    facts = read(pax((b"path", b"long"), (b"uid", b"7")), header(b"a"), header(b"b"))
    assert [(one.path, one.uid) for one in facts.entries] == [(b"long", 7), (b"b", 0)]


def test_only_the_last_of_several_pax_headers_counts() -> None:
    assert only(pax((b"path", b"first"), (b"uid", b"7")), pax((b"gid", b"8")), header(b"a")) == Entry(
        b"a", EntryKind.FILE, 0o644, 0, 8
    )


def test_the_last_record_of_a_key_counts_and_an_empty_one_counts_for_nothing() -> None:
    assert only(pax((b"path", b"first"), (b"path", b"second")), header(b"a")).path == b"second"
    assert only(pax((b"path", b"first"), (b"path", b"")), header(b"a")).path == b"a"


def test_a_gnu_long_name_wins_over_a_pax_path() -> None:
    for parts in ((pax((b"path", b"pax")), long_name(b"gnu")), (long_name(b"gnu"), pax((b"path", b"pax")))):
        assert only(*parts, header(b"a")).path == b"gnu"


def test_a_pax_path_decides_whether_the_oldest_kind_is_a_folder() -> None:
    assert only(pax((b"path", b"long/")), header(b"a", b"\0")).kind == EntryKind.FOLDER
    assert only(pax((b"path", b"long")), header(b"a/", b"\0")).kind == EntryKind.FILE


def test_a_capability_that_only_libarchive_would_set_is_none() -> None:
    assert (
        only(
            pax(
                (b"LIBARCHIVE.xattr.security.capability", b"AQAAAg=="),
            ),
            header(),
        ).capability
        == b""
    )


def test_a_capability_that_the_kernel_would_not_take_is_refused() -> None:
    with pytest.raises(LayerMalformed, match="its file capabilities have 25 bytes"):
        read(pax((b"SCHILY.xattr.security.capability", bytes(25))), header())


BAD_RECORDS = {
    "a length too long": b"99 path=a\n",
    "a length too short": b"5 path=a\n",
    "a length that cuts the next one": b"9 path=a\n3 b\n",
    "no length": b" path=a\n",
    "no number": b"x path=a\n",
    "a negative number": b"-9 path=a\n",
    "a number of 50 digits": b"9" * 50 + b" path=a\n",
    "nothing after the length": b"5    ",
    "no line end": b"9 path=ab",
    "no equals sign": b"9 pathaa\n",
    "no key": b"5 =a\n",
    "a NUL in a path": record(b"path", b"a\0b"),
    "a NUL in a link": record(b"linkpath", b"a\0b"),
    "a NUL in an owner": record(b"uname", b"a\0b"),
    "a NUL in a key": record(b"a\0b", b"c"),
    "padding": record(b"path", b"a") + b"\0",
    "an offset twice": record(b"GNU.sparse.offset", b"1") * 2,
    "no offset": record(b"GNU.sparse.numbytes", b"1"),
    "a comma in an offset": record(b"GNU.sparse.offset", b"1,2"),
}


@pytest.mark.parametrize("body", BAD_RECORDS.values(), ids=BAD_RECORDS)
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_bad_pax_records_are_refused(body: bytes, kind: bytes) -> None:
    with pytest.raises(LayerMalformed, match="pax record"):
        read(header(b"before"), entry(b"pax", kind, data=body), header())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"size", b"x"),
        (b"size", b"1_0"),
        (b"size", b" 1"),
        (b"size", b"9223372036854775808"),
        (b"uid", b"1.0"),
        (b"gid", b"0x1"),
        (b"mtime", b".5"),
        (b"mtime", b"1.x"),
        (b"atime", b"1.-5"),
        (b"ctime", b"now"),
    ],
)
def test_pax_numbers_and_times(key: bytes, value: bytes) -> None:
    with pytest.raises(LayerMalformed, match="is no number"):
        read(pax((key, value)), header())


def test_a_negative_pax_size_is_refused() -> None:
    with pytest.raises(LayerMalformed, match="its size is negative"):
        read(pax((b"size", b"-1")), header())


def test_records_of_a_global_header_count_for_nothing() -> None:
    facts = read(
        pax((b"comment", b"0123"), (b"uid", b"x"), kind=b"g", name=b"pax_global_header"), header(b"a"), header(b"b")
    )
    assert [(one.path, one.uid) for one in facts.entries] == [(b"a", 0), (b"b", 0)]


def test_a_global_header_ends_what_was_said_of_the_next_entry() -> None:
    between = pax((b"comment", b"x"), kind=b"g", name=b"pax_global_header")
    assert only(pax((b"path", b"long")), long_name(b"longer"), between, header(b"a")).path == b"a"


@pytest.mark.parametrize("name", [b"etc/passwd", b"etc", b"./etc/../etc/passwd", b"x/.wh.y", b".wh..wh..opq"])
def test_a_global_header_that_would_remove_something_is_refused(name: bytes) -> None:
    for block in (pax((b"comment", b"x"), kind=b"g", name=name), pax((b"path", name), kind=b"g")):
        with pytest.raises(LayerMalformed, match="a global header has the name of"):
            read(header(b"etc/passwd"), block)


def test_extended_headers_without_end_are_refused() -> None:
    assert names(read(*[pax((b"uid", b"1"))] * 16, header(b"a"))) == [b"a"]
    with pytest.raises(LayerMalformed, match="more than 16 extended headers precede one entry"):
        read(*[pax((b"uid", b"1"))] * 17, header(b"a"))


def test_extended_headers_of_nothing_are_nothing() -> None:
    assert names(read(header(b"a"), pax((b"path", b"b")), long_name(b"c"))) == [b"a"]


# -- the end -----------------------------------------------------------------------------------------------

BEFORE = entry(b"a", data=b"x" * 600)
ENDS = {
    "two blocks of zeros": END,
    "two blocks of zeros, then anything": END + b"anything" * 100,
    "two blocks of zeros, then another archive": END + tar(header(b"b")),
    "one block of zeros": bytes(512),
    "nothing": b"",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_where_an_archive_ends(end: bytes) -> None:
    assert names(Layer.of(BEFORE + end).read()) == [b"a"]


def test_the_padding_of_the_last_entry_may_be_missing() -> None:
    for missing in (1, 423, 424):
        assert names(Layer.of(BEFORE[:-missing]).read()) == [b"a"]
    assert names(Layer.of(header(b"a") + pax((b"path", b"b"))[:-1]).read()) == [b"a"]


CUTS = {
    "in the first header": (header()[:511], "the header is cut off"),
    "in a header": (BEFORE + header()[:1], "the header is cut off"),
    "in the second block of zeros": (BEFORE + END[:-1], "a block of zeros is followed by something else"),
    "between blocks of zeros": (BEFORE + bytes(512) + header(), "a block of zeros is followed by something else"),
    "in data": (BEFORE[:-425], "its data is cut off"),
    "in data, at a block": (BEFORE[:1024], "its data is cut off"),
    "before data": (BEFORE[:512], "its data is cut off"),
    "in a pax header": (pax((b"path", b"b"))[:520], "an extended header is cut off"),
    "in a long name": (long_name(b"b")[:512], "an extended header is cut off"),
    "text": (b"This is no archive. " * 40, "the field chksum of the header is no number"),
    "zeros and ones": (b"\1" * 512 + END, "the field chksum of the header is no number"),
}


@pytest.mark.parametrize(("content", "message"), CUTS.values(), ids=CUTS)
def test_a_tar_that_is_cut_off_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(LayerMalformed, match=message):
        Layer.of(content).read()
    with pytest.raises(LayerMalformed, match=message):
        Layer.of(content).read(Wanted(kept={b"a": 1000}))


def test_a_message_says_where_and_shows_names_safely() -> None:
    with pytest.raises(LayerMalformed) as caught:
        read(header(b"before"), header("evil\u202e\n\x1b[31m".encode() + b"\xff", uid=base256(-1, 8)))
    assert caught.value.message.startswith("the layer under test, at 512 in the tar, 'evil")
    assert caught.value.message.isprintable()


def test_archives_of_gnu_tar(tmp_path: Path) -> None:
    """Each format that GNU tar writes, of one tree."""
    folder = tmp_path / "tree"
    deep = folder / ("d" * 60) / ("e" * 60) / ("f" * 90)
    deep.parent.mkdir(parents=True)
    deep.write_bytes(b"x" * 1000)
    (folder / "link").symlink_to("d" * 120)
    (folder / "hard").hardlink_to(deep)
    expected = {
        b"d" * 60: EntryKind.FOLDER,
        b"d" * 60 + b"/" + b"e" * 60: EntryKind.FOLDER,
        b"d" * 60 + b"/" + b"e" * 60 + b"/" + b"f" * 90: EntryKind.FILE,
        b"hard": EntryKind.HARD_LINK,
        b"link": EntryKind.SYMLINK,
    }
    for form in ("gnu", "oldgnu", "pax", "posix"):
        command = ["tar", "--create", f"--format={form}", "--sort=name", "--directory", str(folder), "."]
        facts = Layer.of(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout).read()
        assert {one.path: one.kind for one in facts.entries} == {b"": EntryKind.FOLDER, **expected}
        links = {one.path: one.link for one in facts.entries}
        assert links[b"link"] == b"d" * 120
        assert links[b"hard"] == deep.relative_to(folder).as_posix().encode()
