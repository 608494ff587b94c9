"""Certificate chains of Notation (notaryproject/specifications, signature-specification.md, "Certificate
Requirements").

Of a certificate's extensions only basic constraints, key usage and extended key usage are looked at: the specification
says that the others must not be. Revocation (OCSP, CRL) is not looked up: it would need the network while a request
waits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portcullis.evidence.refusal import ATTESTATION_EXPIRED, EvidenceError
from portcullis.times import rfc3339

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_LEAST_RSA_BITS: Final = 2048
_LEAST_EC_BITS: Final = 256
_OTHER_USES: Final = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
        ExtendedKeyUsageOID.TIME_STAMPING,
        ExtendedKeyUsageOID.OCSP_SIGNING,
    }
)

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    KeyError,  # a name with a value of an unknown type
    OverflowError,
    Warning,  # where these are errors: numbers and names that RFC 5280 does not allow
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """What cryptography raises, late and of many kinds, becomes an EvidenceError that says ``what``."""
    try:
        yield
    except _UNREADABLE:
        raise EvidenceError(f"{what} cannot be read") from None


def load_chain(certificates: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Raises:
    EvidenceError: one is no X.509 certificate.
    """
    chain = []
    for place, der in enumerate(certificates):
        with reading(_name(place)):
            certificate = x509.load_der_x509_certificate(der)
            # Nobody signed how many bits of its last octet a signature leaves out. It leaves out none, or one
            # certificate could be written in several ways.
            if not der.endswith(b"\x00" + certificate.signature):
                raise ValueError("a signature that is not whole octets")
            chain.append(certificate)
    return tuple(chain)


def require_code_signing(chain: Sequence[x509.Certificate]) -> None:
    """A chain that is complete, in order, and made for signing code.

    Raises:
        EvidenceError: it is none (attestation-invalid).
    """
    if len(set(chain)) != len(chain):
        raise EvidenceError("the chain has one certificate twice")
    for place, certificate in enumerate(chain):
        issuer = chain[min(place + 1, len(chain) - 1)]
        with reading(_name(place)):
            _require_issued(certificate, issuer, place)
            if place == 0:
                _require_leaf(certificate)
            else:
                _require_authority(certificate, place)


def require_valid(chain: Sequence[x509.Certificate], first: datetime, last: datetime, when: str) -> None:
    """Each certificate was valid from ``first`` to ``last``; both ends of a validity belong to it.

    Raises:
        EvidenceError: one was not (attestation-expired); ``when`` says in words why it is asked about that time.
    """
    for place, certificate in enumerate(chain):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if first < begin or last > end:
            raise EvidenceError(
                f"{_name(place)} is valid from {rfc3339(begin)} to {rfc3339(end)}, "
                f"which {when} ({rfc3339(first, 'seconds')}) is not in",
                ATTESTATION_EXPIRED,
            )


def _require_issued(certificate: x509.Certificate, issuer: x509.Certificate, place: int) -> None:
    if not isinstance(certificate.signature_hash_algorithm, _HASHES):
        raise EvidenceError(f"{_name(place)} is signed with another hash than SHA-256, SHA-384 or SHA-512")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        which = "itself, as the last one must be" if certificate is issuer else "the next one"
        raise EvidenceError(f"{_name(place)} is not issued by {which}") from None


def _require_leaf(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise EvidenceError("the signing certificate is one of an authority")
    usage = _key_usage(certificate, 0)
    if not usage.digital_signature:
        raise EvidenceError("the signing certificate is not for digital signatures")
    if (
        usage.key_encipherment
        or usage.data_encipherment
        or usage.key_agreement
        or usage.key_cert_sign
        or usage.crl_sign
    ):
        raise EvidenceError("the signing certificate is for more than digital signatures")
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if extended is not None and (others := [use for use in extended.value if use in _OTHER_USES]):
        raise EvidenceError(f"the signing certificate is for other things than code ({others[0].dotted_string})")


def _require_authority(certificate: x509.Certificate, place: int) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        raise EvidenceError(f"{_name(place)} is not one of an authority")
    length = constraints.value.path_length
    if length is not None and length < place - 1:
        raise EvidenceError(f"{_name(place)} allows {length} authorities below it, and there are {place - 1}")
    if not _key_usage(certificate, place).key_cert_sign:
        raise EvidenceError(f"{_name(place)} is not for signing certificates")
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        strong = key.key_size >= _LEAST_RSA_BITS
    else:
        strong = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= _LEAST_EC_BITS
    if not strong:
        raise EvidenceError(f"{_name(place)} has a key that is too short, or neither RSA nor ECDSA")


def _key_usage(certificate: x509.Certificate, place: int) -> x509.KeyUsage:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise EvidenceError(f"{_name(place)} has no critical key usage")
    return usage.value


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> "x509.Extension[_Extension] | None":
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _name(place: int) -> str:
    return "the signing certificate" if place == 0 else f"certificate {place + 1} of the chain"
