"""The section ``trust`` of portcullis.yaml: signers, trusted roots, and who may say what about which image."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from portcullis.errors import InvalidReference
from portcullis.evidence.patterns import PATTERN_CHARS, Pattern, PatternError
from portcullis.evidence.signers import RsaPadding
from portcullis.model.evidence import CarrierKind, PredicateClass
from portcullis.reference.parse import parse_registry
from portcullis.server.sectionbase import ConfigPath, Section

PUBLIC_ROOT = "public"
"""The trusted root that is there without being configured: Sigstore's public instance, as it is built in."""

_PATH = re.compile(r"[a-z0-9._-]+(/[a-z0-9._-]+)*")


class SecretKeySource(Section):
    """A key of a Kubernetes Secret."""

    namespace: str = ""
    """Empty means the namespace that the program runs in."""
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")] = "cosign.pub"
    """Which of its entries; the default is what ``cosign generate-key-pair k8s://`` writes."""


class SignerKeySource(Section):
    """A public key in PEM: from a file, from a Kubernetes Secret, or here. ECDSA on P-256, P-384 or P-521, Ed25519, or
    RSA of 2048 bits and more."""

    file: ConfigPath | None = None
    pem: str = ""
    secret: SecretKeySource | None = None
    """Read once, when the program starts."""
    padding: RsaPadding = RsaPadding.PKCS1V15
    """Of an RSA key's signatures."""
    log_root: str = ""
    """Trusted root whose transparency log must hold an entry for each signature; empty asks for none."""

    @model_validator(mode="after")
    def _one_source(self) -> "SignerKeySource":
        if sum((bool(self.pem), self.file is not None, self.secret is not None)) != 1:
            raise ValueError("either file or pem or secret")
        return self


def _is_read(text: str) -> str:
    """By the verifier's own reader, so that nothing is taken here that is refused there, or means another thing."""
    try:
        Pattern(text)
    except PatternError as error:
        raise ValueError(f"the pattern {error}") from None
    return text


def _is_read_if_any(text: str) -> str:
    return _is_read(text) if text else text


class KeylessSource(Section):
    """A signer who proves his identity to a certificate authority each time (Sigstore)."""

    issuer: Annotated[str, Field(max_length=PATTERN_CHARS)] = ""
    """OpenID issuer, exactly, such as https://token.actions.githubusercontent.com."""
    issuer_pattern: Annotated[str, Field(max_length=PATTERN_CHARS), AfterValidator(_is_read_if_any)] = ""
    """In place of ``issuer``: a regular expression that the whole issuer must match."""
    identity: Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS), AfterValidator(_is_read)]
    """Regular expression that the whole identity in the certificate must match."""
    root: str = PUBLIC_ROOT
    """The trusted root that the certificate must lead to."""
    set_only: bool = True
    """Whether the log's signed promise counts where no proof of inclusion is there, as in cosign's older formats."""

    @model_validator(mode="after")
    def _one_issuer(self) -> "KeylessSource":
        if bool(self.issuer) == bool(self.issuer_pattern):
            raise ValueError("either issuer or issuerPattern")
        return self


class NotationSource(Section):
    """A signer of Notation (Notary Project)."""

    file: ConfigPath | None = None
    """Certificates of the trust store in PEM: authorities, or signing certificates themselves."""
    pem: str = ""
    identities: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """``x509.subject: C=US, ST=WA, O=acme``: attributes that the subject of the certificate must have. ``*`` means
    any."""
    timestamp_file: ConfigPath | None = None
    """Authorities of time-stamps in PEM; without them, no time-stamp counts."""
    signing_authority: bool = False
    """Whether the certificates are those of a signing authority, whose own word on the time of signing counts."""

    @model_validator(mode="after")
    def _one_source(self) -> "NotationSource":
        if bool(self.pem) == (self.file is not None):
            raise ValueError("either file or pem")
        return self


