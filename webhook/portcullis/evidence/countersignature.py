"""Time-stamps that Notation puts beside a signature: RFC 3161 tokens (CMS SignedData, RFC 5652), without the response
that they came in.

The proof. A token says that a signature was there at a time, if:

 (1) it is DER: one ContentInfo with SignedData, and nothing behind it;
 (2) it carries no more certificates than the limit, and exactly one of them is the signer's: with two of one issuer and
     serial number, one could be believed for what is written in it and the other for what was verified;
 (3) that certificate is for time-stamps and for nothing else (RFC 3161, section 2.3);
 (4) the token's signature holds, and its certificate leads to a configured authority, as of the time in the token;
 (5) what was stamped is the hash (SHA-256, SHA-384 or SHA-512) of the signature's bytes.

(4) and (5) are rfc3161_client's, which asks OpenSSL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from rfc3161_client import Accuracy, TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from portcullis.evidence.codesigning import reading
from portcullis.evidence.refusal import ATTESTATION_UNLOGGED, TOO_LARGE, EvidenceError
from portcullis.limits import Limits
from portcullis.text import clean

_WHY_CHARS: Final = 160
_SEQUENCE: Final = 0x30
_CONTEXT_0: Final = 0xA0
_GRANTED: Final = b"\x30\x03\x02\x01\x00"
"""PKIStatusInfo with the status granted."""
_BASELINE_POLICY: Final = ObjectIdentifier("0.4.0.2023.1.1")
"""RFC 3628, section 5.2: such authorities are right to the second."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A proven time. The signature was there between ``first`` and ``last`` (RFC 3161, section 2.4.2, "accuracy")."""

    time: datetime
    first: datetime
    last: datetime


def verify_token(token: bytes, signature: bytes, roots: Sequence[x509.Certificate], limits: Limits) -> Stamped:
    """Args:
        token: DER TimeStampToken; its size is bounded by who read it.
        signature: the bytes that were stamped.
        roots: certificates that authorities of time-stamps lead to.

    Raises:
        EvidenceError: it does not hold (attestation-unlogged), or is over a limit (too-large).
    """
    # (1) DER
    try:
        response = decode_timestamp_response(_tlv(_SEQUENCE, _GRANTED + in_order(token)))
        info = response.tst_info
    except (ValueError, TypeError, OverflowError):
        raise EvidenceError("the time-stamp is no RFC 3161 token in DER", ATTESTATION_UNLOGGED) from None
    # (2), (3) its signer's certificate
    _require_stamping(_certificate_of(response, limits))
    # (4), (5) the token's signature, and what was stamped
    try:
        VerifierBuilder(roots=list(roots)).build().verify_message(response, signature)
    except (VerificationError, ValueError, TypeError) as error:
        why = str(error).partition(": ErrorStack")[0]  # of OpenSSL, with its source lines
        raise EvidenceError(f"the time-stamp does not hold: {clean(why, _WHY_CHARS)}", ATTESTATION_UNLOGGED) from None
    try:
        accuracy = _accuracy(response)
        return Stamped(info.gen_time, info.gen_time - accuracy, info.gen_time + accuracy)
    except (OverflowError, ValueError):
        raise EvidenceError("the time-stamp has no time that a calendar holds", ATTESTATION_UNLOGGED) from None


def _certificate_of(response: TimeStampResponse, limits: Limits) -> x509.Certificate:
    certificates = response.signed_data.certificates
    if len(certificates) > limits.certificates:
        raise EvidenceError(
            f"the time-stamp has {len(certificates)} certificates; the limit certificates is {limits.certificates}",
            TOO_LARGE,
        )
    signers = response.signed_data.signer_infos
    if len(signers) != 1:
        raise EvidenceError(f"the time-stamp has {len(signers)} signers, not one", ATTESTATION_UNLOGGED)
    (signer,) = signers
    with reading("a certificate of the time-stamp"):
        loaded = [x509.load_der_x509_certificate(der) for der in certificates]
        found = [one for one in loaded if one.issuer == signer.issuer and one.serial_number == signer.serial_number]
    if len(found) != 1:
        raise EvidenceError(
            f"the time-stamp has {len(found)} certificates of its signer, not one", ATTESTATION_UNLOGGED
        )
    return found[0]


def _require_stamping(certificate: x509.Certificate) -> None:
    with reading("the certificate of the time-stamp's signer"):
        try:
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
            fits = usage.critical and list(usage.value) == [ExtendedKeyUsageOID.TIME_STAMPING]
        except x509.ExtensionNotFound:
            fits = False
    if not fits:
        raise EvidenceError("the time-stamp's signer is not one for time-stamps only", ATTESTATION_UNLOGGED)


def _accuracy(response: TimeStampResponse) -> timedelta:
    # rfc3161_client's types say that it is always there; in a token it is optional.
    said = cast("Accuracy | None", response.tst_info.accuracy)
    if said is not None:
        return timedelta(seconds=said.seconds or 0, milliseconds=said.millis or 0, microseconds=said.micros or 0)
    return timedelta(seconds=1 if response.tst_info.policy == _BASELINE_POLICY else 0)


def in_order(token: bytes) -> bytes:
    """The token with its certificates in the order that DER wants of a set. Some large authorities
    (GlobalSign is one) write them in another, which strict parsers refuse; no signature is over that order.

    Raises:
        ValueError: it is no such structure.
    """
    kind, content = _fields(_only(token, _SEQUENCE))
    signed_data = _only(_value(content, _CONTEXT_0), _SEQUENCE)
    fields = b"".join(
        _tlv(_CONTEXT_0, b"".join(sorted(_fields(_value(part, _CONTEXT_0))))) if part[0] == _CONTEXT_0 else part
        for part in _fields(signed_data)
    )
    return _tlv(_SEQUENCE, kind + _tlv(_CONTEXT_0, _tlv(_SEQUENCE, fields)))


def _only(data: bytes, tag: int) -> bytes:
    (part,) = _fields(data)
    return _value(part, tag)


def _value(part: bytes, tag: int) -> bytes:
    if part[0] != tag:
        raise ValueError("another type than expected")
    return part[_header(part, 0)[0] :]


def _fields(data: bytes) -> Iterator[bytes]:
    """The elements that ``data`` is made of, each with its tag and length."""
    place = 0
    while place < len(data):
        begin, length = _header(data, place)
        if begin + length > len(data):
            raise ValueError("an element that is cut off")
        yield data[place : begin + length]
        place = begin + length


def _header(data: bytes, place: int) -> tuple[int, int]:
    """Where the value of the element at ``place`` begins, and its length (X.690, sections 8.1.3 and 10.1: the definite
    form, as short as can be)."""
    if place + 2 > len(data):
        raise ValueError("an element without a length")
    first = data[place + 1]
    if first < 0x80:
        return place + 2, first
    written = data[place + 2 : place + 2 + (first & 0x7F)]
    length = int.from_bytes(written, "big")
    if length < 0x80 or written[0] == 0 or len(written) != first & 0x7F:
        raise ValueError("a length in another form")
    return place + 2 + len(written), length


def _tlv(tag: int, value: bytes) -> bytes:
    length = len(value)
    if length < 0x80:
        return bytes((tag, length)) + value
    count = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | count)) + length.to_bytes(count, "big") + value
