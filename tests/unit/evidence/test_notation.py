"""Signatures of Notation: what is proven, and each step of the proof broken."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as Use

from portcullis.errors import ConfigError
from portcullis.evidence.jws import parse_jws
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.refusal import EvidenceError
from portcullis.evidence.signers import NotationSigner
from portcullis.limits import DEFAULT_LIMITS
from portcullis.model.evidence import Signer
from vectors.extensions import usage
from vectors.notation import (
    AUTHENTIC_TIME,
    AUTHORITY,
    BEGIN,
    END,
    EXPIRY,
    JOSE,
    MIDDLE,
    NOW,
    OTHER,
    PAYLOAD,
    PLUGIN,
    ROOT,
    SCHEME,
    SELF,
    SIGNER,
    SIGNING_TIME,
    STAMPS_ROOT,
    STRANGER,
    SUBJECT,
    TIMESTAMP,
    Holder,
    authority_header,
    b64url,
    changed,
    configured,
    constraints,
    document,
    dump,
    envelope,
    extended,
    holder,
    of_algorithm,
    payload,
    protected,
    sign,
    stamped,
)

DAY = timedelta(days=1)
INVALID, UNSUPPORTED, UNTRUSTED = "attestation-invalid", "attestation-unsupported", "attestation-untrusted"
EXPIRED, UNLOGGED, MISMATCH = "attestation-expired", "attestation-unlogged", "attestation-subject-mismatch"


def prove(content: bytes, *signers: NotationSigner, media_type: str = JOSE, **others: Any) -> Any:
    verifier = NotationVerifier(signers=signers or [configured()], limits=others.pop("limits", DEFAULT_LIMITS))
    return verifier.prove(content, media_type, others.pop("subject", SUBJECT), others.pop("now", NOW))


def refused(content: bytes, *signers: NotationSigner, **others: Any) -> tuple[str, str]:
    with pytest.raises(EvidenceError) as caught:
        prove(content, *signers, **others)
    return caught.value.reason, caught.value.message


# -- what holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"])
def test_each_algorithm(algorithm: str) -> None:
    proven = prove(envelope(of_algorithm(algorithm), header=protected(alg=algorithm)))
    assert proven.signers == (
        Signer(
            "notary",
            kind="notation",
            issuer="CN=Root,O=acme,L=Seattle,ST=WA,C=US",
            identity="CN=Builder,O=acme,L=Seattle,ST=WA,C=US",
        ),
    )
    assert (proven.signed_at, proven.logged) == (None, False)


@pytest.mark.parametrize(
    ("signer", "store"),
    [
        pytest.param(SIGNER, ROOT, id="root"),
        pytest.param(SIGNER, MIDDLE, id="an authority between"),
        pytest.param(SIGNER, SIGNER, id="leaf"),
        pytest.param(SELF, SELF, id="its own issuer"),
        pytest.param(holder("B", MIDDLE, change={x509.ExtendedKeyUsage: extended(Use.CODE_SIGNING)}), ROOT, id="code"),
        pytest.param(holder("B", MIDDLE, change={x509.BasicConstraints: None}), ROOT, id="no constraints"),
        pytest.param(
            holder("B", ROOT, change={x509.KeyUsage: usage("digital_signature", "content_commitment")}),
            ROOT,
            id="usage",
        ),
        pytest.param(
            holder("B", holder("M", ROOT, AUTHORITY, change={x509.BasicConstraints: constraints(True, 0)})),
            ROOT,
            id="length that is enough",
        ),
    ],
)
def test_each_anchor(signer: Holder, store: Holder) -> None:
    assert [one.name for one in prove(envelope(signer), configured(store.pem)).signers] == ["notary"]


def test_every_signer_whose_store_and_identity_fit() -> None:
    acme = "x509.subject: C=US, ST=WA, O=acme"
    signers = [
        configured(STRANGER.chain[-1].public_bytes(Encoding.PEM), "stranger"),
        configured(STRANGER.chain[-1].public_bytes(Encoding.PEM) + ROOT.pem, "both"),
        configured(name="acme", identities=(acme,)),
        configured(name="other", identities=("x509.subject: C=US, ST=WA, O=other",)),
        configured(name="either", identities=("x509.subject: C=US, ST=WA, O=other", f"{acme}, CN=Builder, L=Seattle")),
    ]
    assert [one.name for one in prove(envelope(), *signers).signers] == ["both", "acme", "either"]


def test_an_end_that_is_yet_to_come_and_headers_that_need_not_be_understood() -> None:
    header = protected(crit=[SCHEME, EXPIRY], **{EXPIRY: "2026-03-01T12:00:01Z"}, note={"deep": [1]})
    assert prove(envelope(header=header)).signers


def test_annotations_of_the_descriptor_are_no_matter() -> None:
    signed = payload(annotations={"buildId": "1"}, artifactType="x/y")
    content = envelope(signed=signed)
    assert prove(content).signers
    assert parse_jws(content, DEFAULT_LIMITS).payload == signed


# -- (1) one reading -------------------------------------------------------------------------------------------------


def _twice(key: str) -> bytes:
    return envelope().replace(b'{"payload"', f'{{"{key}":"e30","payload"'.encode(), 1)


def _with(**members: Any) -> bytes:
    return dump({**document(), **members})


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", INVALID, "not JSON"),
        (b"[]", INVALID, "an array"),
        (b"\xff\x84", INVALID, "not UTF-8"),
        (envelope().decode().encode("utf-16"), INVALID, "not UTF-8"),
        (b'{"payload":' + b"[" * 100_000, "too-large", "nested"),
        (_twice("payload"), INVALID, '"payload" stands twice'),
        (_with(signatures=[]), INVALID, '"signatures"'),
        (_with(payload=None), INVALID, "payload is missing or null"),
        (_with(protected={}), INVALID, "protected header is an object"),
        (_with(header=[]), INVALID, "header is an array"),
        (_with(signature=1), INVALID, "a number"),
        (_with(payload=document()["payload"] + "="), INVALID, "canonical base64url"),
        (_with(payload=document()["payload"] + "\n"), INVALID, "base64url"),
        (_with(payload="e3+/"), INVALID, "base64url"),
        (_with(payload="e31"), INVALID, "canonical base64url"),
        (_with(payload="é"), INVALID, "base64url"),
        (_with(protected="e30.e30"), INVALID, "base64url"),
        (envelope(header=b'{"alg":"ES256","alg":"ES256"}'), INVALID, '"alg" stands twice'),
        (envelope(header=b'{"alg":NaN}'), INVALID, "NaN"),
        (envelope(header=b'{"a":' + b"[" * 100_000), "too-large", "nested"),
        (envelope(beside={"alg": "ES256"}), INVALID, '"alg" stands among the signed and the unsigned'),
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all(content: bytes, reason: str, words: str) -> None:
    said = refused(content)
    assert said[0] == reason
    assert words in said[1]


# -- (2) the signed header -------------------------------------------------------------------------------------------

NAMED = "2026-02-27T10:00:00Z"


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"alg": None}, INVALID, "alg is missing"),
        ({"alg": "none"}, INVALID, '"none", none of ES256'),
        ({"alg": "HS256"}, INVALID, '"HS256", none of'),
        ({"alg": "RS256"}, INVALID, '"RS256", none of'),
        ({"alg": "ES256K"}, INVALID, '"ES256K", none of'),
        ({"alg": "es256"}, INVALID, '"es256", none of'),
        ({"cty": None}, INVALID, "cty is missing"),
        ({"cty": PAYLOAD.upper()}, INVALID, "not application/vnd.cncf"),
        ({"cty": "application/vnd.in-toto+json"}, INVALID, "application/vnd.in-toto+json"),
        ({"crit": None}, INVALID, "crit is missing"),
        ({"crit": []}, INVALID, f"lacks {SCHEME}"),
        ({"crit": [SCHEME, SCHEME]}, INVALID, "twice"),
        ({"crit": [SCHEME, 1]}, INVALID, "a number"),
        ({"crit": [SCHEME, "exp"]}, INVALID, '"exp", which is not there'),
        ({"crit": [SCHEME, "exp"], "exp": 1}, UNSUPPORTED, '"exp" is understood'),
        ({"crit": [SCHEME, "alg"]}, UNSUPPORTED, '"alg" is understood'),
        ({"crit": [SCHEME, "b64"], "b64": False}, UNSUPPORTED, '"b64" is understood'),
        ({"crit": [SCHEME, PLUGIN], PLUGIN: "com.example.signer"}, UNSUPPORTED, '"com.example.signer"'),
        ({PLUGIN: "com.example.signer"}, UNSUPPORTED, '"com.example.signer"'),
        ({f"{PLUGIN}MinVersion": "1.0.0"}, UNSUPPORTED, "MinVersion"),
        ({SCHEME: None, "crit": []}, INVALID, f"{SCHEME} is missing"),
        ({SCHEME: "notary.pgp"}, UNSUPPORTED, '"notary.pgp"'),
        ({SIGNING_TIME: None}, INVALID, f"{SIGNING_TIME} is missing"),
        ({SIGNING_TIME: "yesterday"}, INVALID, '"yesterday"'),
        ({AUTHENTIC_TIME: NAMED}, INVALID, "does not go with"),
        ({EXPIRY: "2026-04-01T00:00:00Z"}, INVALID, f"lacks {EXPIRY}"),
        ({EXPIRY: "", "crit": [SCHEME, EXPIRY]}, INVALID, "no RFC 3339 time"),
        ({EXPIRY: "0001-01-01T00:00:00Z", "crit": [SCHEME, EXPIRY]}, INVALID, "no RFC 3339 time"),
    ],
)
def test_a_header_that_is_not_right(change: dict[str, Any], reason: str, words: str) -> None:
    said = refused(envelope(header=changed(protected(), change)))
    assert said[0] == reason
    assert words in said[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crit": [SCHEME]}, f"lacks {AUTHENTIC_TIME}"),
        ({SIGNING_TIME: NAMED}, "does not go with"),
        ({AUTHENTIC_TIME: None, "crit": [SCHEME]}, f"{AUTHENTIC_TIME} is missing"),
        ({AUTHENTIC_TIME: "2026-02-30T00:00:00Z"}, "no RFC 3339 time"),
    ],
)
def test_a_header_of_a_signing_authority_that_is_not_right(change: dict[str, Any], words: str) -> None:
    header = changed(authority_header(), change)
    said = refused(envelope(header=header), configured(signing_authority=True))
    assert said[0] == INVALID
    assert words in said[1]


# -- (3) certificates, bounded ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ({"x5c": None}, "x5c is missing"),
        ({"x5c": []}, "no certificate"),
        ({"x5c": "MII"}, "a string"),
        ({"x5c": [1]}, "a number"),
        ({"x5c": ["M-I_"]}, "standard base64"),
        ({TIMESTAMP: ""}, "empty"),
        ({TIMESTAMP: None}, "missing or null"),
        ({TIMESTAMP: ["x"]}, "an array"),
    ],
)
def test_what_stands_beside_the_signature(beside: dict[str, Any], words: str) -> None:
    said = refused(envelope(beside=beside))
    assert said[0] == INVALID
    assert words in said[1]


def test_what_follows_a_certificate_makes_it_another_one() -> None:
    der = SIGNER.certificate.public_bytes(Encoding.DER)
    others = document()["header"]["x5c"][1:]
    longer = [base64.b64encode(der + b"\x00").decode(), *others]
    assert refused(envelope(beside={"x5c": longer})) == (INVALID, "the signing certificate cannot be read")


_DER = SIGNER.certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(_DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1), id="version 6"),
        pytest.param(_DER.replace(b"\x0c\x04acme", b"\x01\x04acme"), id="a name of another type"),
        pytest.param(_DER.replace(b"\x13\x02US", b"\x13\x02U\xff"), id="a name in another alphabet"),
        pytest.param(_DER.replace(b"\x06\x03\x55\x1d\x13", b"\x06\x03\x55\x1d\x0f"), id="one extension twice"),
        pytest.param(_DER[:-1], id="cut off"),
    ],
)
def test_a_certificate_that_cannot_be_read(der: bytes) -> None:
    """cryptography raises something else for each of them, and for some only when they are looked into."""
    assert der != _DER
    others = document()["header"]["x5c"][1:]
    said = refused(envelope(beside={"x5c": [base64.b64encode(der).decode(), *others]}))
    assert said[0] == INVALID
    assert said[1] in {
        "the signing certificate cannot be read",
        "the signing certificate is not issued by the next one",
    }


def test_a_certificate_whose_signature_is_written_in_another_way() -> None:
    """The count of unused bits is outside of what is signed, and may be one where the last bit is zero."""
    signer = SIGNER
    while signer.certificate.signature[-1] & 1:
        signer = holder("Builder", MIDDLE)
    der = signer.certificate.public_bytes(Encoding.DER)
    place = len(der) - len(signer.certificate.signature) - 1
    other = der[:place] + b"\x01" + der[place + 1 :]
    assert x509.load_der_x509_certificate(other).signature == signer.certificate.signature
    content = document(signer)
    content["header"]["x5c"][0] = base64.b64encode(other).decode()
    assert refused(dump(content)) == (INVALID, "the signing certificate cannot be read")


@pytest.mark.parametrize(
    ("limits", "content", "words"),
    [
        (replace(DEFAULT_LIMITS, attestation_bytes=1000), envelope(), "limit attestationBytes is 1000"),
        (DEFAULT_LIMITS, envelope(beside={"x5c": ["AA=="] * 11}), "limit certificates is 10"),
        (DEFAULT_LIMITS, envelope(beside={"x5c": ["A" * 4 * 30_000]}), "limit certificateBytes is 65536"),
        (DEFAULT_LIMITS, envelope(beside={TIMESTAMP: "A" * 4 * 30_000}), "limit certificateBytes is 65536"),
        (replace(DEFAULT_LIMITS, json_depth=1), envelope(), "limit jsonDepth of 1"),
        (replace(DEFAULT_LIMITS, json_values=5), envelope(), "limit jsonValues (5)"),
    ],
)
def test_over_a_limit(limits: Any, content: bytes, words: str) -> None:
    said = refused(content, limits=limits)
    assert said[0] == "too-large"
    assert words in said[1]


# -- (4) the trust store ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(STRANGER, id="authority of the same name"),
        pytest.param(SELF, id="its own authority"),
    ],
)
def test_a_chain_that_leads_elsewhere(signer: Holder) -> None:
    said = refused(envelope(signer))
    assert said == (UNTRUSTED, "its certificates lead to no configured signer's trust store")


def test_no_signer_at_all() -> None:
    verifier = NotationVerifier(signers=[], limits=DEFAULT_LIMITS)
    with pytest.raises(EvidenceError) as caught:
        verifier.prove(envelope(), JOSE, SUBJECT, NOW)
    assert caught.value.reason == UNTRUSTED


# -- (5) the chain ---------------------------------------------------------------------------------------------------


def _under(authority: Holder) -> Holder:
    return holder("Builder", authority)


def _authority(**how: Any) -> Holder:
    return holder("Middle", ROOT, AUTHORITY, **how)


CHAINS: dict[str, tuple[Holder, tuple[x509.Certificate, ...] | None, str]] = {
    "a stranger's leaf, a trusted root behind it": (
        STRANGER,
        (STRANGER.certificate, ROOT.certificate),
        "not issued by",
    ),
    "the root is missing": (SIGNER, SIGNER.chain[:2], "not issued by itself"),
    "one between is missing": (SIGNER, (SIGNER.chain[0], SIGNER.chain[2]), "not issued by the next"),
    "another order": (SIGNER, (SIGNER.chain[0], SIGNER.chain[2], SIGNER.chain[1]), "not issued by the next"),
    "one too many": (SIGNER, (*SIGNER.chain, STRANGER.certificate), "not issued by the next"),
    "the root twice": (SIGNER, (*SIGNER.chain, ROOT.certificate), "twice"),
    "no certificate of authority": (holder("B", _under(MIDDLE)), None, "not one of an authority"),
    "authority that is not marked critical": (
        _under(_authority(change={x509.BasicConstraints: constraints(True, critical=False)})),
        None,
        "not one of an authority",
    ),
    "authority without constraints": (_under(_authority(change={x509.BasicConstraints: None})), None, "not one of an"),
    "path that is too long": (
        _under(
            holder("M", holder("R", ROOT, AUTHORITY, change={x509.BasicConstraints: constraints(True, 0)}), AUTHORITY)
        ),
        None,
        "allows 0 authorities below it, and there are 1",
    ),
    "authority that may not sign certificates": (
        _under(_authority(change={x509.KeyUsage: usage("crl_sign")})),
        None,
        "not for signing certificates",
    ),
    "authority without usage": (_under(_authority(change={x509.KeyUsage: None})), None, "no critical key usage"),
    "authority with a short key": (
        _under(_authority(key=rsa.generate_private_key(65537, 1024))),
        None,
        "too short, or neither RSA nor ECDSA",
    ),
    "authority on Ed25519": (_under(_authority(key=ed25519.Ed25519PrivateKey.generate())), None, "another hash"),
    "a weaker hash": (holder("B", MIDDLE, digest=hashes.SHA224()), None, "another hash"),
    "leaf is an authority": (holder("B", MIDDLE, AUTHORITY), None, "one of an authority"),
    "root alone": (ROOT, None, "one of an authority"),
    "leaf without usage": (holder("B", MIDDLE, change={x509.KeyUsage: None}), None, "no critical key usage"),
    "usage that is not critical": (
        holder("B", MIDDLE, change={x509.KeyUsage: usage("digital_signature", critical=False)}),
        None,
        "no critical key usage",
    ),
    "no digital signature": (
        holder("B", MIDDLE, change={x509.KeyUsage: usage("content_commitment")}),
        None,
        "not for digital signatures",
    ),
    **{
        f"leaf also for {use}": (
            holder("B", MIDDLE, change={x509.KeyUsage: usage("digital_signature", use)}),
            None,
            "for more than digital signatures",
        )
        for use in ("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    },
    **{
        f"leaf also for {use.dotted_string}": (
            holder("B", MIDDLE, change={x509.ExtendedKeyUsage: extended(Use.CODE_SIGNING, use)}),
            None,
            f"for other things than code ({use.dotted_string})",
        )
        for use in (
            Use.ANY_EXTENDED_KEY_USAGE,
            Use.SERVER_AUTH,
            Use.CLIENT_AUTH,
            Use.EMAIL_PROTECTION,
            Use.TIME_STAMPING,
            Use.OCSP_SIGNING,
        )
    },
}


@pytest.mark.parametrize("case", CHAINS.values(), ids=CHAINS)
def test_a_chain_that_is_not_right(case: tuple[Holder, tuple[x509.Certificate, ...] | None, str]) -> None:
    signer, chain, words = case
    said = refused(envelope(signer, chain=chain), configured(ROOT.pem + MIDDLE.pem))
    assert said[0] == INVALID
    assert words in said[1]


def test_a_chain_whose_names_fit_and_whose_signatures_do_not() -> None:
    """Every issuer is called as it should be; the root is the operator's, which signed none of it."""
    impostor = holder("Builder", holder("Root", extensions=AUTHORITY))
    said = refused(envelope(impostor, chain=(impostor.certificate, ROOT.certificate)))
    assert said == (INVALID, "the signing certificate is not issued by the next one")


