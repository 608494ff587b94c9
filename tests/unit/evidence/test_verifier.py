"""Who signed: keys of each kind, certificates, logs, Notation, and how they meet. What is malformed is tested by the
suite of the port (tests/contract/test_verifier.py)."""

import base64
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portcullis.errors import ConfigError
from portcullis.evidence.attest import attest, sign_envelope
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.keys import PrivateKey, TrustedKey, sign_with
from portcullis.evidence.material import Material, Proven
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.signed import Signed
from portcullis.evidence.signers import RsaPadding, SignerKey
from portcullis.evidence.trust import Trust
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Carrier, CarrierKind, Rejected, Signer, Verified
from portcullis.model.image import Digest
from vectors import legacy as old
from vectors import notation
from vectors import sigstore as made
from vectors.attestations import BUNDLE, CI, DSSE, IN_TOTO, OTHER, SUBJECT, VULN, bundle, compact, hint, statement
from vectors.keys import ED25519, KINDS, P256, P384, RSA

pytestmark = pytest.mark.anyio

PAYLOAD = compact(statement())
OTHER_PAYLOAD = compact(statement(name="another"))
BY_CERTIFICATE = Signer("ci", "keyless", made.ISSUER, made.IDENTITY)
NONE: Mapping[str, str] = {}


@functools.cache
def keyless() -> KeylessVerifier:
    return KeylessVerifier(signers=[made.SIGNER], roots=[made.root()], limits=DEFAULT_LIMITS)


def public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def trust(**keys: PrivateKey | SignerKey) -> Trust:
    """Signers by name; who may speak of what is not the verifier's business."""
    signers = [key if isinstance(key, SignerKey) else SignerKey(name, public(key)) for name, key in keys.items()]
    return Trust(signers=signers, rules=[])


def logged_key(name: str, key: PrivateKey = CI) -> SignerKey:
    return SignerKey(name, public(key), log_root="ours")


async def judge(
    content: bytes,
    media_type: str = DSSE,
    annotations: Mapping[str, str] = NONE,
    *,
    subject: Digest = SUBJECT,
    keys: Trust | None = None,
    **verifiers: Any,
) -> Verified | Rejected:
    verifier = AttestationVerifier(trust=keys or trust(), limits=DEFAULT_LIMITS, **verifiers)
    carrier = Carrier(CarrierKind.REFERRER, media_type, OTHER, subject, content, annotations)
    return await verifier.verify(carrier, subject)


async def verified(
    content: bytes, media_type: str = DSSE, annotations: Mapping[str, str] = NONE, **how: Any
) -> Verified:
    verdict = await judge(content, media_type, annotations, **how)
    assert isinstance(verdict, Verified), verdict
    return verdict


async def refused(
    content: bytes, media_type: str = DSSE, annotations: Mapping[str, str] = NONE, **how: Any
) -> Rejected:
    verdict = await judge(content, media_type, annotations, **how)
    assert isinstance(verdict, Rejected), verdict
    return verdict


# -- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KINDS.values(), ids=KINDS)
async def test_a_key_of_each_kind(key: PrivateKey) -> None:
    content = attest(predicate={"a": [1]}, predicate_type="vuln", subject=SUBJECT, name="x", key=key)
    verdict = await verified(content, BUNDLE, keys=trust(other=CI, ours=key))
    assert verdict.signers == (Signer("ours", "key"),)
    assert verdict.statement.predicate == b'{"a":[1]}'
    assert (verdict.signed_at, verdict.logged) == (None, False)
    # And not for anybody else.
    others = trust(**{f"k{number}": one for number, one in enumerate(KINDS.values()) if one is not key})
    assert (await refused(content, BUNDLE, keys=others)).reason == "attestation-untrusted"


async def test_rsa_as_it_is_configured() -> None:
    pss = trust(ours=SignerKey("ours", public(RSA), RsaPadding.PSS))
    content = compact(sign_envelope(PAYLOAD, key=RSA, padding=RsaPadding.PSS))
    assert (await verified(content, keys=pss)).signers == (Signer("ours", "key"),)
    assert (await refused(content, keys=trust(ours=RSA))).reason == "attestation-untrusted"


