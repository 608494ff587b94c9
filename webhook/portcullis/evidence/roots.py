"""Trusted roots: whose certificates, logs and time-stamps count (protobuf-specs, ``sigstore_trustroot.proto``).

A root is the operator's word, not evidence: what is wrong with one is a ConfigError, and the gate does not start with
it. What it lists counts from ``validFor.start`` to ``validFor.end``, both included. Kinds of keys that are not known
here are passed over: the logs that have them stay listed, so that they are still demanded, and prove nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from portcullis.errors import ConfigError
from portcullis.evidence.certificates import load_certificate
from portcullis.evidence.decode import decode_base64, decode_typed, require_strict
from portcullis.evidence.refusal import EvidenceError, shown
from portcullis.evidence.signed import MIN_RSA_BITS, PublicKey, signature_holds
from portcullis.evidence.signers import RootSource
from portcullis.limits import Limits
from portcullis.times import parse_rfc3339

TRUSTED_ROOT_MEDIA_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_ROOT_MEDIA_TYPES = frozenset(
    {
        TRUSTED_ROOT_MEDIA_TYPE,
        "application/vnd.dev.sigstore.trustedroot.v0.1+json",
        "application/vnd.dev.sigstore.trustedroot.v0.2+json",
        "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    }
)
_CONFIG_MEDIA_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"

# Where the package sigstore keeps the root of the public instance, as it was when the package was released.
_PUBLIC = ("_store", "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", "trusted_root.json")

_Hash = hashes.HashAlgorithm | None
_KINDS: dict[str, tuple[type[PublicKey], _Hash]] = {
    "PKIX_ECDSA_P256_SHA_256": (ec.EllipticCurvePublicKey, hashes.SHA256()),
    "PKIX_ECDSA_P384_SHA_384": (ec.EllipticCurvePublicKey, hashes.SHA384()),
    "PKIX_ECDSA_P521_SHA_512": (ec.EllipticCurvePublicKey, hashes.SHA512()),
    "PKIX_ED25519": (ed25519.Ed25519PublicKey, None),
    "PKCS1_RSA_PKCS1V5": (rsa.RSAPublicKey, hashes.SHA256()),
    "PKIX_RSA_PKCS1V15_2048_SHA256": (rsa.RSAPublicKey, hashes.SHA256()),
    "PKIX_RSA_PKCS1V15_3072_SHA256": (rsa.RSAPublicKey, hashes.SHA256()),
    "PKIX_RSA_PKCS1V15_4096_SHA256": (rsa.RSAPublicKey, hashes.SHA256()),
}


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when something counts, both included; ``end`` is None where it still does."""

    start: datetime
    end: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment and (self.end is None or moment <= self.end)


