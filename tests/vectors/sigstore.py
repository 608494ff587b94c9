"""A small Sigstore: an authority, a certificate log, two transparency logs (Rekor 1 and 2) and a time-stamp authority,
with keys that live as long as the test run.

It signs as the real ones do, so that each part can be right or wrong by itself. Its times lie in the past, since what
is verified is judged by the times that are signed.
"""

import base64
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384, sha512
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from portcullis.evidence.signers import KeylessSigner, RootSource
from vectors.attestations import BUNDLE, IN_TOTO, compact
from vectors.extensions import Extension, usage
from vectors.stamps import response, stamping, tlv, token, tst_info

AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
"""When all that is good was signed."""
BEGIN, END = AT - timedelta(days=60), AT + timedelta(days=3650)

ISSUER = "https://token.actions.githubusercontent.com"
IDENTITY = "https://github.com/acme/web/.github/workflows/scan.yml@refs/heads/main"
PATTERN = r"https://github\.com/acme/[a-z]+/\.github/workflows/scan\.yml@refs/heads/main"
LOG_NAME, LOG2_NAME = "rekor.test", "log2025-1.rekor.test"

BUNDLE_V01 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
BUNDLE_V02 = "application/vnd.dev.sigstore.bundle+json;version=0.2"

SIGNER = KeylessSigner("ci", ISSUER, PATTERN, root="ours")

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Public = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
OTHER_NAME = ObjectIdentifier("1.3.6.1.4.1.57264.1.7")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def der(key: Public) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def utf8_string(text: str) -> bytes:
    return tlv(0x0C, text.encode())


SIGNS = usage("digital_signature")
CODE_SIGNING: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)


@dataclass(frozen=True, slots=True)
class Holder:
    """A key with its certificate; ``chain`` are the certificates above it, the root last."""

    key: Private = field(repr=False)
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def _builder(
    name: str, key: Public, issuer: x509.Name, start: datetime, end: datetime, extensions: Sequence[Extension | None]
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), start, end)
    for extension in extensions:
        if extension is not None:
            builder = builder.add_extension(extension[0], extension[1])
    return builder


def authority(name: str, above: Holder | None = None, *extra: Extension, begin: datetime = BEGIN) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = above.key if above else key
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=True, path_length=None if above is None else 0), True),
        usage("key_cert_sign", "crl_sign"),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        *extra,
    ]
    if above is not None:
        above_key = above.certificate.public_key()
        assert isinstance(above_key, ec.EllipticCurvePublicKey)
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key), False))
    builder = _builder(name, key.public_key(), above.certificate.subject if above else subject, begin, END, extensions)
    chain = (above.certificate, *above.chain) if above else ()
    return Holder(key, builder.sign(signer, hashes.SHA256()), chain)


ROOT = authority("ours")
FULCIO = authority("ours intermediate", ROOT, CODE_SIGNING)
STRANGER = authority("strangers")
ROOT_TWIN = authority("ours")
"""Another root that calls itself ours."""
CT_KEY = ec.generate_private_key(ec.SECP256R1())
LOG_KEY = ec.generate_private_key(ec.SECP256R1())
LOG2_KEY = ed25519.Ed25519PrivateKey.generate()
TSA_ROOT = authority("stamps")
OTHER_TSA_ROOT = authority("others' stamps")


def _stamper(root: Holder) -> Holder:
    key = ec.generate_private_key(ec.SECP256R1())
    extensions: list[Extension] = [stamping(), SIGNS]
    builder = _builder("stamper", key.public_key(), root.certificate.subject, BEGIN, END, extensions)
    assert isinstance(root.key, ec.EllipticCurvePrivateKey)
    return Holder(key, builder.sign(root.key, hashes.SHA256()), (root.certificate,))


TSA = _stamper(TSA_ROOT)
OTHER_TSA = _stamper(OTHER_TSA_ROOT)

LOG_ID = sha256(der(LOG_KEY.public_key())).digest()
LOG2_ID = sha256(
    LOG2_NAME.encode() + b"\n\x01" + LOG2_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).digest()


