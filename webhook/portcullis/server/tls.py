"""The webhook's TLS: at least 1.2, HTTP/1.1 only, and a certificate that is changed while connections go on.

HTTP/2 is not offered: the API server speaks it to loopback hosts only, and a GOAWAY costs admissions. New bytes are
proven in a context of their own first, because ``load_cert_chain`` with a key that does not match leaves a context
without any usable pair.
"""

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509

from portcullis.cluster.certificate import SelfManagedCertificate
from portcullis.cluster.certificateissuing import Lives, Pair, read_certificates
from portcullis.errors import ConfigError
from portcullis.ports import Clock
from portcullis.server.files import read_bounded
from portcullis.server.sections import Server as ServerSection
from portcullis.text import clean

FILE_BYTES = 256 * 1024
POLL_SECONDS = 5.0
"""Mounted Secrets are swapped by a symbolic link, which file watches miss: the content is compared."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not listened on

log = structlog.get_logger(__name__)

PairSource = Callable[[datetime], Pair]
"""Reads the pair to serve with at that time; may block. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class CertificateState:
    """What is served now. ``problem`` says why the newest files are not, "" where they are."""

    not_before: datetime
    not_after: datetime
    problem: str = ""
    missing: bool = False
    """Whether there is none to serve with yet; the times say nothing then."""


def files_source(cert_file: Path, key_file: Path, section: str = "server.tls") -> PairSource:
    """The pair in two PEM files, which ``section`` of the configuration names."""

    def read(now: datetime) -> Pair:  # noqa: ARG001 - files are what they are at any time
        return Pair(
            read_certificate_file(cert_file, f"{section}.certFile"),
            read_certificate_file(key_file, f"{section}.keyFile"),
        )

    return read


def names_of(section: ServerSection) -> tuple[str, ...]:
    """What a self-managed certificate is for."""
    managed = section.tls.self_managed
    served = () if section.address in _WILDCARDS else (section.address,)
    return ("localhost", "127.0.0.1", "::1", *served, *(managed.names if managed is not None else ()))


def lives_of(section: ServerSection) -> Lives:
    """How long what is made holds."""
    managed = section.tls.self_managed
    if managed is None:
        return Lives()
    return Lives(timedelta(days=managed.ca_days), timedelta(days=managed.leaf_days))


def pair_source(section: ServerSection) -> PairSource:
    """Where the configuration says that the pair comes from, where no cluster has to be asked.

    Raises:
        ConfigError: it does not say.
    """
    tls = section.tls
    if tls.cert_file is not None and tls.key_file is not None:
        return files_source(tls.cert_file, tls.key_file)
    if tls.self_managed is None or tls.self_managed.directory is None:
        raise ConfigError("server.tls is missing: set certFile and keyFile, or selfManaged.directory")
    return SelfManagedCertificate(
        directory=tls.self_managed.directory, names=names_of(section), lives=lives_of(section)
    ).ensure


class ServerTls:
    """An SSL context whose pair follows its source.

    Args:
        patient: whether it may begin without a pair, which comes later; until then no handshake succeeds.

    Raises:
        ConfigError: there is no usable pair at the start, and it may not begin without.
    """

    def __init__(self, *, source: PairSource, clock: Clock, patient: bool = False) -> None:
        self._source = source
        self._clock = clock
        self._changed = asyncio.Event()
        self._served = b""
        self.context = _new_context()
        """The same object as long as the program runs: client certificates are asked for on it (app.py)."""
        try:
            pair = source(clock.now())
            self._served, self.state = _hash(pair), _load(self.context, pair)
        except ConfigError as error:
            if not patient:
                raise
            self.state = CertificateState(_NEVER, _NEVER, error.message, missing=True)

    @property
    def served(self) -> bytes:
        """A hash of what is served now; b"" where that is nothing yet."""
        return self._served

    def changed(self) -> None:
        """The source has something new."""
        self._changed.set()

    async def watch(self, interval: float = POLL_SECONDS) -> None:
        """Follows the source until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), interval)
            self._changed.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Takes up what the source has now. What cannot be used is reported in ``state`` and in the log, and the
        pair before it goes on being served."""
        try:
            pair = await asyncio.to_thread(self._source, self._clock.now())
            digest = _hash(pair)
            if digest == self._served:
                self._report("")
                return
            state = self._prove(pair)
            _load(self.context, pair)
        except ConfigError as error:
            self._report(error.message)
            return
        self._served, self.state = digest, state
        log.info("certificate changed", not_after=state.not_after.isoformat())

    def _prove(self, pair: Pair) -> CertificateState:
        """Raises ConfigError unless the pair works and is no step back."""
        state = _load(_new_context(), pair)
        now = self._clock.now()
        served = self.state
        if not served.missing and not state.not_before <= now < state.not_after and now < served.not_after:
            raise ConfigError(
                f"the new certificate holds from {state.not_before.isoformat()} to {state.not_after.isoformat()}, "
                "which is not now"
            )
        return state

    def _report(self, problem: str) -> None:
        if problem and problem != self.state.problem:
            log.error("certificate not changed", problem=problem)
        self.state = replace(self.state, problem=problem)


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(context: ssl.SSLContext, pair: Pair) -> CertificateState:
    try:
        leaf = x509.load_pem_x509_certificates(pair.certificate_pem)[0]
        with _one_file(pair) as path:
            # A password is given so that OpenSSL never asks the terminal for one.
            context.load_cert_chain(path, password="")
    except (ValueError, IndexError):
        raise ConfigError("the certificate is no PEM certificate chain") from None
    except ssl.SSLError as error:
        reason = clean(error.reason or str(error), 120)
        raise ConfigError(f"certificate and key cannot be used together: {reason}") from None
    except OSError as error:
        raise ConfigError(f"the certificate cannot be loaded: {error.strerror}") from None
    return CertificateState(leaf.not_valid_before_utc, leaf.not_valid_after_utc)


@contextmanager
def _one_file(pair: Pair) -> Iterator[str]:
    """Certificate and key as one file, because OpenSSL's Python face reads files only: in memory where the system
    can, so that the very bytes that were hashed are those that are loaded."""
    content = pair.certificate_pem + b"\n" + pair.key_pem
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile("wb") as temporary:
            temporary.write(content)
            temporary.flush()
            yield temporary.name


def _hash(pair: Pair) -> bytes:
    return hashlib.sha256(pair.certificate_pem + b"\0" + pair.key_pem).digest()


def read_authorities(path: Path) -> bytes:
    """The CA of a certificate that is not made here, in PEM.

    Raises:
        ConfigError: it cannot be read, is too large, or holds no certificate.
    """
    content = read_certificate_file(path, "server.tls.caFile")
    if not read_certificates(content):
        raise ConfigError(f"server.tls.caFile: {path} holds no certificate in PEM")
    return content


def read_certificate_file(path: Path, key: str) -> bytes:
    """The bytes of a PEM file that is configured as ``key``.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    return read_bounded(path, FILE_BYTES, f"{key}: {path}")
