"""USER looked up in the image's own passwd. Each row that says "not root" wrongly would let root in."""

from dataclasses import replace

import pytest

from fakes.layerfacts import EMPTY_CONFIG
from portcullis.errors import TooLarge
from portcullis.inspection.config import image_user
from portcullis.inspection.users import resolve_user
from portcullis.model.image import ImageUser, UserSource

PASSWD = b"""root:x:0:0:root:/root:/bin/bash
app:x:1000:1001:App:/home/app:/bin/sh
# note
  spaced:x:7:8::/:/bin/sh\t
toor:x:0:0::/:/bin/sh
app:x:0:0:second:/:/bin/sh
nothing
words:x:abc:def::
plus:x:+5:-0::
big:x:4294967296:4294967297::
minus:x:-1:-1::
huge:x:99999999999999999999:1::
tiny:x:-99999999999999999999:1::
\xff:x:12:13::
1500:x:0:0::
3000000000:x:77:78::
"""
GROUP = b"""root:x:0:
staff:x:50:app,other
staff:x:51:
odd:x:zz:
"""


class Files:
    def __init__(self, **content: bytes | None) -> None:
        self._content = {b"etc/" + name.encode(): body for name, body in content.items()}

    def read(self, path: bytes) -> bytes | None:
        return self._content.get(path)


def user(raw: str, passwd: bytes | None = PASSWD, group: bytes | None = GROUP) -> ImageUser:
    return resolve_user(image_user(replace(EMPTY_CONFIG, user=raw)), Files(passwd=passwd, group=group))


@pytest.mark.parametrize(
    ("raw", "uid", "gid", "source", "root"),
    [
        ("app", 1000, 1001, UserSource.PASSWD, False),
        ("root", 0, 0, UserSource.PASSWD, True),
        ("toor", 0, 0, UserSource.PASSWD, True),
        ("spaced", 7, 8, UserSource.PASSWD, False),
        # moby's user package leaves 0 where there is no number.
        ("nothing", 0, 0, UserSource.PASSWD, True),
        ("words", 0, 0, UserSource.PASSWD, True),
        ("plus", 5, 0, UserSource.PASSWD, False),
        # containerd cuts to 32 bits.
        ("big", 0, 1, UserSource.PASSWD, True),
        ("minus", 2**32 - 1, 2**32 - 1, UserSource.PASSWD, False),
        ("huge", 2**32 - 1, 1, UserSource.PASSWD, False),
        ("tiny", 0, 1, UserSource.PASSWD, True),
        ("# note", 0, 0, UserSource.PASSWD, True),
        # No number that is an id: a name.
        ("3000000000", 77, 78, UserSource.PASSWD, False),
        ("app:staff", 1000, 50, UserSource.PASSWD, False),
        ("app:7", 1000, 7, UserSource.PASSWD, False),
        ("app:odd", 1000, 0, UserSource.PASSWD, False),
        ("app:nobody", 1000, None, UserSource.PASSWD, False),
        # Numbers are ids whatever names there are.
        ("1500", 1500, 0, UserSource.NUMERIC, False),
        ("1000", 1000, 1001, UserSource.NUMERIC, False),
        ("7:staff", 7, 50, UserSource.NUMERIC, False),
        ("0", 0, 0, UserSource.NUMERIC, True),
        ("00", 0, 0, UserSource.NUMERIC, True),
        ("0:12", 0, 12, UserSource.NUMERIC, True),
        ("4000", 4000, 0, UserSource.NUMERIC, False),
        ("", 0, 0, UserSource.UNSET, True),
        # Nowhere: no container would start.
        ("web", None, None, UserSource.UNRESOLVED, None),
        ("APP", None, None, UserSource.UNRESOLVED, None),
        ("app ", None, None, UserSource.UNRESOLVED, None),
        ("app:1:2", None, None, UserSource.UNRESOLVED, None),
    ],
)
def test_users(raw: str, uid: int | None, gid: int | None, source: UserSource, root: bool | None) -> None:
    found = user(raw)
    assert (found.raw, found.uid, found.gid, found.source, found.root) == (raw, uid, gid, source, root)


@pytest.mark.parametrize("passwd", [None, b"", b"\n\n", b"root:x:0:0::\n"])
def test_a_name_that_is_nowhere_is_unknown(passwd: bytes | None) -> None:
    assert user("app", passwd).root is None


def test_root_by_name_without_a_passwd() -> None:
    found = user("root", None)
    assert (found.root, found.source) == (True, UserSource.UNRESOLVED)


def test_root_by_name_is_whoever_passwd_says() -> None:
    found = user("root", b"root:x:1000:1000::\n")
    assert (found.uid, found.root) == (1000, False)


def test_names_are_kept() -> None:
    assert user("app").name == "app"


@pytest.mark.parametrize(("length", "root"), [(65_535, False), (65_536, None)])
def test_a_line_that_no_runtime_reads_ends_it(length: int, root: bool | None) -> None:
    """Go's bufio.Scanner takes 64 KiB with the end of the line; behind that the container does not start."""
    line = b"x:" + b"y" * (length - 2)
    assert user("app", PASSWD + line + b"\n").root is root


def test_a_long_line_of_digits() -> None:
    assert user("app", b"app:x:" + b"9" * 60_000 + b":0::\n").uid == 2**32 - 1


class Long(Files):
    def read(self, path: bytes) -> bytes | None:
        raise TooLarge("userDatabaseBytes")


def test_a_passwd_that_is_too_long_matters_to_names_only() -> None:
    numeric = resolve_user(image_user(replace(EMPTY_CONFIG, user="1000")), Long())
    assert (numeric.uid, numeric.gid, numeric.root) == (1000, None, False)
    with pytest.raises(TooLarge):
        resolve_user(image_user(replace(EMPTY_CONFIG, user="app")), Long())
