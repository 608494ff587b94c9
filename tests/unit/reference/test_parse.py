"""References as written, and what they mean."""

from dataclasses import replace

import pytest

from portcullis.errors import InvalidReference
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest, ImageReference, Repository
from portcullis.reference.parse import parse_digest, parse_reference, parse_registry

HEX = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX}"
SHA512 = f"sha512:{HEX}{HEX}"


def parse(text: str, **options: str) -> ImageReference:
    return parse_reference(text, limits=DEFAULT_LIMITS, **options)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("registry-1.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("Docker.IO/library/busybox", "docker.io/library/busybox:latest"),
        ("acme/web", "docker.io/acme/web:latest"),
        ("acme/team/web:v1", "docker.io/acme/team/web:v1"),
        ("docker.io.example.test/web", "docker.io.example.test/web:latest"),
        ("registry.example.test/web", "registry.example.test/web:latest"),
        ("REGISTRY.Example.TEST:5000/a/b:T", "registry.example.test:5000/a/b:T"),
        ("registry.example.test:05000/web", "registry.example.test:5000/web:latest"),
        ("registry.example.test:443/web", "registry.example.test:443/web:latest"),
        ("docker.io:443/library/busybox", "docker.io:443/library/busybox:latest"),
        ("localhost/web", "localhost/web:latest"),
        ("LOCALHOST/web", "localhost/web:latest"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("registry:5000/web", "registry:5000/web:latest"),
        ("127.0.0.1:5000/web", "127.0.0.1:5000/web:latest"),
        ("[::1]:5000/web", "[::1]:5000/web:latest"),
        ("[::1]/web", "[::1]/web:latest"),
        ("[2001:DB8:0:0::0001]:5000/web", "[2001:db8::1]:5000/web:latest"),
        ("[::ffff:7f00:1]/web", "[::ffff:7f00:1]/web:latest"),
        ("[0:0:0:0:0:FFFF:7f00:0001]/web", "[::ffff:7f00:1]/web:latest"),
        ("a.b/c.d_e__f-g---h/1:_x.Y-z", "a.b/c.d_e__f-g---h/1:_x.Y-z"),
        ("a-b.c--d.e/f", "a-b.c--d.e/f:latest"),
        ("foo.", None),
        ("foo:bar:baz", None),
        (f"busybox@{SHA256}", f"docker.io/library/busybox@{SHA256}"),
        (f"busybox@{SHA512}", f"docker.io/library/busybox@{SHA512}"),
        (f"busybox:1.36@{SHA256}", f"docker.io/library/busybox:1.36@{SHA256}"),
        (f"docker.io/library/{HEX}", f"docker.io/library/{HEX}:latest"),
        (f"{HEX}:1", f"docker.io/library/{HEX}:1"),
        (f"{HEX[1:]}", f"docker.io/library/{HEX[1:]}:latest"),
        ("x:" + "t" * 128, "docker.io/library/x:" + "t" * 128),
        ("r.test/" + "p" * 255, "r.test/" + "p" * 255 + ":latest"),
    ],
)
def test_normal_form(text: str, normal: str | None) -> None:
    if normal is None:
        with pytest.raises(InvalidReference):
            parse(text)
    else:
        assert str(parse(text)) == normal


def test_parts() -> None:
    reference = parse(f"registry.example.test:5000/team/web:1.4@{SHA256}")
    assert reference == ImageReference(Repository("registry.example.test:5000", "team/web"), "1.4", Digest(SHA256))
    assert reference.pinned
    assert (parse(f"web@{SHA256}").tag, parse("web").tag, parse("web").digest) == (None, "latest", None)


@pytest.mark.parametrize(
    ("text", "default", "normal"),
    [
        ("busybox", "registry.example.test", "registry.example.test/busybox:latest"),
        ("team/web", "Registry.Example.Test:05000", "registry.example.test:5000/team/web:latest"),
        ("docker.io/busybox", "registry.example.test", "docker.io/library/busybox:latest"),
        ("busybox", "index.docker.io", "docker.io/library/busybox:latest"),
        ("busybox", "localhost", "localhost/busybox:latest"),
        ("busybox", "[::1]:5000", "[::1]:5000/busybox:latest"),
    ],
)
def test_default_registry(text: str, default: str, normal: str) -> None:
    assert str(parse(text, default_registry=default)) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Registry.Example.Test:05000", "registry.example.test:5000"),
        ("index.docker.io", "docker.io"),
        ("localhost", "localhost"),
        ("[::0001]", "[::1]"),
    ],
)
def test_registry(text: str, normal: str) -> None:
    assert parse_registry(text) == normal