# -- (6) the algorithm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "said"), [("PS256", "PS512"), ("PS256", "ES256"), ("ES384", "ES256")])
def test_an_algorithm_that_is_not_the_keys(right: str, said: str) -> None:
    signer = of_algorithm(right)
    content = document(signer, header=protected(alg=right))
    content["protected"] = b64url(dump(protected(alg=said)))
    words = f"the header alg is {said}, and the key of the signing certificate signs with {right}"
    assert refused(dump(content)) == (INVALID, words)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 1024), id="short"),
        pytest.param(rsa.generate_private_key(65537, 2056), id="odd size"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="other curve"),
        pytest.param(ec.generate_private_key(ec.SECP224R1()), id="short curve"),
    ],
)
def test_a_key_that_signs_with_none_of_them(key: Any) -> None:
    content = document()
    content["header"]["x5c"] = document(holder("B", ROOT, key=key), header=protected(alg="none"))["header"]["x5c"]
    said = refused(dump(content))
    assert said[0] == INVALID
    assert "neither RSA of 2048, 3072 or 4096 bits nor P-256/384/521" in said[1]


def test_a_public_key_is_no_secret_of_a_mac() -> None:
    """RFC 8725, section 2.1: HS256 with the public key as its secret."""
    content = document()
    content["protected"] = b64url(dump(protected(alg="HS256")))
    assert refused(dump(content))[0] == INVALID


