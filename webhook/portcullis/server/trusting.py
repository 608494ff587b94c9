"""Signers, trusted roots, rules and the gatherer, as the configuration says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from portcullis.errors import ConfigError
from portcullis.evidence.discover import AttestationSource
from portcullis.evidence.gather import EvidenceGatherer
from portcullis.evidence.keyless import KeylessVerifier
from portcullis.evidence.notation import NotationVerifier
from portcullis.evidence.signers import ConfiguredSigner, KeylessSigner, NotationSigner, RootSource, SignerKey
from portcullis.evidence.trust import Accept, Trust, TrustRule
from portcullis.evidence.verifier import AttestationVerifier
from portcullis.limits import Limits
from portcullis.ports import Clock, Marks, Registry
from portcullis.server.health import Check
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics
from portcullis.server.trustsections import AcceptRule


@dataclass(frozen=True, slots=True)
class Trusting:
    """``keyless`` is None where nothing is signed that way; its roots have an age, which is worth a metric."""

    trust: Trust
    verifier: AttestationVerifier
    keyless: KeylessVerifier | None


def trusting(settings: Settings, limits: Limits) -> Trusting:
    """Everything that verifies.

    Raises:
        ConfigError: a key, a certificate, a root or a rule cannot be used.
    """
    _ = settings.trust_files  # what is wrong with a file names its key itself
    try:
        trust = trust_of(settings)
        keyless = _keyless(settings, trust, limits)
        notation = NotationVerifier(signers=trust.notation, limits=limits) if trust.notation else None
        verifier = AttestationVerifier(trust=trust, keyless=keyless, notation=notation, limits=limits)
    except ConfigError as error:
        raise ConfigError(f"trust: {error.message}") from None
    return Trusting(trust, verifier, keyless)


def trust_of(settings: Settings) -> Trust:
    """Who may say what about which image.

    Raises:
        ConfigError: a key or a rule cannot be used.
    """
    rules = [
        TrustRule(images=rule.images, accept=tuple(_accept(accept) for accept in rule.accept))
        for rule in settings.trust.rules
    ]
    return Trust(signers=tuple(_signers(settings)), rules=rules, predicates=settings.trust.predicates)


def observe_roots(trusting: Trusting, clock: Clock, metrics: Metrics) -> None:
    """Binds the age of trusted roots to a metric; it is read when Prometheus asks."""
    keyless = trusting.keyless
    if keyless is None:
        return

    def ages() -> Mapping[str, float]:
        now = clock.now()
        return {name: (now - age.newest).total_seconds() for name, age in keyless.root_ages(now).items()}

    def current() -> Mapping[str, float]:
        return {name: float(age.current) for name, age in keyless.root_ages(clock.now()).items()}

    metrics.gauge_by("trusted_root_age_seconds", "Since the newest part of a trusted root counts.", "root", ages)
    metrics.gauge_by(
        "trusted_root_current", "Whether a trusted root knows what new signatures are made with.", "root", current
    )


def observe_verdicts(gatherer: EvidenceGatherer, metrics: Metrics) -> None:
    """Binds metrics to the remembered verdicts on attestations."""
    verdicts = gatherer.verdicts
    metrics.count_function(
        "attestation_verdicts_hits", "Attestations whose verdict was remembered.", lambda: verdicts.counters.hits
    )
    metrics.count_function(
        "attestation_verdicts_misses", "Attestations that were verified.", lambda: verdicts.counters.misses
    )
    metrics.gauge("attestation_verdicts", "Verdicts on attestations in memory.").set_function(lambda: len(verdicts))
    metrics.gauge("attestation_verdicts_bytes", "Bytes of the attestations that these are on.").set_function(
        lambda: verdicts.bytes
    )


def roots_check(trusting: Trusting, clock: Clock) -> Check:
    """Shown, not decisive: what is signed with the keys that a root knows is verified all the same."""

    async def roots() -> str:
        if trusting.keyless is None:
            return ""
        old = [name for name, age in trusting.keyless.root_ages(clock.now()).items() if not age.current]
        return f"outdated, all new signatures will be refused: {', '.join(sorted(old))}" if old else ""

    def remark() -> str:
        if trusting.keyless is None:
            return "none in use"
        now = clock.now()
        ages = trusting.keyless.root_ages(now)
        return ", ".join(f"{name} {(now - age.newest).days} days" for name, age in sorted(ages.items()))

    return Check("trusted-roots", roots, decisive=False, remark=remark)


def gatherer_of(
    settings: Settings, *, trusting: Trusting, registry: Registry, marks: Marks | None, clock: Clock, limits: Limits
) -> EvidenceGatherer:
    """Args:
    marks: None for commands that remember nothing.
    """
    return EvidenceGatherer(
        registry=registry,
        verifier=trusting.verifier,
        trust=trusting.trust,
        marks=marks,
        clock=clock,
        limits=limits,
        carriers=frozenset(settings.trust.carriers),
        repositories=tuple(
            AttestationSource(images=source.images, repository=source.repository)
            for source in settings.trust.repositories
        ),
    )


def _accept(rule: AcceptRule) -> Accept:
    return Accept(
        predicates=rule.predicates,
        signers=rule.signers,
        count=rule.count,
        max_age=None if rule.max_age_hours is None else timedelta(hours=rule.max_age_hours),
    )


def _signers(settings: Settings) -> Iterator[ConfiguredSigner]:
    files = settings.trust_files
    for name, signer in settings.trust.signers.items():
        if signer.key is not None:
            key = signer.key
            yield SignerKey(name, files.pems[name].encode(), padding=key.padding, log_root=key.log_root)
        if signer.keyless is not None:
            said = signer.keyless
            yield KeylessSigner(
                name=name,
                issuer=said.issuer or said.issuer_pattern,
                identity=said.identity,
                root=said.root,
                issuer_is_pattern=not said.issuer,
                set_only=said.set_only,
            )
        if signer.notation is not None:
            yield NotationSigner(
                name=name,
                certificates_pem=files.pems[name].encode(),
                identities=signer.notation.identities,
                timestamp_pem=files.timestamps.get(name, "").encode(),
                signing_authority=signer.notation.signing_authority,
            )


def _keyless(settings: Settings, trust: Trust, limits: Limits) -> KeylessVerifier | None:
    """The roots that somebody needs are read, and no others: a library of half a second goes with them."""
    wanted = {signer.root for signer in trust.keyless} | {key.log_root for key in trust.keys if key.log_root}
    if not wanted:
        return None
    files = settings.trust_files.roots
    roots = [RootSource(name, files[name].encode() if name in files else None) for name in sorted(wanted)]
    return KeylessVerifier(signers=trust.keyless, roots=roots, limits=limits)