async def test_the_other_signature_of_ecdsa_is_the_same_evidence() -> None:
    """(r, n-s) holds wherever (r, s) does, so the verdict may depend on no byte of it."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    inner = sign_envelope(PAYLOAD, key=P256)
    r, s = decode_dss_signature(base64.b64decode(inner["signatures"][0]["sig"]))
    twin = {**inner, "signatures": [{"sig": made.b64(encode_dss_signature(r, order - s))}]}
    assert twin != inner
    first, second = [await verified(compact(one), keys=trust(ours=P256)) for one in (inner, twin)]
    assert first == second
    assert first.payload == sha256(PAYLOAD).hexdigest()


async def test_all_signers_of_one_envelope_in_the_order_of_the_configuration() -> None:
    signatures = [sign_envelope(PAYLOAD, key=key)["signatures"][0] for key in (ED25519, P384, RSA)]
    content = compact({**sign_envelope(PAYLOAD, key=P256), "signatures": signatures})
    verdict = await verified(content, keys=trust(rsa=RSA, absent=P256, ed=ED25519))
    assert [signer.name for signer in verdict.signers] == ["rsa", "ed"]


async def test_what_takes_too_long_to_try_is_refused() -> None:
    """Ed25519 hashes the whole message for each signature and key: 20 times 9 of 3 MB."""
    twins = {f"k{number}": Ed25519PrivateKey.generate() for number in range(9)}
    inner = sign_envelope(compact(statement(predicate={"x": "y" * 3_000_000})), key=ED25519)
    content = compact({**inner, "signatures": [{"sig": made.b64(bytes([n]) * 64)} for n in range(20)]})
    verdict = await refused(content, keys=trust(**twins))
    assert (verdict.reason, "9 Ed25519 keys" in verdict.message) == ("too-large", True)
    alone = compact({**inner, "signatures": inner["signatures"]})
    assert (await verified(alone, keys=trust(**twins, ours=ED25519))).signers == (Signer("ours", "key"),)


async def test_what_was_signed_has_one_name_wherever_it_lies() -> None:
    both = [compact(sign_envelope(PAYLOAD, key=key)) for key in (P256, P384)]
    names = {(await verified(content, keys=trust(a=P256, b=P384))).payload for content in both}
    assert names == {sha256(PAYLOAD).hexdigest()}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b'"predicate":  {"a": 1} ', b'{"a": 1}'),
        (b'"predicate":\n\t{}', b"{}"),
        (b'"predicate": null ', b"{}"),
        (b'"predicate": "SPDXVersion"', b'"SPDXVersion"'),
        (b'"x":1', b"{}"),
    ],
)
async def test_the_predicate_is_the_text_that_was_signed(written: bytes, read: bytes) -> None:
    payload = compact({k: v for k, v in statement().items() if k != "predicate"})[:-1] + b"," + written + b"}"
    verdict = await verified(compact(sign_envelope(payload, key=P256)), keys=trust(ours=P256))
    assert verdict.statement.predicate == read


# -- certificates ----------------------------------------------------------------------------------------------------


async def test_a_keyless_bundle() -> None:
    verdict = await verified(made.keyless_bundle(PAYLOAD), BUNDLE, keyless=keyless())
    assert verdict.signers == (BY_CERTIFICATE,)
    assert (verdict.signed_at, verdict.logged) == (made.AT, True)
    assert verdict.statement.predicate_type == VULN


async def test_a_keyless_attestation_of_old() -> None:
    verdict = await verified(*_old(old.keyless_attestation(PAYLOAD), DSSE), keyless=keyless())
    assert verdict.signers == (BY_CERTIFICATE,)
    assert (verdict.signed_at, verdict.logged) == (made.AT, True)


async def test_a_keyless_signature_of_old() -> None:
    payload = old.simple_signing()
    verdict = await verified(*_old(old.keyless_signature(payload), old.SIMPLE_SIGNING), keyless=keyless())
    assert verdict.signers == (BY_CERTIFICATE,)
    assert verdict.statement.predicate_type == old.SIMPLE_SIGNING
    assert verdict.statement.predicate == payload
    assert verdict.payload == sha256(payload).hexdigest()


def _old(found: tuple[bytes, Mapping[str, str]], media_type: str) -> tuple[bytes, str, Mapping[str, str]]:
    return found[0], media_type, found[1]


async def test_a_keyless_signature_over_the_manifest_itself() -> None:
    manifest = b'{"schemaVersion":2}'
    subject = Digest(f"sha256:{sha256(manifest).hexdigest()}")
    content = compact(made.message_bundle(manifest))
    verdict = await verified(content, BUNDLE, subject=subject, keyless=keyless())
    assert verdict.signers == (BY_CERTIFICATE,)
    assert verdict.statement.predicate_type == "https://sigstore.dev/cosign/sign/v1"
    assert (await refused(content, BUNDLE, keyless=keyless())).reason == "attestation-subject-mismatch"
    for claimed in (True, False):
        content = compact(made.message_bundle(manifest, claimed=claimed))
        assert (await refused(content, BUNDLE, keyless=keyless())).reason in {
            "attestation-subject-mismatch",
            "attestation-invalid",
        }
    long = Digest("sha512:" + "0" * 128)
    assert (await refused(content, BUNDLE, subject=long, keyless=keyless())).reason == "attestation-unsupported"


@pytest.mark.parametrize("missing", [old.CERTIFICATE, old.BUNDLE, old.CHAIN])
async def test_a_keyless_attestation_that_lacks_something(missing: str) -> None:
    content, annotations = old.keyless_attestation(PAYLOAD)
    left = {name: text for name, text in annotations.items() if name != missing}
    verdict = await judge(content, DSSE, left, keyless=keyless())
    if missing == old.CHAIN:
        # The root has its own intermediate certificates.
        assert isinstance(verdict, Verified)
    else:
        assert isinstance(verdict, Rejected)
        assert verdict.reason in {"attestation-untrusted", "attestation-unlogged"}
        assert verdict.predicate_type == VULN


async def test_annotations_of_another_attestation_prove_nothing() -> None:
    """The certificate and entry of one, the envelope of another."""
    content, _ = old.keyless_attestation(OTHER_PAYLOAD)
    _, annotations = old.keyless_attestation(PAYLOAD)
    verdict = await refused(content, DSSE, annotations, keyless=keyless())
    assert verdict.reason == "attestation-invalid"


async def test_a_certificate_where_no_identity_is_configured() -> None:
    verdict = await refused(made.keyless_bundle(PAYLOAD), BUNDLE, keys=trust(ours=CI))
    assert (verdict.reason, verdict.predicate_type) == ("attestation-untrusted", VULN)
    assert "no signer of that kind" in verdict.message


async def test_a_configured_key_needs_no_certificate_and_is_hindered_by_none() -> None:
    """Anybody can write annotations beside an envelope; they must not make a good one bad."""
    annotations = old.annotations(made.leaf(above=made.STRANGER), None)
    content = compact(sign_envelope(PAYLOAD, key=CI))
    assert (await verified(content, DSSE, annotations, keys=trust(ours=CI), keyless=keyless())).signers == (
        Signer("ours", "key"),
    )


async def test_a_statement_of_another_image_by_a_good_certificate() -> None:
    verdict = await refused(made.keyless_bundle(PAYLOAD), BUNDLE, subject=OTHER, keyless=keyless())
    assert (verdict.reason, verdict.signer) == ("attestation-subject-mismatch", BY_CERTIFICATE)


# -- keys and logs ---------------------------------------------------------------------------------------------------


def entry_of(payload: bytes, key: PrivateKey, signature: bytes) -> made.Made:
    signed = made.pre_authenticated(payload)
    return made.Made(signed, signature, payload, public(key), made.der(key.public_key()), is_certificate=False)


def logged_bundle(payload: bytes, key: PrivateKey, entry: bytes | None = None) -> bytes:
    """A bundle as cosign makes it with a key and the log."""
    inner = sign_envelope(payload, key=key)
    signature = base64.b64decode(inner["signatures"][0]["sig"])
    body = made.dsse(entry_of(payload, key, signature)) if entry is None else entry
    return compact(bundle(inner, publicKey={"hint": hint(CI)}, tlogEntries=[made.entry(body)]))


async def test_a_key_with_a_log() -> None:
    verdict = await verified(logged_bundle(PAYLOAD, CI), BUNDLE, keys=trust(ci=logged_key("ci")), keyless=keyless())
    assert verdict.signers == (Signer("ci", "key"),)
    assert (verdict.signed_at, verdict.logged) == (made.AT, True)


async def test_a_key_with_a_log_in_annotations() -> None:
    inner = sign_envelope(PAYLOAD, key=CI)
    one = entry_of(PAYLOAD, CI, base64.b64decode(inner["signatures"][0]["sig"]))
    annotations = old.annotations(None, made.dsse(one))
    verdict = await verified(compact(inner), DSSE, annotations, keys=trust(ci=logged_key("ci")), keyless=keyless())
    assert (verdict.signed_at, verdict.logged) == (made.AT, True)


async def test_a_key_that_needs_a_log_and_has_no_entry() -> None:
    content = compact(sign_envelope(PAYLOAD, key=CI))
    verdict = await refused(content, keys=trust(ci=logged_key("ci")), keyless=keyless())
    assert (verdict.reason, verdict.signer) == ("attestation-unlogged", Signer("ci", "key"))


async def test_an_entry_of_another_signature_of_the_same_key() -> None:
    """The payload's hash alone is not enough: step (6) asks for an entry of this very signature."""
    again = entry_of(PAYLOAD, CI, sign_with(CI, Signed(made.pre_authenticated(PAYLOAD))))
    content = logged_bundle(PAYLOAD, CI, made.dsse(again))
    verdict = await refused(content, BUNDLE, keys=trust(ci=logged_key("ci")), keyless=keyless())
    assert verdict.reason == "attestation-unlogged"