class SignerSource(Section):
    """One signer: a key, an identity, or a trust store of Notation."""

    key: SignerKeySource | None = None
    keyless: KeylessSource | None = None
    notation: NotationSource | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "SignerSource":
        if sum(kind is not None for kind in (self.key, self.keyless, self.notation)) != 1:
            raise ValueError("either key or keyless or notation")
        return self


class RootSection(Section):
    """A trusted root: certificate authorities, transparency logs, time-stamp authorities."""

    builtin: Literal["sigstore"] | None = None
    """Sigstore's public instance, as it was when this version was made."""
    file: ConfigPath | None = None
    """A trusted_root.json, or a client trust configuration. Read once, when the program starts."""

    @model_validator(mode="after")
    def _one_source(self) -> "RootSection":
        if (self.builtin is None) == (self.file is None):
            raise ValueError("either builtin or file")
        return self


class AcceptRule(Section):
    """``signers`` may say things of these ``predicates``."""

    predicates: Annotated[tuple[PredicateClass, ...], Field(min_length=1)]
    signers: Annotated[tuple[str, ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=1, le=100)] = 1
    """How many of them must have signed the same."""
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 3660)] | None = None
    """Of VEX: how long a statement counts."""

    @model_validator(mode="after")
    def _reachable(self) -> "AcceptRule":
        if self.count > len(set(self.signers)):
            raise ValueError(f"count is {self.count}, and there are {len(set(self.signers))} signers")
        if self.max_age_hours is not None and PredicateClass.VEX not in self.predicates:
            raise ValueError("maxAgeHours goes with the predicates vex")
        return self


class ImagesRule(Section):
    """What is accepted about some images."""

    images: Annotated[tuple[str, ...], Field(min_length=1)]
    """``registry.example/acme/**``: ``*`` stands for a whole segment, ``**`` for any number of them."""
    accept: Annotated[tuple[AcceptRule, ...], Field(min_length=1)]


def _repository(text: str) -> str:
    registry, _, path = text.partition("/")
    try:
        parse_registry(registry)
    except InvalidReference as error:
        raise ValueError(error.message) from None
    if not _PATH.fullmatch(path):
        raise ValueError("registry/repository without tag or digest is expected")
    return text


class AttestationRepository(Section):
    """Another repository where attestations lie."""

    images: Annotated[tuple[str, ...], Field(min_length=1)]
    """Images whose attestations are looked for there, too; patterns as in rules."""
    repository: Annotated[str, AfterValidator(_repository)]


class TrustSection(Section):
    """Who may say what about which image."""

    signers: dict[str, SignerSource] = Field(default_factory=dict)
    roots: dict[str, RootSection] = Field(default_factory=dict)
    """Trusted roots by name. ``public``, Sigstore's public instance, is there without being named."""
    rules: tuple[ImagesRule, ...] = ()
    predicates: dict[str, PredicateClass] = Field(default_factory=dict)
    """What a type of predicate is about, where it is one of your own or is to be read otherwise than usual."""
    carriers: Annotated[tuple[CarrierKind, ...], Field(min_length=1)] = tuple(CarrierKind)
    """Where attestations are looked for."""
    repositories: tuple[AttestationRepository, ...] = ()

    @field_validator("signers")
    @classmethod
    def _named(cls, signers: dict[str, SignerSource]) -> dict[str, SignerSource]:
        if "" in signers:
            raise ValueError("a signer has no name")
        return signers

    @model_validator(mode="after")
    def _known_names(self) -> "TrustSection":
        for rule in self.rules:
            for accept in rule.accept:
                for name in accept.signers:
                    if name not in self.signers:
                        raise ValueError(f"a rule names the signer {name[:80]!r}, which signers does not have")
        for name, signer in self.signers.items():
            root = signer.key.log_root if signer.key else signer.keyless.root if signer.keyless else ""
            if root and root != PUBLIC_ROOT and root not in self.roots:
                raise ValueError(f"the signer {name[:80]!r} names the root {root[:80]!r}, which roots does not have")
        return self