# -- (7) the signature -----------------------------------------------------------------------------------------------


def _resigned(change: Callable[[bytes], bytes]) -> bytes:
    content = document()
    value = base64.urlsafe_b64decode(content["signature"] + "==")
    return dump({**content, "signature": b64url(change(value))})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_with(payload=b64url(payload(OTHER))), id="payload"),
        pytest.param(_with(protected=b64url(dump(protected(note=1)))), id="header"),
        pytest.param(_with(signature=""), id="empty"),
        pytest.param(_resigned(lambda value: value[:-1]), id="cut off"),
        pytest.param(_resigned(lambda value: value + b"\0"), id="longer"),
        pytest.param(_resigned(lambda value: bytes(64)), id="zeros"),
        pytest.param(_resigned(lambda value: value[:32] + b"\0" + value[32:]), id="the same numbers, written longer"),
        pytest.param(_resigned(lambda value: value[32:] + value[:32]), id="changed about"),
        pytest.param(_with(signature=document(STRANGER)["signature"]), id="another key"),
        pytest.param(
            _with(signature=b64url(sign(SIGNER.key, "ES256", payload()))), id="over the payload without its header"
        ),
    ],
)
def test_a_signature_that_does_not_hold(content: bytes) -> None:
    subject = OTHER if json.loads(content)["payload"] == b64url(payload(OTHER)) else SUBJECT
    said = refused(content, subject=subject)
    assert said == (INVALID, "the signature does not hold: it was changed after it was signed")


