"""Notation's signature envelope in JWS, parsed and not believed (notaryproject/specifications,
signature-specification.md and signature-envelope-jws.md; RFC 7515)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from portcullis.evidence.decode import as_list, as_object, as_text, decode_base64, parse_object
from portcullis.evidence.refusal import ATTESTATION_UNSUPPORTED, TOO_LARGE, EvidenceError, shown
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.times import parse_rfc3339

PAYLOAD_MEDIA_TYPE: Final = "application/vnd.cncf.notary.payload.v1+json"

_SCHEME: Final = "io.cncf.notary.signingScheme"
_SIGNING_TIME: Final = "io.cncf.notary.signingTime"
_AUTHENTIC_TIME: Final = "io.cncf.notary.authenticSigningTime"
_EXPIRY: Final = "io.cncf.notary.expiry"
_PLUGIN: Final = "io.cncf.notary.verificationPlugin"
_PLUGIN_VERSION: Final = "io.cncf.notary.verificationPluginMinVersion"
_TIMESTAMP: Final = "io.cncf.notary.timestampSignature"
_ALGORITHMS: Final = frozenset({"PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
_MEMBERS: Final = frozenset({"payload", "protected", "header", "signature"})
_UNDERSTOOD: Final = frozenset({_SCHEME, _AUTHENTIC_TIME, _EXPIRY})


class Scheme(StrEnum):
    """Who says when it was signed (signing-scheme.md): nobody, or an authority that signs for others."""

    X509 = "notary.x509"
    SIGNING_AUTHORITY = "notary.x509.signingAuthority"


@dataclass(frozen=True, slots=True)
class Protected:
    """The header that is signed. ``authentic_time`` is set for a signing authority and for nobody else."""

    algorithm: str
    scheme: Scheme
    authentic_time: datetime | None
    expiry: datetime | None


@dataclass(frozen=True, slots=True)
class Jws:
    """Args:
    signed: what the signature is over (RFC 7515, section 5.1).
    certificates: DER, the leaf first. Nobody signed them as such, nor ``timestamp``.
    timestamp: DER TimeStampToken (RFC 3161), b"" without one.
    """

    protected: Protected
    payload: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    timestamp: bytes = field(repr=False)


def parse_jws(content: bytes, limits: Limits) -> Jws:
    """Steps (1) to (3) of the proof in notation.py.

    Raises:
        EvidenceError: it is no such envelope (attestation-invalid), demands what is not understood
            (attestation-unsupported), or is over a limit (too-large).
    """
    if len(content) > limits.attestation_bytes:
        raise EvidenceError(
            f"the signature has {len(content)} bytes; the limit attestationBytes is {limits.attestation_bytes}",
            TOO_LARGE,
        )
    # (1) one reading of the envelope: strict JSON with these members and no others, canonical base64url
    document = parse_object(content, limits=limits, what="the signature")
    if others := sorted(document.keys() - _MEMBERS):
        raise EvidenceError(f"the signature has the member {shown(others[0])}, which a flattened JWS has not")
    encoded_header = as_text(document.get("protected"), "the signature's protected header")
    encoded_payload = as_text(document.get("payload"), "the signature's payload")
    protected = parse_object(
        _base64url(encoded_header, "the protected header"), limits=limits, what="the protected header"
    )
    header = as_object(document.get("header"), "the signature's header")
    # RFC 7515, section 7.2.1: a name stands in one of the two, or nobody knows which of them is meant.
    if both := sorted(header.keys() & protected.keys()):
        raise EvidenceError(f"the header {shown(both[0])} stands among the signed and the unsigned ones")
    return Jws(
        # (2) the header that is signed
        protected=_read_protected(protected),
        payload=_base64url(encoded_payload, "the payload"),
        signed=f"{encoded_header}.{encoded_payload}".encode("ascii"),
        signature=_base64url(as_text(document.get("signature"), "the signature's value"), "the signature's value"),
        # (3) certificates and time-stamp, bounded
        certificates=_read_certificates(header.get("x5c"), limits),
        timestamp=_read_timestamp(header, limits),
    )


def _read_protected(header: JSONObject) -> Protected:
    algorithm = as_text(header.get("alg"), "the header alg")
    if algorithm not in _ALGORITHMS:
        raise EvidenceError(f"the header alg is {shown(algorithm)}, none of {', '.join(sorted(_ALGORITHMS))}")
    kind = as_text(header.get("cty"), "the header cty")
    if kind != PAYLOAD_MEDIA_TYPE:
        raise EvidenceError(f"the signed payload is of type {shown(kind)}, not {PAYLOAD_MEDIA_TYPE}")
    _require_understood(header)
    word = as_text(header.get(_SCHEME), f"the header {_SCHEME}")
    if word not in set(Scheme):
        raise EvidenceError(f"the signing scheme {shown(word)} is not known", ATTESTATION_UNSUPPORTED)
    scheme = Scheme(word)
    authority = scheme is Scheme.SIGNING_AUTHORITY
    wanted, unwanted = (_AUTHENTIC_TIME, _SIGNING_TIME) if authority else (_SIGNING_TIME, _AUTHENTIC_TIME)
    if unwanted in header:
        raise EvidenceError(f"the header {unwanted} does not go with the signing scheme {scheme}")
    # The signing time of the scheme notary.x509 is read, so that it is one, and forgotten: it is the signer's own word.
    time = _read_time(header, wanted)
    _require_critical(header, authority)
    return Protected(
        algorithm=algorithm,
        scheme=scheme,
        authentic_time=time if authority else None,
        expiry=_read_time(header, _EXPIRY) if _EXPIRY in header else None,
    )


def _require_understood(header: JSONObject) -> None:
    """Every header that must be understood is (RFC 7515, section 4.1.11)."""
    critical = [as_text(name, "a name in the header crit") for name in as_list(header.get("crit"), "the header crit")]
    if len(set(critical)) != len(critical):
        raise EvidenceError("the header crit names one header twice")
    # A plug-in's checks are part of the verification, whether or not they are marked as such.
    for name in (_PLUGIN, _PLUGIN_VERSION):
        if name in header:
            plugin = shown(header.get(_PLUGIN, ""))
            raise EvidenceError(
                f"the signature needs the verification plugin {plugin} ({name})", ATTESTATION_UNSUPPORTED
            )
    for name in critical:
        if name not in header:
            raise EvidenceError(f"the header crit names {shown(name)}, which is not there")
        if name not in _UNDERSTOOD:
            raise EvidenceError(
                f"the signature demands that the header {shown(name)} is understood", ATTESTATION_UNSUPPORTED
            )


def _require_critical(header: JSONObject, authority: bool) -> None:
    mandatory = {_SCHEME: True, _AUTHENTIC_TIME: authority, _EXPIRY: _EXPIRY in header}
    for name, needed in mandatory.items():
        if needed and name not in header["crit"]:
            raise EvidenceError(f"the header crit lacks {name}")


def _read_time(header: Mapping[str, Any], name: str) -> datetime:
    text = as_text(header.get(name), f"the header {name}")
    try:
        time = parse_rfc3339(text)
    except ValueError:
        time = None
    if time is None:
        raise EvidenceError(f"the header {name} {shown(text)} is no RFC 3339 time")
    return time


def _read_certificates(value: object, limits: Limits) -> tuple[bytes, ...]:
    entries = as_list(value, "the header x5c")
    if not entries:
        raise EvidenceError("the header x5c has no certificate")
    if len(entries) > limits.certificates:
        raise EvidenceError(
            f"the header x5c has {len(entries)} certificates; the limit certificates is {limits.certificates}",
            TOO_LARGE,
        )
    certificates = tuple(decode_base64(entry, "a certificate of the header x5c") for entry in entries)
    if (total := sum(map(len, certificates))) > limits.certificate_bytes:
        raise EvidenceError(
            f"the certificates have {total} bytes; the limit certificateBytes is {limits.certificate_bytes}", TOO_LARGE
        )
    return certificates


def _read_timestamp(header: JSONObject, limits: Limits) -> bytes:
    if _TIMESTAMP not in header:
        return b""
    token = decode_base64(header[_TIMESTAMP], "the time-stamp")
    if not token:
        raise EvidenceError("the time-stamp is empty")
    if len(token) > limits.certificate_bytes:
        raise EvidenceError(
            f"the time-stamp has {len(token)} bytes; the limit certificateBytes is {limits.certificate_bytes}",
            TOO_LARGE,
        )
    return token


def _base64url(encoded: str, what: str) -> bytes:
    """RFC 7515, section 2: the URL-safe alphabet without padding, in its one canonical spelling."""
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise EvidenceError(f"{what} is not base64url without padding") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode("ascii") != encoded:
        raise EvidenceError(f"{what} is not canonical base64url without padding")
    return decoded
