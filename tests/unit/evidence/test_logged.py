"""Log entries of signatures with keys: which prove when a key signed, and which prove nothing of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portcullis.evidence.bundle import parse_bundle
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.keys import TrustedKey, load_trusted
from portcullis.evidence.material import Material
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import RootSource, RsaPadding, SignerKey
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.image import Digest
from vectors import sigstore as made
from vectors.attestations import BUNDLE, compact, statement
from vectors.keys import WAYS, Way
from vectors.sigstore import AT

Document = dict[str, Any]
Entries = Callable[[made.Made], Sequence[Document]]
Stamps = Callable[[bytes], Sequence[bytes]]

PAYLOAD = compact(statement())
OTHER_PAYLOAD = compact(statement(name="registry.example/acme/other"))
PAE = made.pre_authenticated(PAYLOAD)
MESSAGE = b"a manifest"
MESSAGE_DIGEST = Digest("sha256:" + sha256(MESSAGE).hexdigest())
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NO_LOGS = RootSource("theirs", compact(made.trusted_root(tlogs=[], ctlogs=[])))

KEY = ec.generate_private_key(ec.SECP256R1())
STRANGE = ec.generate_private_key(ec.SECP256R1())


def pem(key: made.Private) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def trusted(key: made.Private = KEY, root: str = "ours", padding: RsaPadding = RsaPadding.PKCS1V15) -> TrustedKey:
    return load_trusted(SignerKey("ci", pem(key), padding, log_root=root))


def prove(material: Material, key: TrustedKey | None = None, signed: bytes | Digest = PAE) -> datetime:
    verifier = KeylessVerifier(signers=[], roots=[made.root(), NO_LOGS], limits=DEFAULT_LIMITS, now=lambda: NOW)
    return verifier.prove_logged(material, key or trusted(), signed)


def one_entry(body: Callable[[made.Made], bytes] = made.dsse, **changes: Any) -> Entries:
    return lambda one: [made.entry(body(replace(one, **changes)))]


def second_log(**changes: Any) -> Entries:
    return lambda one: [made.entry2(made.hashedrekord2(replace(one, **changes)))]


def no_stamps(signature: bytes) -> Sequence[bytes]:
    return ()


def stamped(signature: bytes) -> Sequence[bytes]:
    return [made.stamp(signature)]


def keyed(
    entries: Entries | None = None,
    stamps: Stamps = no_stamps,
    *,
    key: made.Private = KEY,
    sign: Callable[[bytes], bytes] | None = None,
) -> Material:
    """A bundle of a key, as cosign writes it."""
    signature = sign(PAE) if sign else made.sign(key, PAE)
    one = made.Made(PAE, signature, PAYLOAD, pem(key), made.der(key.public_key()), is_certificate=False)
    material: Document = {
        "publicKey": {"hint": "x"},
        "tlogEntries": list((entries or one_entry())(one)),
        "timestampVerificationData": {
            "rfc3161Timestamps": [{"signedTimestamp": made.b64(stamp)} for stamp in stamps(signature)]
        },
    }
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": material,
        "dsseEnvelope": made.envelope(PAYLOAD, signature),
    }
    return parse_bundle(compact(document), DEFAULT_LIMITS)


@pytest.mark.parametrize("body", [made.dsse, made.intoto, made.hashedrekord])
def test_each_kind_of_entry(body: Callable[[made.Made], bytes]) -> None:
    assert prove(keyed(one_entry(body))) == AT


def test_a_log_without_a_time_and_a_time_stamp() -> None:
    assert prove(keyed(second_log(), stamped)) == AT


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_signature_is_found_in_the_ways_of_its_key_and_no_others(way: Way) -> None:
    """Its own hash or SHA-256, and the padding that is configured: as where no log is asked for (keys.py)."""
    key = trusted(way.key, padding=way.padding)
    material = keyed(key=way.key, sign=way.sign)
    if way.taken:
        assert prove(material, key) == AT
        return
    with pytest.raises(EvidenceError, match="none of the signatures is one of the key"):
        prove(material, key)


def test_a_message() -> None:
    signature = made.sign(KEY, MESSAGE)
    one = made.Made(MESSAGE, signature, None, pem(KEY), b"", is_certificate=False)
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {}, "tlogEntries": [made.entry(made.hashedrekord(one))]},
        "messageSignature": {"signature": made.b64(signature)},
    }
    material = parse_bundle(compact(document), DEFAULT_LIMITS)
    for signed in (MESSAGE, MESSAGE_DIGEST):
        assert prove(material, signed=signed) == AT
    with pytest.raises(EvidenceError, match="none of the signatures is one of the key"):
        prove(material, signed=b"another")


UNPROVEN: dict[str, tuple[Callable[[], Material], str]] = {
    "no entry": (lambda: keyed(lambda one: []), "no entry of a transparency log"),
    "another signer's": (lambda: keyed(one_entry(verifier=pem(STRANGE))), "of another signer"),
    "a certificate's": (lambda: keyed(one_entry(verifier=made.leaf(KEY).pem)), "of a signer of another kind"),
    "two keys'": (lambda: keyed(one_entry(verifier=pem(KEY) + pem(STRANGE))), "not one PEM"),
    "of another payload": (lambda: keyed(one_entry(payload=OTHER_PAYLOAD)), "other content"),
    "of another signature": (lambda: keyed(one_entry(signature=b"x")), "another signature"),
    "without any time": (lambda: keyed(second_log()), "proves when it was signed"),
    "of another signer in the second log": (lambda: keyed(second_log(raw=b"x"), stamped), "another signer"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "says"), UNPROVEN.values(), ids=UNPROVEN)
def test_entries_that_prove_nothing(make: Callable[[], Material], says: str) -> None:
    with pytest.raises(EvidenceError) as refused:
        prove(make())
    assert says in refused.value.message
    assert refused.value.reason in {"attestation-unlogged", "attestation-invalid"}


@pytest.mark.parametrize("root", ["theirs", "unknown"])
def test_a_root_without_logs(root: str) -> None:
    with pytest.raises(EvidenceError, match="lists no transparency log") as refused:
        prove(keyed(), trusted(root=root))
    assert refused.value.reason == "attestation-unlogged"


def test_another_key() -> None:
    with pytest.raises(EvidenceError, match="none of the signatures is one of the key"):
        prove(keyed(), trusted(STRANGE))


def test_what_nobody_expected_is_a_refusal() -> None:
    with pytest.raises(EvidenceError, match="it cannot be verified: ValueError"):
        prove(keyed(), signed=Digest("sha256:no-hex"))
