"""Properties of what reads signatures of Notation: whatever comes in, it is proven or refused."""

import base64
import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portcullis.errors import ConfigError
from portcullis.evidence.countersignature import in_order, verify_token
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.x509names import has_all, parse_identity
from portcullis.limits import DEFAULT_LIMITS
from vectors.notation import (
    JOSE,
    NOW,
    ROOT,
    STAMPS,
    STAMPS_ROOT,
    SUBJECT,
    b64url,
    configured,
    document,
    dump,
    name,
    stamped,
)

VERIFIER = NotationVerifier(signers=[configured(ROOT.pem, timestamp_pem=STAMPS_ROOT.pem)], limits=DEFAULT_LIMITS)
GOOD = document(stamp=stamped())
TOKEN = stamped()(b"signature")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
PATHS = [(key,) for key in GOOD] + [("header", key) for key in GOOD["header"]]


def proven(content: bytes) -> bool:
    try:
        return bool(VERIFIER.prove(content, JOSE, SUBJECT, NOW).signers)
    except EvidenceError:
        return False


def test_the_one_that_the_others_are_made_from_is_good() -> None:
    assert proven(dump(GOOD))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(content: bytes) -> None:
    assert not proven(content)


@given(st.sampled_from(PATHS), JSON)
def test_any_value_in_the_place_of_another_is_refused(path: tuple[str, ...], value: Any) -> None:
    content = json.loads(dump(GOOD))
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not proven(json.dumps(content).encode()) or path[-1] == "io.cncf.notary.signingAgent"


@given(st.dictionaries(st.sampled_from(["alg", "crit", "cty", "x"]), JSON))
def test_any_signed_header_of_another_is_refused(header: dict[str, Any]) -> None:
    assert not proven(dump({**GOOD, "protected": b64url(json.dumps(header).encode())}))


@given(st.data())
def test_a_changed_byte_of_a_certificate_is_refused(data: st.DataObject) -> None:
    """All of a certificate is signed by the next one, and the last is the operator's, byte for byte."""
    der = bytearray(base64.b64decode(GOOD["header"]["x5c"][0]))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    header = {**GOOD["header"], "x5c": [base64.b64encode(der).decode(), *GOOD["header"]["x5c"][1:]]}
    assert not proven(dump({**GOOD, "header": header}))


@given(st.data())
def test_a_changed_token_proves_the_same_time_or_none(data: st.DataObject) -> None:
    """What is not signed in it (versions, the list of certificates) may change; the time may not."""
    token = bytearray(TOKEN)
    token[data.draw(st.integers(0, len(token) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = verify_token(bytes(token), b"signature", [STAMPS_ROOT.certificate], DEFAULT_LIMITS)
    except EvidenceError:
        return
    assert found == verify_token(TOKEN, b"signature", [STAMPS_ROOT.certificate], DEFAULT_LIMITS)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_token(token: bytes) -> None:
    try:
        verify_token(token, b"signature", [STAMPS.certificate], DEFAULT_LIMITS)
    except EvidenceError:
        return
    raise AssertionError("proven")


def test_putting_a_token_in_order_twice_changes_nothing() -> None:
    assert in_order(in_order(TOKEN)) == in_order(TOKEN)


VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30)


@given(VALUES, VALUES)
def test_an_escaped_identity_is_that_of_its_subject_and_of_no_other(organisation: str, other: str) -> None:
    escaped = "".join(f"\\{one}" if one in ' ,;\\+"<>#=' else one for one in organisation)
    wanted = parse_identity(f"x509.subject: C=US, ST=WA, O={escaped}")
    assert has_all(name("B", O=organisation), wanted)
    assert has_all(name("B", O=other), wanted) == (other == organisation)


@given(st.text(max_size=60))
def test_any_text_is_an_identity_or_an_error_of_the_configuration(text: str) -> None:
    with suppress(ConfigError):
        assert len(parse_identity(f"x509.subject:{text}")) >= 3
