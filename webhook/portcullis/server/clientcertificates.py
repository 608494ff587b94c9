"""Client certificates on the webhook's port, by which the API server can be told from everybody else in the cluster.

A certificate is the API server's if

 (1) TLS has verified it when the connection was made: it is signed, chain by chain, up to an authority of the file,
     and is meant for clients. Whoever shows another one gets no connection; whoever shows none gets one;
 (2) the authority that signed it stands in the file as it is now. An SSL context forgets no authority, so that one
     which was taken out of the file must be refused here;
 (3) it and that authority hold now. OpenSSL is told not to look at times: the connection would be refused, and with it
     every pod of the cluster, on the day that the API server's certificate ends. So it is a caller like any other;
 (4) it has exactly one common name, and that is one of those that are configured, letter by letter.

Sessions that TLS resumes do not count: their certificate was verified some other time. The API server resumes none.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from portcullis.errors import ConfigError
from portcullis.limits import Limits
from portcullis.ports import Clock
from portcullis.server.files import read_bounded

PEER: Final = "portcullis.peer"
"""Where the scope of a request has the PeerCertificate of its connection, if there is one."""
POLL_SECONDS: Final = 5.0
_KEY: Final = "cluster.caller.clientCertificate.caFile"
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (OpenSSL's x509_vfy.h), which Python's ssl has no name for."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Span:
    """When a certificate counts."""

    begin: datetime
    end: datetime


@dataclass(slots=True, eq=False)
class PeerCertificate:
    """What a client showed when its connection was made, verified by TLS. ``found`` is what was made of it under the
    authorities ``under``."""

    der: bytes = field(repr=False)
    under: bytes = b""
    found: _Span | None = None


def peer_certificate(connection: ssl.SSLObject | None) -> PeerCertificate | None:
    """The certificate that the other side of a connection showed; None where it showed none or resumed a session."""
    if connection is None or connection.session_reused:
        return None
    der = connection.getpeercert(binary_form=True)
    return PeerCertificate(der) if der else None


class ClientCertificates:
    """The authorities in a file, which is read again when it changes, and the names that count.

    Args:
        path: PEM; each certificate in it may sign clients' certificates, be it a root or not.
        names: common names.
        limits: ``ca_file_bytes``.

    Raises:
        ConfigError: the file cannot be used at the start.
    """

    def __init__(self, *, path: Path, names: Collection[str], limits: Limits, clock: Clock) -> None:
        self._path = path
        self._names = frozenset(names)
        self._limits = limits
        self._clock = clock
        self._contexts: list[ssl.SSLContext] = []
        self._content = b""
        self._revision = b""
        self._authorities: tuple[x509.Certificate, ...] = ()
        self.problem = ""
        """Why the newest content of the file is not used, "" where it is."""
        self.not_after: datetime | None = None
        """When the certificate ends by which the API server was known last; None before it called."""
        self._take(self._read())

    def ask(self, context: ssl.SSLContext) -> None:
        """Has ``context`` ask clients for a certificate from now on."""
        context.verify_flags = ssl.VerifyFlags(
            context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        )
        context.load_verify_locations(cadata=_pem(self._authorities))
        context.verify_mode = ssl.CERT_OPTIONAL
        self._contexts.append(context)

    def knows(self, peer: PeerCertificate) -> bool:
        """Whether it is the API server's."""
        if peer.under != self._revision:
            peer.found, peer.under = self._judged(peer.der), self._revision
        if peer.found is None or not peer.found.begin <= self._clock.now() < peer.found.end:
            return False
        self.not_after = peer.found.end
        return True

    async def watch(self, interval: float = POLL_SECONDS) -> None:
        """Follows the file until cancelled."""
        while True:
            await asyncio.sleep(interval)
            await self.refresh()

    async def refresh(self) -> None:
        """Takes up what the file holds now. What cannot be used is reported, and what was before it goes on."""
        try:
            content = await asyncio.to_thread(self._read)
            if content != self._content:
                self._take(content)
                log.info("authorities of client certificates changed", count=len(self._authorities))
        except ConfigError as error:
            if error.message != self.problem:
                log.error("authorities of client certificates not changed", problem=error.message)
            self.problem = error.message
            return
        self.problem = ""

    def _read(self) -> bytes:
        return read_bounded(self._path, self._limits.ca_file_bytes, f"{_KEY}: {self._path}")

    def _take(self, content: bytes) -> None:
        """Raises ConfigError, and then nothing has changed."""
        authorities = _authorities(content, f"{_KEY}: {self._path}")
        text = _pem(authorities)
        try:
            for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), *self._contexts):
                context.load_verify_locations(cadata=text)
        except ssl.SSLError as error:
            raise ConfigError(f"{_KEY}: {self._path} cannot be used: {error.reason or error}") from None
        self._authorities, self._content = authorities, content
        self._revision = hashlib.sha256(text.encode()).digest()

    def _judged(self, der: bytes) -> _Span | None:
        """Steps (2) and (4) for a certificate; for step (3), when it holds."""
        try:
            leaf = x509.load_der_x509_certificate(der)
            names = [attribute.value for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        except (ValueError, UnsupportedAlgorithm):
            return None
        if len(names) != 1 or names[0] not in self._names:
            return None
        spans = [
            _Span(
                max(leaf.not_valid_before_utc, authority.not_valid_before_utc),
                min(leaf.not_valid_after_utc, authority.not_valid_after_utc),
            )
            for authority in self._issuers(leaf)
        ]
        return max(spans, key=lambda span: span.end, default=None)

    def _issuers(self, leaf: x509.Certificate) -> Iterator[x509.Certificate]:
        """Those that signed it. One authority may stand there twice: renewed, with the same key."""
        for authority in self._authorities:
            try:
                leaf.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                continue
            yield authority


def _authorities(content: bytes, named: str) -> tuple[x509.Certificate, ...]:
    try:
        found = tuple(x509.load_pem_x509_certificates(content))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{named} holds no certificates in PEM, or one that cannot be read") from None
    for number, certificate in enumerate(found, start=1):
        if not _is_authority(certificate):
            raise ConfigError(f"{named}: certificate {number} is no certificate authority's")
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints: Any = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return bool(constraints.ca)


def _pem(certificates: Collection[x509.Certificate]) -> str:
    """Without the comments that people write around certificates, which OpenSSL need not see."""
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)