@pytest.mark.parametrize(
    "text", ["", "registry", "Registry", "a/b", "https://a.b", "a.b:", "a.b:x", "[::1", "-a.b", " a.b"]
)
def test_no_registry(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_registry(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" ", "blank"),
        (" busybox", "blank"),
        ("busybox ", "blank"),
        ("busybox\n", "control"),
        ("a\nb", "control"),
        ("a\tb", "control"),
        ("\x00x", "control"),
        ("a\x7f", "control"),
        ("busy\u202exob", "non-ASCII"),
        ("bu\u0455ybox", "non-ASCII"),
        ("busybox:\u0661", "non-ASCII"),
        ("\ud800", "non-ASCII"),
        ("docker://x", "scheme"),
        ("http://evil.example.test/x", "scheme"),
        ("oci://registry.example.test/x", "scheme"),
        ("$(IMG)", "variable"),
        ("registry.example.test/${IMG}:1", "variable"),
        ("UPPER/Case:bad tag", "blank"),
        ("UPPER/Case", "neither dot nor port"),
        ("Foo/bar", "neither dot nor port"),
        ("Foo", "lower-case"),
        ("a/Foo", "lower-case"),
        ("r.test/Foo/bar", "lower-case"),
        (HEX, "64 hex"),
        ("x:", "tag"),
        ("x:" + "t" * 129, "tag"),
        ("x:.t", "tag"),
        ("x:-t", "tag"),
        ("x:a:b", "tag"),
        ("x:a+b", "tag"),
        ("r.test/" + "p" * 256, "255"),
        ("x@", "digest"),
        ("x@sha256:abc", "digest"),
        (f"x@sha256:{HEX.upper()}", "digest"),
        (f"x@SHA256:{HEX}", "digest"),
        (f"x@{SHA256}0", "digest"),
        (f"x@{SHA256}:latest", "digest"),
        (f"x@{SHA256}@{SHA256}", "digest"),
        (f"x@sha512:{HEX}", "digest"),
        (f"x@sha384:{HEX}{HEX[:32]}", "digest"),
        (f"x@md5:{HEX[:32]}", "digest"),
        (f"x@{SHA256}\n", "control"),
        (f"@{SHA256}", "empty part"),
        (f":1@{SHA256}", "empty part"),
        ("/x", "empty part"),
        ("x/", "empty part"),
        ("r.test/", "empty part"),
        ("localhost/", "empty part"),
        ("docker.io/", "empty part"),
        ("r.test//x", "empty part"),
        ("a//b", "empty part"),
        ("r.test/../x", "separated"),
        ("r.test/./x", "separated"),
        ("r.test/a..b", "separated"),
        ("r.test/a___b", "separated"),
        ("r.test/a._b", "separated"),
        ("r.test/-a", "separated"),
        ("r.test/a-", "separated"),
        ("r.test/_a", "separated"),
        ("r.test/a?b", "separated"),
        ("r.test/a%2fb", "separated"),
        ("r.test/a\\b", "separated"),
        ("r.test/a:b/c", "separated"),
        ("a/b.c:1/d", "separated"),
        ("-r.test/x", "domain"),
        ("r-.test/x", "domain"),
        ("r..test/x", "domain"),
        (".test/x", "domain"),
        ("r.test./x", "domain"),
        ("r_r.test/x", "domain"),
        ("user:pw@r.test/x", "digest"),
        ("r.test:/x", "port"),
        ("r.test:0/x", "port"),
        ("r.test:00/x", "port"),
        ("r.test:65536/x", "port"),
        ("r.test:99999999999999999999/x", "port"),
        ("r.test:80a/x", "port"),
        ("r.test:+80/x", "port"),
        ("r.test:-1/x", "port"),
        (":5000/x", "domain"),
        ("a:b:5000/x", "domain"),
        ("::1/x", "domain"),
        ("[::1]", "tag"),
        ("[::1]:5000", "tag"),
        ("[]/x", "IPv6"),
        ("[abc]/x", "IPv6"),
        ("[abc]", "separated"),
        ("[1:2]/x", "IPv6"),
        ("[::1::]/x", "IPv6"),
        ("[::g]/x", "IPv6"),
        ("[::1%eth0]/x", "IPv6"),
        ("[::ffff:127.0.0.1]/x", "IPv6"),
        ("[::1]5000/x", "port"),
        ("[::1/x", "IPv6"),
    ],
)
def test_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidReference, match=says) as caught:
        parse(text)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000,
        "a." * 5_000,
        "a-" * 5_000,
        "a" + "-" * 9_998 + "!",
        "a/" * 5_000,
        "r.test/" + "a__" * 3_000,
        "x:" + "t" * 10_000,
        "x@sha256:" + "a" * 10_000,
        "\x00" * 10_000,
    ],
)
def test_limit_reference_chars(text: str) -> None:
    with pytest.raises(InvalidReference, match="referenceChars") as caught:
        parse(text)
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "text",
    [
        "a-" * 500_000,
        "a" + "-" * 999_000 + "!",
        "r.test/" + "a__" * 300_000 + "!",
        "a." * 500_000 + "/x",
        "a" + "-" * 999_000 + "./x",
        "r.test:" + "0" * 999_000 + "/x",
        "[" + ":" * 999_000 + "]/x",
        "a/" * 500_000,
        "x:" + "." * 999_000,
        "x@sha256:" + "a" * 999_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_ends_in_linear_time(text: str) -> None:
    """At a million characters anything worse than linear runs into the time limit of the test."""
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text, limits=replace(DEFAULT_LIMITS, reference_chars=1_000_000))
    assert len(caught.value.message) < 500


def test_the_longest_reference_is_within_the_limit() -> None:
    host = ".".join(["h" * 63] * 3)
    text = f"{host}:65535/{'p' * 255}:{'t' * 128}@{SHA512}"
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_digest(text: str) -> None:
    digest = parse_digest(text)
    assert isinstance(digest, Digest)
    assert (digest, digest.algorithm + ":" + digest.hex) == (text, text)


@pytest.mark.parametrize("text", ["", "sha256:", HEX, f"{SHA256}\n", f" {SHA256}", SHA256[:-1], "sha256:" + "g" * 64])
def test_no_digest(text: str) -> None:
    with pytest.raises(InvalidReference, match="digest"):
        parse_digest(text)