def test_rsa_with_the_old_padding() -> None:
    signer = of_algorithm("PS256")
    content = document(signer, header=protected(alg="PS256"))
    message = f"{content['protected']}.{content['payload']}".encode()
    content["signature"] = b64url(signer.key.sign(message, padding.PKCS1v15(), hashes.SHA256()))  # type: ignore[call-arg]
    assert refused(dump(content))[1].startswith("the signature does not hold")


# -- (8) the signing scheme ------------------------------------------------------------------------------------------


def test_a_signing_authority_is_believed_when_it_signed() -> None:
    proven = prove(envelope(header=authority_header()), configured(signing_authority=True))
    assert proven.signed_at.isoformat() == "2026-02-27T10:00:00+00:00"


def test_nobody_else_is() -> None:
    """A certificate that has ended, used after that under a time of the thief's choice."""
    said = refused(envelope(header=authority_header()), now=END + DAY)
    assert said[0] == UNTRUSTED
    assert "notary.x509.signingAuthority" in said[1]


def test_a_signing_authority_signs_by_its_own_scheme() -> None:
    assert refused(envelope(), configured(signing_authority=True))[0] == UNTRUSTED


# -- (9) identities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identity",
    [
        "x509.subject: C=US, ST=WA, O=other",
        "x509.subject: C=US, ST=WA, O=Acme",
        "x509.subject: C=US, ST=WA, O=acm",
        "x509.subject: C=US, ST=WA, O=acme, OU=any",
        "x509.subject: C=US, ST=WA, O=acme, CN=Builder2",
    ],
)
def test_an_identity_of_someone_else(identity: str) -> None:
    said = refused(envelope(), configured(identities=(identity,)))
    assert said[0] == UNTRUSTED
    assert '"CN=Builder,O=acme,L=Seattle,ST=WA,C=US", which is no identity of the signer "notary"' in said[1]