async def test_of_two_signers_one_may_lack_the_log() -> None:
    inner = sign_envelope(PAYLOAD, key=CI)
    more = sign_envelope(PAYLOAD, key=P384)["signatures"]
    content = compact({**inner, "signatures": [*inner["signatures"], *more]})
    verdict = await verified(content, keys=trust(ci=logged_key("ci"), other=P384), keyless=keyless())
    assert verdict.signers == (Signer("other", "key"),)
    assert (verdict.signed_at, verdict.logged) == (None, False)


async def test_a_key_without_a_log_passes_over_entries() -> None:
    verdict = await verified(logged_bundle(PAYLOAD, CI), BUNDLE, keys=trust(ci=CI), keyless=keyless())
    assert (verdict.signed_at, verdict.logged) == (None, False)


def test_a_key_with_a_log_needs_who_reads_logs() -> None:
    with pytest.raises(ConfigError, match='signer "ci" names the trusted root "ours"'):
        AttestationVerifier(trust=trust(ci=logged_key("ci")), limits=DEFAULT_LIMITS)


# -- signatures of images --------------------------------------------------------------------------------------------


async def test_a_signature_of_an_image_with_a_key() -> None:
    payload = old.simple_signing()
    annotations = {old.SIGNATURE: made.b64(sign_with(CI, Signed(payload)))}
    verdict = await verified(payload, old.SIMPLE_SIGNING, annotations, keys=trust(ci=CI))
    assert verdict.signers == (Signer("ci", "key"),)
    assert verdict.statement.predicate_type == old.SIMPLE_SIGNING