@dataclass(frozen=True, slots=True)
class Log:
    """A log with its key; ``key`` is None where it is of a kind that is not known here."""

    url: str
    id: bytes
    key: PublicKey | None = field(repr=False)
    algorithm: _Hash = field(repr=False)
    window: Window = field(repr=False)

    def signed(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` is one of the log's key."""
        return self.key is not None and signature_holds(self.key, signature, data, self.algorithm)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority, or one for time-stamps: its certificates, the root last."""

    certificates: tuple[x509.Certificate, ...]
    window: Window


@dataclass(frozen=True, slots=True)
class RootAge:
    """How current a root is, for metrics and readiness. An old root knows nothing of a log or an authority that was
    set up since, and everything that is signed with these is denied until the root is renewed.

    Args:
        newest: the newest ``validFor.start`` in it.
        authority, log, timestamps: whether one that can be used counts now; None where the root lists none at all.
    """

    newest: datetime
    authority: bool | None
    log: bool | None
    timestamps: bool | None

    @property
    def current(self) -> bool:
        """Whether of each kind that it lists one counts now."""
        return False not in (self.authority, self.log, self.timestamps)


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """A root, read. ``text`` is the JSON of the root alone, for the library that reads it in its own way.

    GitHub's for private repositories, and those of firms, have neither ``logs`` nor ``ct_logs``.
    """

    name: str
    authorities: tuple[Authority, ...]
    logs: tuple[Log, ...]
    ct_logs: tuple[Log, ...]
    stampers: tuple[Authority, ...]
    text: bytes = field(repr=False)

    @property
    def proves_times(self) -> bool:
        """Whether it lists anybody who could prove when something was signed, known here or not."""
        return bool(self.logs or self.stampers)

    def age(self, now: datetime) -> RootAge:
        def counts(listed: Sequence[Log | Authority], usable: Sequence[Log | Authority]) -> bool | None:
            return any(one.window.holds(now) for one in usable) if listed else None

        everything: tuple[Log | Authority, ...] = (*self.authorities, *self.logs, *self.stampers)
        return RootAge(
            newest=max(one.window.start for one in everything),
            authority=counts(self.authorities, self.authorities),
            log=counts(self.logs, [log for log in self.logs if log.key is not None]),
            timestamps=counts(self.stampers, self.stampers),
        )


class _Range(msgspec.Struct, rename="camel"):
    start: str | None = None
    end: str | None = None


class _Key(msgspec.Struct, rename="camel"):
    raw_bytes: str
    key_details: str
    valid_for: _Range | None = None


class _Id(msgspec.Struct, rename="camel"):
    key_id: str


class _Log(msgspec.Struct, rename="camel"):
    public_key: _Key
    log_id: _Id
    base_url: str = ""


class _Certificate(msgspec.Struct, rename="camel"):
    raw_bytes: str


class _Chain(msgspec.Struct, rename="camel"):
    certificates: list[_Certificate]


class _Authority(msgspec.Struct, rename="camel"):
    cert_chain: _Chain
    valid_for: _Range | None = None
    uri: str = ""


class _Root(msgspec.Struct, rename="camel"):
    media_type: str = ""
    certificate_authorities: list[_Authority] = []
    tlogs: list[_Log] = []
    ctlogs: list[_Log] = []
    timestamp_authorities: list[_Authority] = []


class _Document(msgspec.Struct, rename="camel"):
    media_type: str = ""
    trusted_root: msgspec.Raw = msgspec.Raw()


def load_root(source: RootSource, limits: Limits) -> TrustedRoot:
    """The root in ``source``: a trusted_root.json, a client trust config, or the public one that is built in.

    Args:
        limits: ``trusted_root_bytes``, and those of JSON.

    Raises:
        ConfigError: it cannot be used; names the root and what is wrong.
    """
    content = _public_root() if source.content is None else source.content
    try:
        if len(content) > limits.trusted_root_bytes:
            raise EvidenceError(
                f"it has {len(content)} bytes; the limit trustedRootBytes is {limits.trusted_root_bytes}"
            )
        require_strict(content, limits=limits, what="it")
        return _read(source.name, _inner(content))
    except EvidenceError as error:
        raise ConfigError(f"the trusted root {shown(source.name)} cannot be used: {error.message}") from None


def _public_root() -> bytes:
    place = files("sigstore")
    for part in _PUBLIC:
        place = place / part
    try:
        return place.read_bytes()
    except OSError:
        raise ConfigError("the package sigstore has no built-in root: configure the root as a file") from None


def _inner(content: bytes) -> bytes:
    """The root's own JSON, which a client trust config has in it."""
    document = decode_typed(content, _Document, "it")
    if document.media_type != _CONFIG_MEDIA_TYPE:
        return content
    if not document.trusted_root:
        raise EvidenceError("it is a client trust config without a trustedRoot")
    return bytes(document.trusted_root)


def _read(name: str, text: bytes) -> TrustedRoot:
    root = decode_typed(text, _Root, "it")
    if root.media_type not in _ROOT_MEDIA_TYPES:
        raise EvidenceError(f"its mediaType {shown(root.media_type)} is not that of a trusted root")
    if not root.certificate_authorities and not root.tlogs and not root.timestamp_authorities:
        raise EvidenceError("it lists no certificate authority, no log and no time-stamp authority")
    return TrustedRoot(
        name=name,
        authorities=tuple(_authority(one, "certificateAuthorities") for one in root.certificate_authorities),
        logs=tuple(_log(one, "tlogs") for one in root.tlogs),
        ct_logs=tuple(_log(one, "ctlogs") for one in root.ctlogs),
        stampers=tuple(_authority(one, "timestampAuthorities") for one in root.timestamp_authorities),
        text=text,
    )


def _log(given: _Log, where: str) -> Log:
    what = f"the key of {shown(given.base_url)} in {where}"
    der = decode_base64(given.public_key.raw_bytes, what)
    window = _window(given.public_key.valid_for, what)
    log_id = decode_base64(given.log_id.key_id, f"the logId of {shown(given.base_url)} in {where}")
    kind, algorithm = _KINDS.get(given.public_key.key_details, (None, None))
    if kind is None:
        return Log(given.base_url, log_id, None, None, window)
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise EvidenceError(f"{what} is no public key that can be read") from None
    if not isinstance(key, kind) or (isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS):
        raise EvidenceError(f"{what} is not of the kind {given.public_key.key_details} that stands beside it")
    return Log(given.base_url, log_id, key, algorithm, window)


def _authority(given: _Authority, where: str) -> Authority:
    what = f"the chain of {shown(given.uri)} in {where}"
    if not given.cert_chain.certificates:
        raise EvidenceError(f"{what} holds no certificate")
    certificates = []
    for one in given.cert_chain.certificates:
        der = decode_base64(one.raw_bytes, what)
        try:
            certificates.append(load_certificate(der))
        except EvidenceError as error:
            raise EvidenceError(f"in {what}, {error.message}") from None
    return Authority(tuple(certificates), _window(given.valid_for, what))


def _window(given: _Range | None, what: str) -> Window:
    start = _time(given.start if given else None, what)
    if start is None:
        # Without a start a key would count for all times before it was made.
        raise EvidenceError(f"{what} has no validFor.start")
    return Window(start, _time(given.end if given else None, what))


def _time(text: str | None, what: str) -> datetime | None:
    try:
        return parse_rfc3339(text or "")
    except ValueError:
        raise EvidenceError(f"{what} has a validFor that is no RFC 3339 time") from None