# -- (10) when -------------------------------------------------------------------------------------------------------

TIMED = configured(timestamp_pem=STAMPS_ROOT.pem)


@pytest.mark.parametrize("now", [BEGIN, END])
def test_both_ends_of_a_validity_belong_to_it(now: Any) -> None:
    assert prove(envelope(), now=now).signers


@pytest.mark.parametrize("now", [BEGIN - timedelta(seconds=1), END + timedelta(seconds=1)])
def test_without_a_time_stamp_the_certificates_must_be_valid_now(now: Any) -> None:
    said = refused(envelope(), now=now)
    assert said[0] == EXPIRED
    assert "the signing certificate is valid from" in said[1]


@pytest.mark.parametrize(
    "signer",
    [
        pytest.param(holder("B", holder("M", ROOT, AUTHORITY, end=NOW - DAY)), id="between"),
        pytest.param(holder("B", holder("R", extensions=AUTHORITY, begin=NOW + DAY)), id="root"),
    ],
)
def test_each_certificate_counts(signer: Holder) -> None:
    root = signer.chain[-1].public_bytes(Encoding.PEM)
    said = refused(envelope(signer), configured(root))
    assert said[0] == EXPIRED
    assert "of the chain is valid from" in said[1]


def test_what_was_stamped_in_time_outlives_its_certificate() -> None:
    content = envelope(stamp=stamped(NOW - DAY))
    proven = prove(content, TIMED, now=END + 100 * DAY)
    assert proven.signed_at == NOW - DAY
    assert refused(content, now=END + 100 * DAY)[0] == EXPIRED, "no authority of time-stamps is configured"