@pytest.mark.parametrize(
    ("payload", "signed", "reason"),
    [
        (old.simple_signing(OTHER), old.simple_signing(OTHER), "attestation-subject-mismatch"),
        (old.simple_signing(), old.simple_signing(OTHER), "attestation-untrusted"),
        (old.simple_signing(kind="other"), old.simple_signing(kind="other"), "attestation-invalid"),
        (PAYLOAD, PAYLOAD, "attestation-invalid"),
        (old.simple_signing(), made.pre_authenticated(old.simple_signing()), "attestation-untrusted"),
    ],
)
async def test_signatures_of_images_that_prove_nothing(payload: bytes, signed: bytes, reason: str) -> None:
    annotations = {old.SIGNATURE: made.b64(sign_with(CI, Signed(signed)))}
    verdict = await refused(payload, old.SIMPLE_SIGNING, annotations, keys=trust(ci=CI))
    assert (verdict.reason, verdict.predicate_type) == (reason, old.SIMPLE_SIGNING)


async def test_a_statement_cannot_pass_for_a_signature_nor_the_other_way() -> None:
    """What is signed for one format is not evidence in another: the media type is not signed."""
    annotations = {old.SIGNATURE: made.b64(sign_with(CI, Signed(PAYLOAD)))}
    inner = {**sign_envelope(PAYLOAD, key=CI), "signatures": [{"sig": annotations[old.SIGNATURE]}]}
    assert (await refused(compact(inner), keys=trust(ci=CI))).reason == "attestation-untrusted"
    assert (await refused(PAYLOAD, IN_TOTO, annotations, keys=trust(ci=CI))).reason == "attestation-unsigned"


