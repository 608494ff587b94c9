"""A time-stamp authority: RFC 3161 tokens, written by hand so that each part can be wrong.

Certificates are in the order that DER wants of a set, or in another one, as large authorities have it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

SIGNED_DATA = "1.2.840.113549.1.7.2"
TST_INFO = "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
SHA256 = "2.16.840.1.101.3.4.2.1"
SHA1 = "1.3.14.3.2.26"
ECDSA_SHA256 = "1.2.840.10045.4.3.2"
POLICY = "1.3.6.1.4.1.99999.1"
BASELINE = "0.4.0.2023.1.1"


def tlv(tag: int, *values: bytes) -> bytes:
    value = b"".join(values)
    size = len(value)
    if size < 128:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value


def sequence(*values: bytes) -> bytes:
    return tlv(0x30, *values)


def set_of(*values: bytes) -> bytes:
    return tlv(0x31, *sorted(values))


def octets(value: bytes) -> bytes:
    return tlv(0x04, value)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    encoded = bytearray()
    for number in (40 * first + second, *others):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        encoded += bytes(reversed(groups))
    return tlv(0x06, bytes(encoded))


def algorithm(dotted: str) -> bytes:
    return sequence(oid(dotted))


def tst_info(
    message: bytes,
    time: datetime,
    *,
    accuracy: timedelta | None = None,
    policy: str = POLICY,
    hash_algorithm: str = SHA256,
) -> bytes:
    """TSTInfo (RFC 3161, section 2.4.2) over the sha256 of ``message``."""
    imprint = sequence(sequence(oid(hash_algorithm), tlv(0x05)), octets(sha256(message).digest()))
    written = time.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode()
    parts = [integer(1), oid(policy), imprint, integer(7), tlv(0x18, written)]
    if accuracy is not None:
        parts.append(sequence(integer(int(accuracy.total_seconds()))))
    return sequence(*parts)


def signer_info(info: bytes, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    """SignerInfo (RFC 5652, section 5.3) with the attributes that RFC 3161 asks for."""
    identifier = sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number))
    certificate_hash = sha256(certificate.public_bytes(Encoding.DER)).digest()
    attributes = set_of(
        sequence(oid(CONTENT_TYPE), set_of(oid(TST_INFO))),
        sequence(oid(MESSAGE_DIGEST), set_of(octets(sha256(info).digest()))),
        sequence(oid(SIGNING_CERTIFICATE_V2), set_of(sequence(sequence(sequence(octets(certificate_hash)))))),
    )
    signature = key.sign(attributes, ec.ECDSA(hashes.SHA256()))
    return sequence(
        integer(1), identifier, algorithm(SHA256), b"\xa0" + attributes[1:], algorithm(ECDSA_SHA256), octets(signature)
    )


def token(
    info: bytes,
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate] = (),
    *,
    in_order: bool = True,
    content: bytes | None = None,
    beside: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None,
) -> bytes:
    """A TimeStampToken, ``info`` signed by ``key``; ``content`` stands in its place where it is to be another, and
    ``beside`` signs, too."""
    held = [one.public_bytes(Encoding.DER) for one in (certificate, *others)]
    held.sort(reverse=not in_order)
    signers = [signer_info(info, key, certificate)]
    if beside is not None:
        signers.append(signer_info(info, *beside))
    signed = sequence(
        integer(3),
        set_of(algorithm(SHA256)),
        sequence(oid(TST_INFO), tlv(0xA0, octets(info if content is None else content))),
        tlv(0xA0, *held),
        set_of(*signers),
    )
    return sequence(oid(SIGNED_DATA), tlv(0xA0, signed))


def response(token: bytes) -> bytes:
    """A TimeStampResp with the status granted."""
    return sequence(sequence(integer(0)), token)


def stamping(*, critical: bool = True, also: Sequence[Any] = ()) -> tuple[x509.ExtensionType, bool]:
    """The extended key usage of an authority of time-stamps."""
    return x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.TIME_STAMPING, *also]), critical