def test_a_stamp_outside_of_the_validity() -> None:
    late = holder("B", MIDDLE, end=NOW - 2 * DAY)
    said = refused(envelope(late, stamp=stamped(NOW - DAY)), TIMED)
    assert said[0] == EXPIRED
    assert "the time-stamp (2026-02-28T12:00:00Z)" in said[1]


@pytest.mark.parametrize(
    ("accuracy", "policy", "holds"),
    [
        (None, "1.3.6.1.4.1.99999.1", True),
        (timedelta(seconds=1), "1.3.6.1.4.1.99999.1", False),
        (None, "0.4.0.2023.1.1", False),
    ],
)
def test_how_exact_a_stamp_is_counts(accuracy: timedelta | None, policy: str, holds: bool) -> None:
    short = holder("B", MIDDLE, end=NOW - DAY)
    content = envelope(short, stamp=stamped(NOW - DAY, accuracy=accuracy, policy=policy))
    if holds:
        assert prove(content, TIMED).signed_at == NOW - DAY
    else:
        assert refused(content, TIMED)[0] == EXPIRED


def test_a_stamp_that_does_not_hold_is_not_passed_over() -> None:
    """Else who can push could take the time away from what was signed, or put another one there."""
    said = refused(envelope(stamp=lambda signature: stamped()(b"another signature")), TIMED)
    assert said[0] == UNLOGGED


