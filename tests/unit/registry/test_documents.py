"""JSON that could be read in two ways is not read."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portcullis.errors import DigestMismatch, Malformed, RegistryError, TooLarge
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest
from portcullis.registry.configs import read_config
from portcullis.registry.digests import Checksum, check_digest, digest_of, read_digest
from portcullis.registry.documents import Fields, parse_object


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}{}",
        b'{"a":1,"a":2}',
        b'{"x":{"a":1,"a":1}}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_documents_that_are_refused(content: bytes) -> None:
    with pytest.raises(Malformed, match="the thing"):
        parse_object(content, depth=10, what="the thing")


@pytest.mark.parametrize("nested", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("levels", [10, 100, 10_000, 1_000_000])
def test_depth_is_bounded(nested: tuple[bytes, bytes], levels: int) -> None:
    content = b'{"a":' + nested[0] * levels + b"1" + nested[1] * levels + b"}"
    with pytest.raises(TooLarge, match="jsonDepth of 10"):
        parse_object(content, depth=10, what="the thing")


@pytest.mark.parametrize(("levels", "fine"), [(8, True), (9, True), (10, False)])
def test_where_the_depth_begins(levels: int, fine: bool) -> None:
    """The object itself is the first level."""
    content = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
    if fine:
        assert "a" in parse_object(content, depth=10, what="the thing")
    else:
        with pytest.raises(TooLarge):
            parse_object(content, depth=10, what="the thing")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), _JSON, max_size=5))
def test_what_is_fine_is_read_as_it_is(document: dict[str, Any]) -> None:
    assert parse_object(json.dumps(document, ensure_ascii=False).encode(), depth=50, what="x") == document


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(RegistryError):
        assert isinstance(parse_object(content, depth=10, what="x"), dict)


@pytest.mark.parametrize("key", ["user", "USER", "uSer", "U\u017fer"])
def test_a_key_that_go_takes_for_another_is_refused(key: str) -> None:
    """Go folds the case of field names, and U+017F with it."""
    with pytest.raises(Malformed, match="another"):
        Fields.of({"User": "1000", key: "0"}, "the thing", {"User"})


def test_keys_that_nobody_reads_are_free() -> None:
    assert Fields.of({"other": 1, "OTHER": 2, "User": "a"}, "the thing", {"User"}).text("User") == "a"


@pytest.mark.parametrize(
    "document",
    [
        {"config": {"User": 0}},
        {"config": {"User": ["0"]}},
        {"config": {"user": "0"}},
        {"config": {"User": "1000", "user": "0"}},
        {"Config": {"User": "0"}, "config": {"User": "1000"}},
        {"config": "x"},
        {"config": {"Entrypoint": "sh"}},
        {"config": {"Cmd": [1]}},
        {"config": {"Env": {"A": "b"}}},
        {"config": {"Labels": {"a": 1}}},
        {"config": {"Labels": ["a"]}},
        {"config": {"ExposedPorts": ["80/tcp"]}},
        {"config": {"Volumes": "/data"}},
        {"config": {"Healthcheck": []}},
        {"config": {"Healthcheck": {"Test": "true"}}},
        {"history": {}},
        {"history": ["x"]},
        {"history": [{"created_by": 1}]},
        {"history": [{"empty_layer": "yes"}]},
        {"created": 1},
        {"created": "yesterday"},
        {"created": "2026-02-30T00:00:00Z"},
        {"created": "2026-01-01T25:00:00Z"},
        {"created": "2026-01-01T00:00:00"},
        {"created": "2026-01-01"},
        {"created": "9999-12-31T23:59:59-01:00"},
        {"os": 1},
        {"architecture": {}},
    ],
)
def test_configurations_that_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        read_config(json.dumps(document).encode(), DEFAULT_LIMITS, "the configuration")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-24T12:00:00Z", "2026-11-24T12:00:00+00:00"),
        ("2026-11-24t12:00:00z", "2026-11-24T12:00:00+00:00"),
        ("2026-11-24T12:00:00.123456789Z", "2026-11-24T12:00:00.123456+00:00"),
        ("2026-11-24T12:00:00.5+02:30", "2026-11-24T09:30:00.500000+00:00"),
        ("2026-11-24T12:00:00-05:00", "2026-11-24T17:00:00+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_when_an_image_was_created(text: str | None, written: str | None) -> None:
    _, config = read_config(json.dumps({"created": text}).encode(), DEFAULT_LIMITS, "x")
    assert (config.created.isoformat() if config.created else None) == written


def test_an_empty_configuration_is_one() -> None:
    """What Go would make of it: an image for no platform that sets nothing."""
    platform, config = read_config(b'{"config":null,"history":null}', DEFAULT_LIMITS, "x")
    assert str(platform) == "unknown/unknown"
    assert (config.user, config.entrypoint, config.env_names, dict(config.labels)) == ("", (), (), {})


def test_a_history_is_bounded_in_lines_and_characters() -> None:
    history = [{"created_by": "RUN make"}, {"created_by": "USER 1"}, {}]
    content = json.dumps({"history": history}).encode()
    _, config = read_config(content, replace(DEFAULT_LIMITS, history_entries=3, history_chars=14), "x")
    assert len(config.history) == 3
    with pytest.raises(TooLarge, match="the limit historyEntries is 2"):
        read_config(content, replace(DEFAULT_LIMITS, history_entries=2), "x")
    with pytest.raises(TooLarge, match="14 characters; the limit historyChars is 13"):
        read_config(content, replace(DEFAULT_LIMITS, history_chars=13), "x")


def test_values_of_variables_do_not_pass() -> None:
    content = json.dumps({"config": {"Env": ["A=secret", "B", "=C", "D=e=secret"]}}).encode()
    _, config = read_config(content, DEFAULT_LIMITS, "x")
    assert config.env_names == ("A", "B", "", "D")
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "A" * 64,
        "md5:" + "a" * 32,
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_digests_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        read_digest(text, "x")


@given(st.lists(st.binary(max_size=50)), st.sampled_from(["sha256", "sha512"]))
def test_content_has_its_digest_and_no_other(pieces: list[bytes], algorithm: str) -> None:
    whole = b"".join(pieces)
    digest = digest_of(whole, algorithm)
    assert read_digest(digest, "x") == digest
    checksum = Checksum(digest)
    for piece in pieces:
        checksum.update(piece)
    checksum.check("x")
    with pytest.raises(DigestMismatch):
        check_digest(whole + b"x", digest, "x")


def test_a_digest_of_another_algorithm_is_not_computed() -> None:
    with pytest.raises(Malformed):
        Checksum(Digest("md5:d41d8cd98f00b204e9800998ecf8427e"))
