"""Trust: which signer may speak of what about which image (``trust`` of the configuration).

A key that is configured is not a key that is believed in everything: whoever signs SBOMs must not be able to
sign away a vulnerability, nor one team's key speak about another team's images. So each attestation is bound to
the signer that verified it, and a rule must let that signer speak of that class of predicate about that image.
Rules add up: what any rule allows is allowed, and what none allows is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from portcullis.errors import ConfigError
from portcullis.evidence.images import ImagePattern, parse_pattern
from portcullis.evidence.keys import TrustedKey, fingerprint, load_public_key
from portcullis.evidence.refusal import ATTESTATION_UNTRUSTED, EvidenceError, shown
from portcullis.model.evidence import PredicateClass, Signer
from portcullis.model.image import Repository


@dataclass(frozen=True, slots=True)
class SignerKey:
    """A signer and its public key in PEM."""

    name: str
    public_key_pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accept:
    """``signers`` (by name) may speak of ``predicates``."""

    predicates: tuple[PredicateClass, ...]
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustRule:
    """What is accepted about images whose ``registry/repository`` matches one of ``images`` (see images.py)."""

    images: tuple[str, ...]
    accept: tuple[Accept, ...]


class Trust:
    """The rules, parsed and checked.

    Args:
        signers: keys by name.
        rules: without any, nothing is believed.

    Raises:
        ConfigError: a key that cannot be used, a name or key that stands twice, a rule that names an unknown
            signer, says nothing, or has a malformed pattern.
    """

    def __init__(self, *, signers: Sequence[SignerKey], rules: Sequence[TrustRule]) -> None:
        self._keys = tuple(_load(signer) for signer in signers)
        _refuse_twins(self._keys)
        known = {trusted.signer.name for trusted in self._keys}
        self._rules = tuple((_patterns(rule), _checked(rule, known)) for rule in rules)

    @property
    def keys(self) -> tuple[TrustedKey, ...]:
        """Every configured key: a signature is tried with each of them."""
        return self._keys

    def accept(self, repository: Repository, about: PredicateClass, signers: Sequence[Signer]) -> Signer:
        """The first of ``signers``, all of which signed one statement, that may speak of ``about`` for an image
        of ``repository``.

        Raises:
            EvidenceError: no rule covers the image, or none of them may (attestation-untrusted).
        """
        covering = [
            accepts for patterns, accepts in self._rules if any(pattern.matches(repository) for pattern in patterns)
        ]
        if not covering:
            raise EvidenceError(f"no trust rule covers {shown(repository)}", ATTESTATION_UNTRUSTED)
        allowed = {
            name for accepts in covering for accept in accepts if about in accept.predicates for name in accept.signers
        }
        for signer in signers:
            if signer.name in allowed:
                return signer
        who = " and ".join(f'"{signer.name}"' for signer in signers)
        raise EvidenceError(
            f"signer {who} is not trusted for {about} attestations about {shown(repository)}", ATTESTATION_UNTRUSTED
        )


def _load(signer: SignerKey) -> TrustedKey:
    if not signer.name:
        raise ConfigError("a signer has no name")
    try:
        key = load_public_key(signer.public_key_pem)
    except ConfigError as error:
        raise ConfigError(f'signer "{signer.name}": {error.message}') from None
    return TrustedKey(Signer(name=signer.name, kind="key"), key, fingerprint(key))


def _refuse_twins(keys: Sequence[TrustedKey]) -> None:
    """Two names for one key would make it a matter of order who is said to have signed."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for trusted in keys:
        name = trusted.signer.name
        if name in names:
            raise ConfigError(f'signer "{name}" stands twice')
        names.add(name)
        if (owner := owners.setdefault(trusted.fingerprint, name)) != name:
            raise ConfigError(f'signers "{owner}" and "{name}" have the same key')


def _patterns(rule: TrustRule) -> tuple[ImagePattern, ...]:
    if not rule.images:
        raise ConfigError("a trust rule names no images")
    return tuple(parse_pattern(text) for text in rule.images)


def _checked(rule: TrustRule, known: set[str]) -> tuple[Accept, ...]:
    if not rule.accept:
        raise ConfigError(f"the trust rule for {shown(rule.images[0])} accepts nothing")
    for accept in rule.accept:
        if not accept.predicates or not accept.signers:
            raise ConfigError(f"the trust rule for {shown(rule.images[0])} needs predicates and signers")
        for name in accept.signers:
            if name not in known:
                raise ConfigError(f"the trust rule for {shown(rule.images[0])} names the unknown signer {shown(name)}")
    return rule.accept