def test_the_oldest_of_the_times_that_signers_trust() -> None:
    proven = prove(envelope(stamp=stamped(NOW - DAY)), TIMED, configured(name="untimed"))
    assert (len(proven.signers), proven.signed_at) == (2, NOW - DAY)


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("2026-01-01T00:00:00Z", EXPIRED),
        ("2026-03-30T00:00:00Z", INVALID),
    ],
)
def test_a_time_of_a_signing_authority_that_cannot_be(time: str, reason: str) -> None:
    assert refused(envelope(header=authority_header(time)), configured(signing_authority=True))[0] == reason


def test_the_refusal_of_the_signer_that_came_furthest_is_told() -> None:
    signers = [
        configured(signing_authority=True),
        configured(),
        configured(identities=("x509.subject: C=US, ST=WA, O=x",)),
    ]
    assert refused(envelope(), *signers, now=END + DAY)[0] == EXPIRED


# -- (11) its end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["2026-03-01T12:00:00Z", "2020-01-01T00:00:00+02:00"])
def test_a_signature_that_has_expired(end: str) -> None:
    header = protected(crit=[SCHEME, EXPIRY], **{EXPIRY: end})
    said = refused(envelope(header=header, stamp=stamped()), TIMED)
    assert said[0] == EXPIRED
    assert said[1].startswith("the signature expired at 20")


