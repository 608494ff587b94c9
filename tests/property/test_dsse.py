"""Attestations and reports from anybody: whatever the bytes, an answer; and no changed byte that still counts."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fakes.changes import replace_anywhere
from portcullis.evidence.artifact import read_artifact
from portcullis.evidence.attest import attest
from portcullis.evidence.decode import decode_base64, parse_json
from portcullis.evidence.dsse import pae
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.times import parse_time
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Carrier, CarrierKind, Rejected, Statement, Verified
from portcullis.model.image import Descriptor, Digest, Manifest, Repository
from portcullis.model.imagepattern import parse_pattern
from vectors import attestations as made

VERIFIER = AttestationVerifier(trust=made.trust(), limits=made.LIMITS)
BLOB = Digest("sha256:" + "00" * 32)
MEDIA_TYPES = st.sampled_from([made.BUNDLE, made.DSSE, made.IN_TOTO, "application/json", ""])
GOOD_BUNDLE = made.compact(made.bundle(made.envelope(made.compact(made.statement()), keyid="ci")))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def verify(content: bytes, media_type: str) -> Verified | Rejected:
    carrier = Carrier(CarrierKind.REFERRER, media_type, BLOB, made.SUBJECT, content)
    return asyncio.run(VERIFIER.verify(carrier, made.SUBJECT))


@given(st.binary() | JSON.map(made.compact), MEDIA_TYPES)
def test_no_bytes_make_the_verifier_raise_or_believe(content: bytes, media_type: str) -> None:
    assert isinstance(verify(content, media_type), Rejected)


@given(st.data())
def test_no_part_of_an_envelope_makes_the_verifier_raise(data: st.DataObject) -> None:
    """A good bundle of which one value, anywhere, was replaced by any JSON."""
    document = json.loads(GOOD_BUNDLE)
    replace_anywhere(data, document, JSON)

    verdict = verify(made.compact(document), made.BUNDLE)
    assert isinstance(verdict, Rejected) or verdict.statement.predicate == b'{"scanner":{}}'


@settings(max_examples=300)
@given(st.integers(0, len(GOOD_BUNDLE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_nothing_that_is_signed(position: int, byte: int) -> None:
    changed = GOOD_BUNDLE[:position] + bytes([byte]) + GOOD_BUNDLE[position + 1 :]
    verdict = verify(changed, made.BUNDLE)
    if isinstance(verdict, Verified):
        before, after = json.loads(GOOD_BUNDLE), json.loads(changed)
        assert after["dsseEnvelope"]["payload"] == before["dsseEnvelope"]["payload"]
        assert verdict.statement.predicate == b'{"scanner":{}}'


@given(st.dictionaries(TEXT, JSON, max_size=5), TEXT.filter(bool))
def test_what_is_attested_is_what_is_verified(predicate: dict[str, Any], predicate_type: str) -> None:
    content = attest(
        predicate=predicate, predicate_type=f"x:{predicate_type}", subject=made.SUBJECT, name="x", key=made.CI
    )
    verdict = verify(content, made.BUNDLE)
    assert isinstance(verdict, Verified)
    assert verdict.statement == Statement(f"x:{predicate_type}", made.compact(predicate))


@given(TEXT, st.binary(max_size=50), TEXT, st.binary(max_size=50))
@example("a 1", b"b", "a", b"1 b")
@example("ä", b"x", "a", b"x")
def test_no_two_payloads_have_one_encoding(kind: str, payload: bytes, other: str, other_payload: bytes) -> None:
    same = (kind, payload) == (other, other_payload)
    assert (pae(kind, payload) == pae(other, other_payload)) is same


def test_the_encoding_of_the_protocols_example() -> None:
    encoded = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == encoded


@given(JSON)
def test_json_that_is_written_is_read(value: Any) -> None:
    assert parse_json(made.compact(value), limits=DEFAULT_LIMITS, what="it") == value


@given(TEXT)
def test_no_two_texts_are_one_base64(text: str) -> None:
    try:
        decoded = decode_base64(text, "it")
    except EvidenceError:
        return
    assert made.base64.b64encode(decoded).decode() == text


@given(
    st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9998, 12, 30)),  # noqa: DTZ001
    st.integers(-23 * 60, 23 * 60),
)
def test_times_mean_what_python_says(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert parse_time(moment.isoformat(), "it") == moment.astimezone(UTC)


@given(st.binary() | JSON.map(made.compact) | st.dictionaries(
    st.sampled_from(["layers", "subject", "config", "artifactType"]), JSON
).map(made.compact))  # fmt: skip
def test_no_manifest_makes_the_reader_raise(content: bytes) -> None:
    manifest = Manifest("application/vnd.oci.image.manifest.v1+json", BLOB, content)
    read_artifact(manifest, Descriptor(manifest.media_type, BLOB, len(content)), made.LIMITS)


SEGMENT = st.sampled_from(["a", "b", "*", "**"])


@given(st.lists(SEGMENT, min_size=1, max_size=7), st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=7))
def test_patterns_match_as_their_definition_says(pattern: list[str], path: list[str]) -> None:
    def matches(globs: Sequence[str], segments: Sequence[str]) -> bool:
        if not globs:
            return not segments
        if globs[0] == "**":
            return any(matches(globs[1:], segments[at:]) for at in range(len(segments) + 1))
        return bool(segments) and globs[0] in {"*", segments[0]} and matches(globs[1:], segments[1:])

    parsed = parse_pattern("/".join(["r.test", *pattern]))
    assert parsed.matches(Repository("r.test", "/".join(path))) is matches(pattern, path)
