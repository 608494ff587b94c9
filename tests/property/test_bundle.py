"""Bundles from anybody: whatever the bytes, a refusal in one class; and no changed byte that still counts."""

import functools
import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.changes import replace_anywhere
from portcullis.errors import ConfigError
from portcullis.evidence.bundle import parse_bundle
from portcullis.evidence.certificates import identity_of, load_certificate
from portcullis.evidence.dsse import pae
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.material import Proven
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.roots import load_root
from portcullis.evidence.signers import RootSource
from portcullis.evidence.timestamps import proven_times
from portcullis.limits import DEFAULT_LIMITS
from vectors import sigstore as made
from vectors.attestations import compact, statement

PAYLOAD = compact(statement())
GOOD = made.keyless_bundle(PAYLOAD)
STAMPED = compact(
    made.bundle(
        PAYLOAD,
        entries=lambda one: [made.entry2(made.hashedrekord2(one))],
        stamps=lambda signature: [made.stamp(signature)],
    )
)
ROOT = made.root().content or b""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@functools.cache
def verifier() -> KeylessVerifier:
    return KeylessVerifier(signers=[made.SIGNER], roots=[made.root()], limits=DEFAULT_LIMITS)


def prove(content: bytes) -> Proven | None:
    """None for a refusal; whatever else is raised fails the test."""
    try:
        material = parse_bundle(content, DEFAULT_LIMITS)
        if material.envelope is None:
            return verifier().prove(material, b"")
        return verifier().prove(material, pae(material.envelope.payload_type, material.envelope.payload))
    except EvidenceError:
        return None


def payload(content: bytes) -> Any:
    return json.loads(content)["dsseEnvelope"]["payload"]


@given(st.binary() | JSON.map(compact))
def test_no_bytes_are_believed(content: bytes) -> None:
    assert prove(content) is None


@given(st.data())
def test_no_part_of_a_bundle_makes_anything_else_than_a_refusal(data: st.DataObject) -> None:
    """A good bundle of which one value, anywhere, was replaced by any JSON."""
    document = json.loads(data.draw(st.sampled_from([GOOD, STAMPED])))
    replace_anywhere(data, document, JSON)
    if prove(compact(document)) is not None:
        assert payload(compact(document)) == payload(GOOD)


@settings(max_examples=300)
@given(st.sampled_from([GOOD, STAMPED]), st.data())
def test_a_changed_byte_is_refused_or_changes_nothing_that_is_signed(content: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(content) - 1))
    changed = content[:position] + bytes([data.draw(st.integers(0, 255))]) + content[position + 1 :]
    proven = prove(changed)
    if proven is not None:
        assert payload(changed) == payload(GOOD)
        assert proven.signed_at == made.AT


LEAF = made.leaf().der


@settings(max_examples=200)
@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_changed_certificate_is_read_or_refused(position: int, byte: int) -> None:
    with suppress(EvidenceError):
        identity_of(load_certificate(LEAF[:position] + bytes([byte]) + LEAF[position + 1 :]))


STAMP = made.stamp(b"x")
STAMPERS = load_root(made.root(), DEFAULT_LIMITS).stampers


@settings(max_examples=200)
@given(st.integers(0, len(STAMP) - 1), st.integers(0, 255))
def test_a_changed_time_stamp_gives_no_other_time(position: int, byte: int) -> None:
    changed = STAMP[:position] + bytes([byte]) + STAMP[position + 1 :]
    with suppress(EvidenceError):
        assert proven_times([changed], b"x", STAMPERS) in {(), (made.AT,)}


@given(st.binary() | JSON.map(compact))
def test_no_bytes_are_a_root(content: bytes) -> None:
    try:
        load_root(RootSource("any", content), DEFAULT_LIMITS)
    except ConfigError:
        return
    raise AssertionError("it was read")


@given(st.sampled_from(sorted(made.trusted_root())), JSON)
def test_no_part_of_a_root_makes_anything_else_than_a_refusal(key: str, value: Any) -> None:
    with suppress(ConfigError):
        load_root(made.source(**{key: value}), DEFAULT_LIMITS)