# -- (12) the payload ------------------------------------------------------------------------------------------------


def test_signed_for_another_image() -> None:
    said = refused(envelope(signed=payload(OTHER)))
    assert said == (MISMATCH, f'it is signed for "{OTHER}", not for {SUBJECT}')


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        (b"", "not JSON"),
        (b"null", "missing or null"),
        (b"{}", "targetArtifact"),
        (dump({"targetArtifact": {"digest": SUBJECT, "size": 1}}), "mediaType"),
        (payload().replace(b":528", b":-1"), "no descriptor"),
        (payload().replace(b":528", b":1e400"), "strict JSON"),
        (payload().replace(b"application/vnd.oci.image.manifest.v1+json", b""), "no descriptor"),
        (payload().replace(b'"size"', b'"digest":"sha256:1","size"'), "stands twice"),
        (payload().replace(b"528", b'"528"'), "int"),
    ],
)
def test_a_payload_that_is_no_descriptor(signed: bytes, words: str) -> None:
    said = refused(envelope(signed=signed))
    assert said[0] == INVALID
    assert words in said[1]


@pytest.mark.parametrize("digest", [SUBJECT.upper(), f"{SUBJECT} ", SUBJECT[7:], SUBJECT[:-1]])
def test_a_digest_is_compared_character_for_character(digest: str) -> None:
    assert refused(envelope(signed=payload(digest)))[0] == MISMATCH


# -- other envelopes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "words"), [("application/cose", "in COSE"), ("application/jose", '"application/jose"')]
)
def test_another_envelope_is_named(media_type: str, words: str) -> None:
    said = refused(envelope(), media_type=media_type)
    assert said[0] == UNSUPPORTED
    assert words in said[1]


# -- the configuration -----------------------------------------------------------------------------------------------

_PRIVATE = SIGNER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_PUBLIC_ONLY = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("signer", "words"),
    [
        (configured(b""), "the trust store holds no PEM certificates"),
        (configured(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "no PEM certificates"),
        (configured(_PUBLIC_ONLY), "no PEM certificates"),
        (configured(ROOT.pem + _PRIVATE), "holds a private key"),
        (configured(ROOT.pem * 200), "limit certificateBytes is 65536"),
        (configured(timestamp_pem=b"x"), "the trust store of time-stamps holds no PEM"),
        (configured(identities=()), "identities is empty"),
        (configured(identities=("*", "x509.subject: C=US, ST=WA, O=acme")), "beside others"),
        (configured(identities=("acme",)), "does not begin with x509.subject:"),
    ],
)
def test_a_signer_that_cannot_be_used(signer: NotationSigner, words: str) -> None:
    with pytest.raises(ConfigError, match='the signer "notary"') as caught:
        NotationVerifier(signers=[signer], limits=DEFAULT_LIMITS)
    assert words in caught.value.message