def leaf(
    key: Private | None = None,
    *,
    above: Holder = FULCIO,
    names: Sequence[x509.GeneralName] = (x509.UniformResourceIdentifier(IDENTITY),),
    issuer: str | None = ISSUER,
    old_issuer: str | None = None,
    issuer_der: bytes | None = None,
    start: datetime = AT - timedelta(minutes=1),
    end: datetime = AT + timedelta(minutes=9),
    key_usage: Extension | None = SIGNS,
    purpose: Extension | None = CODE_SIGNING,
    constraints: Extension | None = None,
    identifiers: bool = True,
    announced: Sequence[tuple[ec.EllipticCurvePrivateKey, datetime]] = ((CT_KEY, AT - timedelta(minutes=1)),),
) -> Holder:
    """A certificate as Fulcio issues it. ``announced``: keys of certificate logs, and when."""
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    above_key = above.certificate.public_key()
    assert isinstance(above_key, ec.EllipticCurvePublicKey)
    assert isinstance(above.key, ec.EllipticCurvePrivateKey)
    extensions: list[Extension | None] = [key_usage, purpose, constraints]
    if identifiers:
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key), False))
    if names:
        extensions.append((x509.SubjectAlternativeName(names), True))
    if old_issuer is not None:
        extensions.append((x509.UnrecognizedExtension(_ISSUER_V1, old_issuer.encode()), False))
    if issuer is not None:
        written = utf8_string(issuer) if issuer_der is None else issuer_der
        extensions.append((x509.UnrecognizedExtension(_ISSUER_V2, written), False))
    builder = _builder("", key.public_key(), above.certificate.subject, start, end, extensions)
    if announced:
        body = builder.sign(above.key, hashes.SHA256()).tbs_certificate_bytes
        stamps = b"".join(_announcement(body, above_key, by, at) for by, at in announced)
        listed = tlv(0x04, len(stamps).to_bytes(2, "big") + stamps)
        builder = builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, listed), critical=False)
    return Holder(key, builder.sign(above.key, hashes.SHA256()), (above.certificate, *above.chain))


def _announcement(body: bytes, issuer: Public, by: ec.EllipticCurvePrivateKey, at: datetime) -> bytes:
    """A SignedCertificateTimestamp of version 1, with its length (RFC 6962, section 3.2 and 3.3)."""
    when = int(at.timestamp() * 1000).to_bytes(8, "big")
    signed = b"".join(
        (b"\0\0", when, b"\0\1", sha256(der(issuer)).digest(), len(body).to_bytes(3, "big"), body, b"\0\0")
    )
    signature = by.sign(signed, ec.ECDSA(hashes.SHA256()))
    stamp = b"".join(
        (
            b"\0",
            sha256(der(by.public_key())).digest(),
            when,
            b"\0\0",
            b"\4\3",
            len(signature).to_bytes(2, "big"),
            signature,
        )
    )
    return len(stamp).to_bytes(2, "big") + stamp


_HASHES = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}


