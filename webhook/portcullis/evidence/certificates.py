"""Certificates of keyless signers: the profile that they must have, and the way to a trusted authority.

The profile is that of Fulcio (github.com/sigstore/fulcio, docs/certificate-specification.md and docs/oid-info.md);
a firm's own authority may issue the like with EKU codeSigning.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from portcullis.evidence.refusal import (
    ATTESTATION_EXPIRED,
    ATTESTATION_UNSUPPORTED,
    ATTESTATION_UNTRUSTED,
    EvidenceError,
    shown,
)
from portcullis.evidence.signed import PublicKey, is_read
from portcullis.text import clean
from portcullis.times import rfc3339

_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")

_IDENTITY_CHARS = 2048
_WHY_CHARS = 160
_UTF8_STRING = 0x0C

UNREADABLE: Final = (
    ValueError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    Warning,
)
"""What cryptography raises for certificates that it cannot read. It warns of those that it will not read in later
versions: where warnings are errors, that is a refusal already."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate says of who signed: ``name`` is its subject alternative name, ``issuer`` the OpenID issuer
    that vouched for it, "" where it names none."""

    name: str
    issuer: str


def load_certificate(der: bytes) -> x509.Certificate:
    """A certificate whose extensions can be read.

    Raises:
        EvidenceError: it is none (attestation-invalid).
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Read here, since cryptography reads them late and raises then.
        _ = certificate.extensions, certificate.subject, certificate.issuer
    except UNREADABLE as error:
        raise EvidenceError(f"a certificate cannot be read: {clean(str(error), _WHY_CHARS)}") from None
    return certificate


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it is an authority that vouches for itself."""
    constraints = extension(certificate, x509.BasicConstraints)
    return certificate.subject == certificate.issuer and constraints is not None and constraints.ca


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def require_profile(leaf: x509.Certificate) -> None:
    """That the certificate is one for signing code: no authority, KU digitalSignature, EKU codeSigning.

    Raises:
        EvidenceError: it is not (attestation-invalid).
    """
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise EvidenceError("the signing certificate is that of a certificate authority")
    usage = extension(leaf, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise EvidenceError("the signing certificate has no key usage digitalSignature")
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise EvidenceError("the signing certificate has no extended key usage codeSigning")


def identity_of(leaf: x509.Certificate) -> Identity:
    """Who a certificate says it is for.

    Fulcio writes exactly one name. With more it would be left open which one is meant, so that is refused.

    Raises:
        EvidenceError: it has not one name of a kind that is read (attestation-invalid).
    """
    names = extension(leaf, x509.SubjectAlternativeName)
    found = list(names) if names is not None else []
    if len(found) != 1:
        raise EvidenceError(f"the signing certificate has {len(found)} subject alternative names, not one")
    match found[0]:
        case x509.RFC822Name(value=name) | x509.UniformResourceIdentifier(value=name) | x509.DNSName(value=name):
            pass
        case x509.OtherName(type_id=kind, value=value) if kind == _OTHER_NAME:
            name = _utf8_string(value, "the other name of the signing certificate")
        case _:
            raise EvidenceError("the signing certificate has a subject alternative name of a kind that is not read")
    if not 0 < len(name) <= _IDENTITY_CHARS:
        raise EvidenceError(f"the identity in the signing certificate has {len(name)} characters")
    return Identity(name, _issuer(leaf))


def _issuer(leaf: x509.Certificate) -> str:
    for oid in (_ISSUER_V2, _ISSUER_V1):
        try:
            value = leaf.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            continue
        assert isinstance(value, x509.UnrecognizedExtension)
        what = "the issuer in the signing certificate"
        # The older extension holds the bare text, without a tag.
        text = _utf8_string(value.value, what) if oid == _ISSUER_V2 else _utf8(value.value, what)
        if len(text) > _IDENTITY_CHARS:
            raise EvidenceError(f"{what} has {len(text)} characters")
        return text
    return ""


def _utf8_string(der: bytes, what: str) -> str:
    """A DER UTF8String with a length in one byte or up to two more (X.690, section 8.1.3)."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise EvidenceError(f"{what} is no UTF8String")
    size, start = der[1], 2
    if size > 0x80:
        start = 2 + size - 0x80
        size = int.from_bytes(der[2:start], "big")
    if size == 0x80 or start > 4 or start + size != len(der):
        raise EvidenceError(f"{what} is no UTF8String")
    return _utf8(der[start:], what)