# -- Notation --------------------------------------------------------------------------------------------------------


def notation_verifier() -> NotationVerifier:
    return NotationVerifier(signers=[notation.configured()], limits=DEFAULT_LIMITS)


async def test_a_signature_of_notation() -> None:
    verdict = await verified(
        notation.envelope(),
        "application/jose+json",
        subject=Digest(notation.SUBJECT),
        notation=notation_verifier(),
        now=lambda: notation.NOW,
    )
    assert [signer.name for signer in verdict.signers] == ["notary"]
    assert verdict.statement.predicate_type == "application/vnd.cncf.notary.payload.v1+json"
    assert notation.SUBJECT.encode() in verdict.statement.predicate
    assert verdict.payload == sha256(verdict.statement.predicate).hexdigest()


async def test_a_signature_of_notation_for_another_image_and_in_cose() -> None:
    how: dict[str, Any] = {"notation": notation_verifier(), "now": lambda: notation.NOW}
    wrong = await refused(notation.envelope(), "application/jose+json", subject=OTHER, **how)
    assert (wrong.reason, wrong.predicate_type) == (
        "attestation-subject-mismatch",
        "application/vnd.cncf.notary.payload.v1+json",
    )
    cose = await refused(b"\xd2\x84", "application/cose", subject=OTHER, **how)
    assert (cose.reason, "COSE" in cose.message) == ("attestation-unsupported", True)


# -- faults ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Broken:
    """A verifier of certificates with a fault in it."""

    error: Exception

    def prove(self, material: Material, signed: Signed) -> Proven:
        raise self.error

    def prove_logged(self, material: Material, key: TrustedKey, signed: Signed) -> datetime:
        raise self.error


@pytest.mark.parametrize("error", [TypeError("x"), RecursionError(), MemoryError(), ZeroDivisionError()])
async def test_a_fault_is_no_way_past(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        verdict = await refused(made.keyless_bundle(PAYLOAD), BUNDLE, keyless=Broken(error))
    assert verdict.reason == "attestation-invalid"
    assert "could not be judged" in caplog.text
    logged = await refused(
        compact(sign_envelope(PAYLOAD, key=CI)), keys=trust(ci=logged_key("ci")), keyless=Broken(error)
    )
    assert logged.reason == "attestation-invalid"


async def test_the_time_is_asked_when_it_is_needed() -> None:
    late = datetime(2090, 1, 1, tzinfo=UTC)
    verdict = await refused(
        notation.envelope(),
        "application/jose+json",
        subject=Digest(notation.SUBJECT),
        notation=notation_verifier(),
        now=lambda: late,
    )
    assert verdict.reason == "attestation-expired"