def sign(key: Private, data: bytes) -> bytes:
    """With the hash that goes with the key."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(data, ec.ECDSA(_HASHES[key.curve.name]))
        case rsa.RSAPrivateKey():
            return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case _:
            return key.sign(data)


def pre_authenticated(payload: bytes, payload_type: str = IN_TOTO) -> bytes:
    """PAE of the DSSE protocol."""
    kind = payload_type.encode()
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))


# -- what logs write of a signature ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """A signature of which entries are made: over ``signed``, which is the PAE of ``payload`` where there is one."""

    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    payload: bytes | None = field(repr=False)
    verifier: bytes = field(repr=False)
    """PEM of the certificate or key."""
    raw: bytes = field(repr=False)
    """DER of the same."""
    is_certificate: bool = True


def dsse(made: Made) -> bytes:
    return rfc8785.dumps(
        {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": "0" * 64},
                "payloadHash": {"algorithm": "sha256", "value": sha256(made.payload or b"").hexdigest()},
                "signatures": [{"signature": b64(made.signature), "verifier": b64(made.verifier)}],
            },
        }
    )


def intoto(made: Made) -> bytes:
    return rfc8785.dumps(
        {
            "apiVersion": "0.0.2",
            "kind": "intoto",
            "spec": {
                "content": {
                    "envelope": {
                        "payloadType": IN_TOTO,
                        "signatures": [
                            {"publicKey": b64(made.verifier), "sig": b64(b64(made.signature).encode())},
                        ],
                    },
                    "hash": {"algorithm": "sha256", "value": "0" * 64},
                    "payloadHash": {"algorithm": "sha256", "value": sha256(made.payload or b"").hexdigest()},
                }
            },
        }
    )


def hashedrekord(made: Made) -> bytes:
    return rfc8785.dumps(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": sha256(made.signed).hexdigest()}},
                "signature": {"content": b64(made.signature), "publicKey": {"content": b64(made.verifier)}},
            },
        }
    )


def hashedrekord2(made: Made, algorithm: str = "SHA2_256", details: str = "PKIX_ECDSA_P256_SHA_256") -> bytes:
    digest = {"SHA2_256": sha256, "SHA2_384": sha384, "SHA2_512": sha512}[algorithm](made.signed).digest()
    verifier: dict[str, Any] = {"keyDetails": details}
    verifier["x509Certificate" if made.is_certificate else "publicKey"] = {"rawBytes": b64(made.raw)}
    return rfc8785.dumps(
        {
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": {"algorithm": algorithm, "digest": b64(digest)},
                    "signature": {"content": b64(made.signature), "verifier": verifier},
                }
            },
        }
    )


# -- the logs ----------------------------------------------------------------------------------------------


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162, section 2.1.1."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + tree_hash(leaves[:middle]) + tree_hash(leaves[middle:])).digest()


def tree_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 9162, section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    if index < middle:
        return [*tree_path(index, leaves[:middle]), tree_hash(leaves[middle:])]
    return [*tree_path(index - middle, leaves[middle:]), tree_hash(leaves[:middle])]


def note_line(name: str, log_id: bytes, signature: bytes) -> str:
    return f"\u2014 {name} {b64(log_id[:4] + signature)}\n"


def checkpoint(origin: str, name: str, size: int, root: bytes, key: Private, log_id: bytes) -> str:
    text = f"{origin}\n{size}\n{b64(root)}\n"
    return f"{text}\n{note_line(name, log_id, sign(key, text.encode()))}"


def inclusion(body: bytes, *, second: bool = False, index: int = 5, size: int = 7) -> dict[str, Any]:
    leaves = [str(number).encode() for number in range(size)]
    leaves[index] = body
    root = tree_hash(leaves)
    if second:
        noted = checkpoint(LOG2_NAME, LOG2_NAME, size, root, LOG2_KEY, LOG2_ID)
    else:
        noted = checkpoint(f"{LOG_NAME} - 123", LOG_NAME, size, root, LOG_KEY, LOG_ID)
    return {
        "logIndex": str(index),
        "rootHash": b64(root),
        "treeSize": str(size),
        "hashes": [b64(node) for node in tree_path(index, leaves)],
        "checkpoint": {"envelope": noted},
    }


def promise(body: bytes, at: int, *, index: int = 1005, key: Private = LOG_KEY, log_id: bytes = LOG_ID) -> bytes:
    return sign(key, rfc8785.dumps({"body": b64(body), "integratedTime": at, "logID": log_id.hex(), "logIndex": index}))


def entry(body: bytes, at: datetime = AT, *, promised: bool = True, included: bool = True) -> dict[str, Any]:
    """An entry of Rekor 1."""
    said = json.loads(body)
    seconds = int(at.timestamp())
    made: dict[str, Any] = {
        "logIndex": "1005",
        "logId": {"keyId": b64(LOG_ID)},
        "kindVersion": {"kind": said["kind"], "version": said["apiVersion"]},
        "integratedTime": str(seconds),
        "canonicalizedBody": b64(body),
    }
    if promised:
        made["inclusionPromise"] = {"signedEntryTimestamp": b64(promise(body, seconds))}
    if included:
        made["inclusionProof"] = inclusion(body)
    return made


def entry2(body: bytes) -> dict[str, Any]:
    """An entry of Rekor 2, which has neither a time nor a promise."""
    return {
        "logIndex": "5",
        "logId": {"keyId": b64(LOG2_ID)},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
        "canonicalizedBody": b64(body),
        "inclusionProof": inclusion(body, second=True),
    }


def stamp(signature: bytes, at: datetime = AT, by: Holder = TSA) -> bytes:
    """A time-stamp (RFC 3161) over a signature."""
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    return response(token(tst_info(signature, at), by.key, by.certificate))


# -- bundles -----------------------------------------------------------------------------------------------


def envelope(payload: bytes, signature: bytes, payload_type: str = IN_TOTO) -> dict[str, Any]:
    return {"payloadType": payload_type, "payload": b64(payload), "signatures": [{"sig": b64(signature), "keyid": ""}]}


def made_by(holder: Holder, payload: bytes) -> Made:
    """The signature of a holder over the PAE of a payload."""
    signed = pre_authenticated(payload)
    return Made(signed, sign(holder.key, signed), payload, holder.pem, holder.der)


def bundle(
    payload: bytes,
    holder: Holder | None = None,
    *,
    body: Callable[[Made], bytes] = dsse,
    entries: Callable[[Made], Sequence[Mapping[str, Any]]] | None = None,
    stamps: Callable[[bytes], Sequence[bytes]] = lambda signature: (),
    media_type: str = BUNDLE,
    chain: Sequence[x509.Certificate] | None = None,
) -> dict[str, Any]:
    """A bundle as cosign and GitHub write it; ``entries`` instead of one of Rekor 1 with ``body``."""
    made = made_by(holder or leaf(), payload)
    material: dict[str, Any] = {"certificate": {"rawBytes": b64(made.raw)}}
    if media_type in (BUNDLE_V01, BUNDLE_V02):
        certificates = [made.raw, *(one.public_bytes(Encoding.DER) for one in chain or ())]
        material = {"x509CertificateChain": {"certificates": [{"rawBytes": b64(one)} for one in certificates]}}
    material["tlogEntries"] = list(entries(made)) if entries else [entry(body(made))]
    if found := stamps(made.signature):
        material["timestampVerificationData"] = {
            "rfc3161Timestamps": [{"signedTimestamp": b64(one)} for one in found],
        }
    return {
        "mediaType": media_type,
        "verificationMaterial": material,
        "dsseEnvelope": envelope(payload, made.signature),
    }


def message_bundle(message: bytes, holder: Holder | None = None, *, claimed: bool = True) -> dict[str, Any]:
    """A bundle with a plain signature over ``message``, as ``cosign sign-blob`` writes it."""
    holder = holder or leaf()
    made = Made(message, sign(holder.key, message), None, holder.pem, holder.der)
    signature: dict[str, Any] = {"signature": b64(made.signature)}
    if claimed:
        signature["messageDigest"] = {"algorithm": "SHA2_256", "digest": b64(sha256(message).digest())}
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "certificate": {"rawBytes": b64(made.raw)},
            "tlogEntries": [entry(hashedrekord(made))],
        },
        "messageSignature": signature,
    }


def keyless_bundle(payload: bytes) -> bytes:
    """A good bundle with an in-toto statement, by :data:`SIGNER` under :func:`root`."""
    return compact(bundle(payload))


# -- the trusted root --------------------------------------------------------------------------------------


def window(start: datetime = BEGIN, end: datetime | None = None) -> dict[str, str]:
    given = {"start": start, "end": end}
    return {key: moment.isoformat().replace("+00:00", "Z") for key, moment in given.items() if moment is not None}


def trusted_log(name: str, key: Public, log_id: bytes, kind: str, **valid: Any) -> dict[str, Any]:
    return {
        "baseUrl": f"https://{name}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": b64(der(key)), "keyDetails": kind, "validFor": window(**valid)},
        "logId": {"keyId": b64(log_id)},
    }


def trusted_authority(certificates: Sequence[x509.Certificate], **valid: Any) -> dict[str, Any]:
    return {
        "subject": {"organization": "test", "commonName": "test"},
        "uri": "https://authority.test",
        "certChain": {"certificates": [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in certificates]},
        "validFor": window(**valid),
    }


ECDSA, ED25519 = "PKIX_ECDSA_P256_SHA_256", "PKIX_ED25519"


def trusted_root(**changes: Any) -> dict[str, Any]:
    """The root as JSON, with fields in place of those made."""
    return {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [
            trusted_log(LOG_NAME, LOG_KEY.public_key(), LOG_ID, ECDSA),
            trusted_log(LOG2_NAME, LOG2_KEY.public_key(), LOG2_ID, ED25519),
        ],
        "certificateAuthorities": [trusted_authority((FULCIO.certificate, ROOT.certificate))],
        "ctlogs": [trusted_log("ct.test", CT_KEY.public_key(), sha256(der(CT_KEY.public_key())).digest(), ECDSA)],
        "timestampAuthorities": [trusted_authority((TSA.certificate, TSA_ROOT.certificate))],
        **changes,
    }


@functools.cache
def root() -> RootSource:
    return RootSource("ours", compact(trusted_root()))


def source(**changes: Any) -> RootSource:
    return RootSource("ours", compact(trusted_root(**changes)))
