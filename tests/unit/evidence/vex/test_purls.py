"""Package URLs, read and compared."""

from typing import Any

import pytest

from portcullis.evidence.vex.purls import Purl, parse_purl

READ: list[tuple[str, Purl]] = [
    ("pkg:npm/left-pad", Purl("npm", "", "left-pad")),
    ("PKG:NPM/left-pad@1.3.0", Purl("npm", "", "left-pad", "1.3.0")),
    ("pkg://npm//left-pad@1.3.0", Purl("npm", "", "left-pad", "1.3.0")),
    ("pkg:npm/%40babel/core@7.0.0", Purl("npm", "@babel", "core", "7.0.0")),
    ("pkg:npm/@babel/core@7.0.0", Purl("npm", "@babel", "core", "7.0.0")),
    ("pkg:npm/@babel/core", Purl("npm", "@babel", "core")),
    ("pkg:maven/org.apache/log4j@2.1?type=jar", Purl("maven", "org.apache", "log4j", "2.1", {"type": "jar"})),
    (
        "pkg:deb/Debian/OpenSSL@3.0.1-1%2Bdeb12?Arch=amd64&distro=debian-12&epoch=",
        Purl("deb", "debian", "openssl", "3.0.1-1+deb12", {"arch": "amd64", "distro": "debian-12"}),
    ),
    ("pkg:rpm/RedHat/NetworkManager@1", Purl("rpm", "redhat", "NetworkManager", "1")),
    ("pkg:pypi/Foo_Bar@1", Purl("pypi", "", "foo-bar", "1")),
    ("pkg:nuget/Newtonsoft.Json@13", Purl("nuget", "", "Newtonsoft.Json", "13")),
    ("pkg:oci/web@sha256%3Aab", Purl("oci", "", "web", "sha256:ab")),
    ("pkg:oci/web@sha256:ab", Purl("oci", "", "web", "sha256:ab")),
    ("pkg:golang/Example.org/a/b@v1/2#/./c/../d/", Purl("golang", "example.org/a", "b", "v1/2", {}, "c/d")),
    ("pkg:github/x/y/z@1?a=b%26c", Purl("github", "x/y", "z", "1", {"a": "b&c"})),
]


@pytest.mark.parametrize(("text", "expected"), READ, ids=[text for text, _ in READ])
def test_what_is_read(text: str, expected: Purl) -> None:
    assert parse_purl(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pkg:",
        "pkg:npm",
        "pkg:npm/",
        "pkg:npm/@1.0",
        "pkg:io.quarkus.http:quarkus-http-core@5.3.3",
        "pkg:1npm/x",
        "pkg:n pm/x",
        "npm/left-pad",
        "https://example.org/npm/left-pad",
        "pkg:npm/a%",
        "pkg:npm/a%zz",
        "pkg:npm/a@1%2",
        "pkg:npm/%ff",
        "pkg:npm/a?x=%c3",
        "pkg:npm/a?arch=x&ARCH=y",
        "pkg:npm/a?ar ch=x",
        "pkg:npm/a?=x",
        "pkg:npm/" + "a" * 5000,
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_what_is_none(text: str) -> None:
    assert parse_purl(text) is None


FOUND = "pkg:deb/debian/openssl@3.0.1?arch=amd64&distro=debian-12&upstream=x"


@pytest.mark.parametrize(
    ("named", "covers"),
    [
        (FOUND, True),
        ("pkg:deb/debian/openssl", True),
        ("pkg:deb/debian/openssl@3.0.1", True),
        ("pkg:deb/debian/openssl?arch=amd64", True),
        ("pkg:DEB/Debian/OpenSSL@3.0.1?distro=debian-12&arch=amd64", True),
        ("pkg:deb/debian/openssl@3.0.2", False),
        ("pkg:deb/debian/openssl@3.0", False),
        ("pkg:deb/debian/openssl@3.0.1?arch=arm64", False),
        ("pkg:deb/debian/openssl@3.0.1?arch=amd64&epoch=1", False),
        ("pkg:deb/debian/openssl@3.0.1#lib", False),
        ("pkg:deb/debian/libssl3@3.0.1", False),
        ("pkg:deb/ubuntu/openssl@3.0.1", False),
        ("pkg:deb/openssl@3.0.1", False),
        ("pkg:apk/debian/openssl@3.0.1", False),
    ],
)
def test_what_is_covered(named: str, covers: bool) -> None:
    one, found = parse_purl(named), parse_purl(FOUND)
    assert one is not None
    assert found is not None
    assert one.covers(found) is covers


def test_a_subpath_that_is_named_must_be_there() -> None:
    def read(text: str) -> Any:
        return parse_purl(text)

    assert read("pkg:golang/x/y@1#a").covers(read("pkg:golang/x/y@1#a"))
    assert read("pkg:golang/x/y@1").covers(read("pkg:golang/x/y@1#a"))
    assert not read("pkg:golang/x/y@1#b").covers(read("pkg:golang/x/y@1#a"))
