"""Signatures of Notation, good and bad, with authorities that live as long as the test run.

Each bad one differs from a good one in a single respect, so that the reason for which it is refused is that one.
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from portcullis.evidence.signers import NotationSigner
from portcullis.model.image import Digest
from vectors.extensions import Extension, usage
from vectors.stamps import stamping, token, tst_info

JOSE = "application/jose+json"
PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
SUBJECT = Digest("sha256:" + "ab" * 32)
OTHER = Digest("sha256:" + "cd" * 32)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEGIN, END = NOW - timedelta(days=30), NOW + timedelta(days=30)

SCHEME = "io.cncf.notary.signingScheme"
SIGNING_TIME = "io.cncf.notary.signingTime"
AUTHENTIC_TIME = "io.cncf.notary.authenticSigningTime"
EXPIRY = "io.cncf.notary.expiry"
PLUGIN = "io.cncf.notary.verificationPlugin"
TIMESTAMP = "io.cncf.notary.timestampSignature"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extensions = Mapping[type[x509.ExtensionType], Extension | None]


def extended(*uses: x509.ObjectIdentifier) -> Extension:
    return x509.ExtendedKeyUsage(uses), False


def constraints(ca: bool, length: int | None = None, critical: bool = True) -> Extension:
    return x509.BasicConstraints(ca=ca, path_length=length), critical


LEAF: Extensions = {x509.KeyUsage: usage("digital_signature"), x509.BasicConstraints: constraints(False)}
AUTHORITY: Extensions = {x509.KeyUsage: usage("key_cert_sign"), x509.BasicConstraints: constraints(True)}


def name(common: str, **others: str) -> x509.Name:
    attributes = {"C": "US", "ST": "WA", "L": "Seattle", "O": "acme", **others, "CN": common}
    kinds = {
        "C": NameOID.COUNTRY_NAME,
        "ST": NameOID.STATE_OR_PROVINCE_NAME,
        "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(kinds[kind], value) for kind, value in attributes.items()])


@dataclass(frozen=True)
class Holder:
    """A key, its certificate, and those above it."""

    key: Key
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def holder(
    subject: str | x509.Name,
    issuer: Holder | None = None,
    extensions: Extensions = LEAF,
    *,
    key: Key | None = None,
    begin: datetime = BEGIN,
    end: datetime = END,
    change: Extensions | None = None,
    digest: hashes.HashAlgorithm | None = None,
    serial: int | None = None,
) -> Holder:
    """``change`` puts extensions in place of others; None takes one away. Without an issuer it is its own."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = name(subject) if isinstance(subject, str) else subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in ({**extensions, **(change or {})}).values():
        if extension is not None:
            builder = builder.add_extension(*extension)
    signing = issuer.key if issuer else key
    if isinstance(signing, ed25519.Ed25519PrivateKey):
        made = builder.sign(signing, None)
    else:
        made = builder.sign(signing, digest or hashes.SHA256())
    return Holder(key, (made, *(issuer.chain if issuer else ())))


ROOT = holder("Root", extensions=AUTHORITY)
MIDDLE = holder("Middle", ROOT, AUTHORITY)
SIGNER = holder("Builder", MIDDLE)
SELF = holder("Alone", extensions={x509.KeyUsage: usage("digital_signature")})
STRANGER = holder("Builder", holder("Root", extensions=AUTHORITY))

STAMPS_ROOT = holder("Stamps", extensions=AUTHORITY)
STAMPS = holder("Clock", STAMPS_ROOT, change={x509.ExtendedKeyUsage: stamping()})


@functools.cache
def of_algorithm(algorithm: str) -> Holder:
    """One whose key signs with ``algorithm``."""
    keys: dict[str, Callable[[], Key]] = {
        "PS256": lambda: rsa.generate_private_key(65537, 2048),
        "PS384": lambda: rsa.generate_private_key(65537, 3072),
        "PS512": lambda: rsa.generate_private_key(65537, 4096),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    }
    return holder("Builder", ROOT, key=keys[algorithm]())


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def payload(digest: str = SUBJECT, **others: Any) -> bytes:
    media_type = "application/vnd.oci.image.manifest.v1+json"
    return dump({"targetArtifact": {"mediaType": media_type, "digest": digest, "size": 528, **others}})


def protected(**change: Any) -> dict[str, Any]:
    """The signed header; None takes a member away. Names have "." for "__"."""
    header: dict[str, Any] = {
        "alg": "ES256",
        "crit": [SCHEME],
        "cty": PAYLOAD,
        SCHEME: "notary.x509",
        SIGNING_TIME: "2026-02-27T10:00:00Z",
    }
    return changed(header, change)


def authority_header(time: str = "2026-02-27T10:00:00Z") -> dict[str, Any]:
    """That of a signing authority."""
    change = {SIGNING_TIME: None, SCHEME: "notary.x509.signingAuthority", AUTHENTIC_TIME: time}
    return {**changed(protected(), change), "crit": [SCHEME, AUTHENTIC_TIME]}


def changed(header: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**header, **change}.items() if value is not None}


def sign(key: Key, algorithm: str, message: bytes) -> bytes:
    """As RFC 7518 has it."""
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    size = (key.curve.key_size + 7) // 8
    return b"".join(
        number.to_bytes(size, "big") for number in decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    )


def document(
    signer: Holder = SIGNER,
    *,
    header: Mapping[str, Any] | bytes | None = None,
    signed: bytes | None = None,
    chain: Sequence[x509.Certificate] | None = None,
    beside: Mapping[str, Any] | None = None,
    stamp: Callable[[bytes], bytes] | None = None,
) -> dict[str, Any]:
    """A signature as the tree that it is written from.

    Args:
        header: the signed one; bytes where it is to be no usual JSON.
        signed: the payload.
        beside: further members of the header that is not signed.
        stamp: makes a time-stamp of the signature's bytes.
    """
    header = protected() if header is None else header
    text = header if isinstance(header, bytes) else dump(header)
    encoded = f"{b64url(text)}.{b64url(payload() if signed is None else signed)}"
    algorithm = header.get("alg", "") if not isinstance(header, bytes) else ""
    known = algorithm[:2] in {"PS", "ES"} and algorithm[2:] in {"256", "384", "512"}
    signature = sign(signer.key, algorithm if known else "ES256", encoded.encode())
    certificates = signer.chain if chain is None else chain
    beside = {
        "x5c": [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in certificates],
        "io.cncf.notary.signingAgent": "notation/1.3.0",
        **(beside or {}),
    }
    if stamp is not None:
        beside[TIMESTAMP] = base64.b64encode(stamp(signature)).decode()
    head, body = encoded.split(".")
    return {"payload": body, "protected": head, "header": beside, "signature": b64url(signature)}


def envelope(signer: Holder = SIGNER, **how: Any) -> bytes:
    """As :func:`document`, written."""
    return dump(document(signer, **how))


def stamped(time: datetime = NOW - timedelta(days=1), by: Holder = STAMPS, **how: Any) -> Callable[[bytes], bytes]:
    """A time-stamp of that time."""

    def stamp(signature: bytes) -> bytes:
        assert isinstance(by.key, ec.EllipticCurvePrivateKey)
        return token(tst_info(signature, time, **how), by.key, by.certificate, by.chain[1:])

    return stamp


def configured(certificates: bytes = ROOT.pem, name: str = "notary", **others: Any) -> NotationSigner:
    return NotationSigner(name, certificates, **others)