def _utf8(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise EvidenceError(f"{what} is not UTF-8") from None


def require_valid(leaf: x509.Certificate, moment: datetime, *, proven: bool = True) -> None:
    """That the certificate was valid at ``moment``, both ends included (RFC 5280, section 4.1.2.5).

    Args:
        proven: whether it is proven that it was signed then; otherwise ``moment`` is the time of the check.

    Raises:
        EvidenceError: it was not (attestation-expired).
    """
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not start <= moment <= end:
        when = f"it was signed at {rfc3339(moment)}" if proven else f"now, at {rfc3339(moment)}, it is not"
        raise EvidenceError(
            f"its certificate {'was' if proven else 'is'} valid from {rfc3339(start)} to {rfc3339(end)}, and {when}",
            ATTESTATION_EXPIRED,
        )


def names_issuer(chain: Sequence[x509.Certificate], authority: Iterable[x509.Certificate]) -> bool:
    """Whether a certificate of ``chain`` names one of ``authority`` as its issuer, which proves nothing."""
    subjects = {certificate.subject for certificate in authority}
    return any(certificate.issuer in subjects for certificate in chain)


def lead_to(
    chain: Sequence[x509.Certificate], authority: Sequence[x509.Certificate], moment: datetime
) -> Sequence[x509.Certificate]:
    """The proven chain from the leaf to the authority's root at ``moment``.

    Args:
        chain: the leaf, and certificates that came with it: these may stand between, and are never the end.
        authority: the certificates of a trusted authority, the root last. That one alone ends a chain.

    Raises:
        EvidenceError: there is no such chain (attestation-untrusted).
    """
    *between, root = authority
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(moment)
        .extension_policies(ca_policy=_CA, ee_policy=_LEAF)
        .build_client_verifier()
    )
    extra = [certificate for certificate in chain[1:] if not is_root(certificate)]
    try:
        return verifier.verify(chain[0], [*between, *extra]).chain
    except (VerificationError, *UNREADABLE) as error:
        why = clean(str(error), _WHY_CHARS)
        raise EvidenceError(
            f"its certificate does not lead to the trusted authority {shown(root.subject.rfc4514_string())}: {why}",
            ATTESTATION_UNTRUSTED,
        ) from None


def _may_issue_for_code(_: Policy, __: x509.Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
    """An authority that says what it is for must say that it is for signing code: a firm's root may have issued others
    for its web servers, whose keepers could write codeSigning into a leaf."""
    if purposes is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes:
        return
    if ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise ValueError("an authority on the way is not for signing code")


# The rules of the web are the ground, since they demand basic constraints and key usages of authorities. Changed in
# them: the purpose is that of signing code, which require_profile demands of the leaf, and not that of a client; and
# key identifiers may be missing, which certificates of private authorities often lack and which secure nothing.
_CA = (
    ExtensionPolicy.webpki_defaults_ca()
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_issue_for_code)
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    .may_be_present(x509.SubjectKeyIdentifier, Criticality.NON_CRITICAL, None)
)
_LEAF = (
    ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
)


def signing_key(leaf: x509.Certificate) -> PublicKey:
    """The key that a certificate is for.

    Raises:
        EvidenceError: it is of a kind that is not read, or too weak (attestation-unsupported).
    """
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceError(
            "the signing certificate's key is of a kind that is not read", ATTESTATION_UNSUPPORTED
        ) from None
    if not is_read(key):
        raise EvidenceError(
            "the signing certificate's key is none of ECDSA P-256, P-384 or P-521, Ed25519, RSA with 2048 to 8192 bits",
            ATTESTATION_UNSUPPORTED,
        )
    return key
