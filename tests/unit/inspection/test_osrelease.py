"""os-release(5)."""

import pytest

from portcullis.inspection.osrelease import parse_os_release
from portcullis.model.contents import OperatingSystem


def test_debian() -> None:
    content = b"""PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
ID=debian
HOME_URL="https://www.debian.org/"
"""
    assert parse_os_release(content) == OperatingSystem(
        id="debian", version_id="12", name="Debian GNU/Linux 12 (bookworm)"
    )


def test_families() -> None:
    assert parse_os_release(b'ID="rocky"\nID_LIKE="rhel centos fedora"\n').id_like == ("rhel", "centos", "fedora")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"NAME=Alpine", "Alpine"),
        (b"NAME='a b'", "a b"),
        (b'NAME="a \\"b\\" c"', 'a "b" c'),
        (b"  NAME=x  ", "x"),
        (b"#NAME=x", ""),
        (b"name=x", ""),
        (b"NAME =x", ""),
        (b'NAME="open', ""),
        (b"NAME=a\nNAME=b", "b"),
        (b"NAME=", ""),
        (b"NAME=\xff", "\ufffd"),
        (b'NAME="a\x1b[31mb"', "a\ufffd[31mb"),
        (b"", ""),
    ],
)
def test_forms(line: bytes, name: str) -> None:
    assert parse_os_release(line).name == name
