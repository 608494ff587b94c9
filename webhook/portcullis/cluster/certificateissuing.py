"""Makes the certificates of a CA of our own, and the leaves that it signs; reads them again.

Profile: RFC 5280 section 4.2 (AKI, SKI, key usage, basic constraints), RFC 9525 (names in the SAN).
"""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portcullis.errors import ConfigError

CA_LIFE: Final = timedelta(days=365)
LEAF_LIFE: Final = timedelta(days=90)
BACKDATED: Final = timedelta(hours=1)
"""For clients whose clocks are behind, and replicas whose clocks are ahead."""


@dataclass(frozen=True, slots=True)
class Lives:
    """How long certificates hold."""

    authority: timedelta = CA_LIFE
    leaf: timedelta = LEAF_LIFE


DEFAULT_LIVES: Final = Lives()


@dataclass(frozen=True, slots=True)
class Pair:
    """A server certificate with its chain, and its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA and the key it signs with."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def make_authority(now: datetime, life: timedelta = CA_LIFE) -> Authority:
    """A new CA, valid for ``life`` from ``now``."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each CA, so that a bundle with two of them is never ambiguous.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Portcullis CA {secrets.token_hex(4)}")])
    certificate = (
        _builder(name, name, key, now, now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def make_leaf(
    authority: Authority, sans: Sequence[x509.GeneralName], now: datetime, life: timedelta = LEAF_LIFE
) -> Pair:
    """A server certificate for these names, which outlives its CA in no case; followed by the CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portcullis")])
    until = min(now + life, authority.certificate.not_valid_after_utc)
    issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    leaf = (
        _builder(subject, authority.certificate.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(sans), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate_pem(leaf) + certificate_pem(authority.certificate), key_pem(key))


def general_names(names: Sequence[str]) -> tuple[x509.GeneralName, ...]:
    """Addresses and DNS names, each once.

    Raises:
        ConfigError: one is neither.
    """
    return tuple(general_name(name) for name in dict.fromkeys(names))


def general_name(name: str) -> x509.GeneralName:
    """An address or a DNS name.

    Raises:
        ConfigError: neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        if not name or len(name) > 253:
            raise ValueError
        return x509.DNSName(name)
    except ValueError:
        raise ConfigError(f"{name[:80]!r} is neither an IP address nor a DNS name in ASCII") from None


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """Those in a PEM text; none where it is no such text."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    """The key in a PEM text; None where it holds none of ours."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except Exception:  # noqa: BLE001 - cryptography raises many kinds for bad bytes; all mean: there is no key
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def belongs_to(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bool:
    """Whether the certificate is for this key."""
    try:
        return key.public_key() == certificate.public_key()
    except Exception:  # noqa: BLE001 - a kind of key that cryptography does not know is not this one
        return False


def issued_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this CA signed it."""
    try:
        leaf.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - another key, another name, another algorithm: all mean no
        return False
    return True


def left_of(certificate: x509.Certificate, now: datetime) -> float:
    """The part of its life that is left: 1 at its beginning, 0 at its end and after it."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left = certificate.not_valid_after_utc - now
    return max(left / life, 0.0) if life > timedelta() else 0.0


def holds(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether ``now`` is within its life."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
