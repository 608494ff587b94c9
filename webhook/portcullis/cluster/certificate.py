"""A CA and a server certificate of our own, for where nobody else issues them.

The folder holds ``ca.crt`` (what clients trust: the CA, and earlier ones until they expire), ``ca.key``,
``tls.crt`` (leaf, then CA) and ``tls.key``. Whoever can read ``ca.key`` can be the webhook: the folder is 0700 and
its files 0600. Profile: RFC 5280 section 4.2 (AKI, SKI, key usage, basic constraints), RFC 9525 (names in the SAN).
"""

import fcntl
import ipaddress
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portcullis.errors import ConfigError

CA_LIFE = timedelta(days=365)
LEAF_LIFE = timedelta(days=90)
RENEW_BELOW = 1 / 3
"""The part of its life that is left when a certificate is renewed."""
BACKDATED = timedelta(minutes=5)
"""For clients whose clocks are behind."""

FILE_BYTES = 256 * 1024

CA_FILE = "ca.crt"
"""What clients trust, in the folder of a self-managed certificate."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A server certificate with its chain, and its key, both PEM."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class SelfManagedCertificate:
    """Makes the certificate where it is missing, and renews it and its CA in time.

    Args:
        directory: is made if it is missing; several processes may share it.
        names: DNS names and IP addresses of the server; another set makes a new certificate.
    """

    def __init__(self, *, directory: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._sans = [_general_name(name) for name in dict.fromkeys(names)]

    @property
    def ca_file(self) -> Path:
        """The bundle that clients trust."""
        return self._directory / CA_FILE

    def ensure(self, now: datetime) -> Pair:
        """The pair to serve with at ``now``, made or renewed if need be. Blocks on files.

        Raises:
            ConfigError: the folder cannot be used.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                return self._ensure(now)
        except OSError as error:
            raise ConfigError(f"the certificate folder {self._directory} cannot be used: {error.strerror}") from None

    def _ensure(self, now: datetime) -> Pair:
        authority = self._read_authority()
        if authority is None or _due(authority.certificate, now):
            authority = _make_authority(now)
            bundle = [authority.certificate, *(old for old in self._read_bundle() if old.not_valid_after_utc > now)]
            # The key first: a CA without its key is made anew, a key without its CA as well.
            self._write("ca.key", _key_pem(authority.key))
            self._write(CA_FILE, b"".join(_certificate_pem(certificate) for certificate in bundle))
        pair = self._read_pair()
        if pair is None or not self._serves(pair, authority, now):
            pair = _make_leaf(authority, self._sans, now)
            self._write("tls.key", pair.key_pem)
            self._write("tls.crt", pair.certificate_pem)
        return pair

    def _serves(self, pair: Pair, authority: _Authority, now: datetime) -> bool:
        """Whether the pair is whole, signed by this CA, for these names, and not due."""
        try:
            leaf = x509.load_pem_x509_certificates(pair.certificate_pem)[0]
            key = serialization.load_pem_private_key(pair.key_pem, None)
            leaf.verify_directly_issued_by(authority.certificate)
            sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except Exception:  # noqa: BLE001 - cryptography raises many kinds for bad bytes; all mean: make a new one
            return False
        return key.public_key() == leaf.public_key() and set(sans) == set(self._sans) and not _due(leaf, now)

    def _read_authority(self) -> _Authority | None:
        bundle = self._read_bundle()
        pem = self._read("ca.key")
        if not bundle or pem is None:
            return None
        try:
            key = serialization.load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != bundle[0].public_key():
            return None
        return _Authority(bundle[0], key)

    def _read_bundle(self) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates(self._read(CA_FILE) or b"")
        except ValueError:
            return []

    def _read_pair(self) -> Pair | None:
        certificate, key = self._read("tls.crt"), self._read("tls.key")
        return Pair(certificate, key) if certificate is not None and key is not None else None

    def _read(self, name: str) -> bytes | None:
        try:
            with (self._directory / name).open("rb") as stream:
                return stream.read(FILE_BYTES)
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all, also after a power cut."""
        temporary = self._directory / f".{name}.{secrets.token_hex(8)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._directory / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time; the kernel lets go when a holder dies."""
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of its life is left, or it does not hold yet (a clock that was set back)."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    left = certificate.not_valid_after_utc - now
    return left < life * RENEW_BELOW or certificate.not_valid_before_utc > now


def _make_authority(now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # A name of its own for each CA, so that a bundle with two of them is never ambiguous.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Portcullis CA {secrets.token_hex(4)}")])
    certificate = (
        _builder(name, name, key, now, now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _make_leaf(authority: _Authority, sans: Sequence[x509.GeneralName], now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "portcullis")])
    until = min(now + LEAF_LIFE, authority.certificate.not_valid_after_utc)
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
    return Pair(_certificate_pem(leaf) + _certificate_pem(authority.certificate), _key_pem(key))


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


def _general_name(name: str) -> x509.GeneralName:
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


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
