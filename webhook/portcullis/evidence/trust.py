"""Trust: which signer may speak of what about which image (``trust`` of the configuration).

A signer who is configured is not one who is believed in everything: whoever signs SBOMs must not be able to sign away a
vulnerability, nor one team's key speak about another team's images. So each attestation is bound to the signers whose
signature holds, and a rule must let one of them, or as many of them as it asks for, speak of that class of predicate
about that image. Rules add up: what any rule allows is allowed, and what none allows is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from portcullis.errors import ConfigError
from portcullis.evidence.keys import TrustedKey, load_trusted
from portcullis.evidence.predicates import Classes, classes_of, is_report
from portcullis.evidence.refusal import ATTESTATION_QUORUM, ATTESTATION_UNTRUSTED, EvidenceError, shown
from portcullis.evidence.signers import ConfiguredSigner, KeylessSigner, NotationSigner, SignerKey
from portcullis.model.evidence import PredicateClass, Signer
from portcullis.model.image import Repository
from portcullis.model.imagepattern import ImagePattern, parse_pattern

__all__ = ["Accept", "Acceptance", "SignerKey", "Trust", "TrustRule"]

_NO_PREDICATES: Mapping[str, PredicateClass] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Accept:
    """``signers`` (by name) may speak of ``predicates``.

    Args:
        count: how many of them must have signed the same.
        max_age: how long a statement of VEX counts from the time that it gives itself; None for ever. Other evidence
            has its age judged by policies.
    """

    predicates: tuple[PredicateClass, ...]
    signers: tuple[str, ...]
    count: int = 1
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TrustRule:
    """What is accepted about images whose ``registry/repository`` matches one of ``images`` (see images.py)."""

    images: tuple[str, ...]
    accept: tuple[Accept, ...]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Why something is believed: ``signer`` says it, ``needed`` had to. ``max_age`` is that of the rule (see
    :class:`Accept`)."""

    signer: Signer
    needed: int
    max_age: timedelta | None


class Trust:
    """The rules, parsed and checked.

    Args:
        signers: of all kinds; no name stands twice, nor does a key.
        rules: without any, nothing is believed.
        predicates: what the operator's own predicate types, or media types of reports, are about. A type is matched
            whole or up to a "/".

    Raises:
        ConfigError: a key that cannot be used, a name or key that stands twice, a rule that names an unknown
            signer, says nothing, asks for more signers than it names, or has a malformed pattern.
    """

    def __init__(
        self,
        *,
        signers: Sequence[ConfiguredSigner],
        rules: Sequence[TrustRule],
        predicates: Mapping[str, PredicateClass] = _NO_PREDICATES,
    ) -> None:
        _refuse_twins(signers)
        self._keys = tuple(_load(signer) for signer in signers if isinstance(signer, SignerKey))
        _refuse_one_key_twice(self._keys)
        self._keyless = tuple(signer for signer in signers if isinstance(signer, KeylessSigner))
        self._notation = tuple(signer for signer in signers if isinstance(signer, NotationSigner))
        known = {signer.name for signer in signers}
        self._rules = tuple((_patterns(rule), _checked(rule, known)) for rule in rules)
        self._predicates = dict(predicates)

    @property
    def keys(self) -> tuple[TrustedKey, ...]:
        """Every configured key: a signature is tried with each of them."""
        return self._keys

    @property
    def keyless(self) -> tuple[KeylessSigner, ...]:
        return self._keyless

    @property
    def notation(self) -> tuple[NotationSigner, ...]:
        return self._notation

    def classes(self, predicate_type: str) -> Classes:
        """What a predicate type is about, the most specific first; (OTHER,) for one that nobody knows."""
        return classes_of(predicate_type, self._predicates)

    def is_report(self, media_type: str) -> bool:
        """Whether something of that media type is a report that is attached as it is, without a statement."""
        return is_report(media_type, self._predicates)

    def accept(
        self,
        repository: Repository,
        about: PredicateClass,
        signers: Sequence[Signer],
        beside: Sequence[Signer] = (),
    ) -> Acceptance:
        """Whether that is believed of ``about`` for an image of ``repository`` which ``signers`` have signed.

        Args:
            signers: whose signatures of it hold; the first of them who may speak is the one that is named.
            beside: who signed the same thing elsewhere. They count where several are needed, and never speak for it.

        Returns:
            Of several rules that allow it, the one by which it counts for longest.

        Raises:
            EvidenceError: no rule covers the image, or none of the signers may (attestation-untrusted); some may, and
                are too few (attestation-quorum).
        """
        covering = [
            accept
            for patterns, accepts in self._rules
            if any(pattern.matches(repository) for pattern in patterns)
            for accept in accepts
        ]
        if not covering:
            raise EvidenceError(f"no trust rule covers {shown(repository)}", ATTESTATION_UNTRUSTED)
        speaking = [
            (accept, signer)
            for accept in covering
            if about in accept.predicates and (signer := _first(signers, accept.signers)) is not None
        ]
        if not speaking:
            who = " and ".join(f'"{signer.name}"' for signer in signers) or "nobody"
            raise EvidenceError(
                f"signer {who} is not trusted for {about} attestations about {shown(repository)}", ATTESTATION_UNTRUSTED
            )
        found = [(accept, signer, _distinct((*signers, *beside), accept.signers)) for accept, signer in speaking]
        enough = [
            Acceptance(signer, accept.count, accept.max_age) for accept, signer, have in found if have >= accept.count
        ]
        if not enough:
            accept, _, have = min(found, key=lambda one: one[0].count - one[2])
            raise EvidenceError(
                f"{have} of {accept.count} signers that are required for {about} attestations about "
                f"{shown(repository)} have signed it: of {_listed(accept.signers)}",
                ATTESTATION_QUORUM,
            )
        return max(enough, key=lambda one: (one.max_age is None, one.max_age or timedelta()))


def _first(signers: Sequence[Signer], names: Sequence[str]) -> Signer | None:
    return next((signer for signer in signers if signer.name in names), None)


def _distinct(signers: Sequence[Signer], names: Sequence[str]) -> int:
    """How many of the named signers have signed, each counted once, and each by somebody else.

    A certificate may fit the patterns of two configured signers, and two people may fit one pattern; neither makes two
    of one. So this is the largest number of pairs of a name and somebody who bears it (a matching in a bipartite graph,
    found by augmenting paths).
    """
    bearers: dict[str, set[tuple[str, str, str]]] = {}
    for signer in signers:
        if signer.name in names:
            bearers.setdefault(signer.name, set()).add(_person(signer))
    taken: dict[tuple[str, str, str], str] = {}

    def find(name: str, seen: set[tuple[str, str, str]]) -> bool:
        for person in bearers[name] - seen:
            seen.add(person)
            if person not in taken or find(taken[person], seen):
                taken[person] = name
                return True
        return False

    return sum(find(name, set()) for name in bearers)


def _person(signer: Signer) -> tuple[str, str, str]:
    """Who somebody is beyond the name that the configuration gives him. Of keys there are no two alike."""
    return signer.kind, signer.issuer, signer.identity or f"name {signer.name}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _load(signer: SignerKey) -> TrustedKey:
    try:
        return load_trusted(signer)
    except ConfigError as error:
        raise ConfigError(f'signer "{signer.name}": {error.message}') from None


def _refuse_twins(signers: Sequence[ConfiguredSigner]) -> None:
    names: set[str] = set()
    owners: dict[object, str] = {}
    for signer in signers:
        if not signer.name:
            raise ConfigError("a signer has no name")
        if signer.name in names:
            raise ConfigError(f'signer "{signer.name}" stands twice')
        names.add(signer.name)
        match signer:
            case KeylessSigner():
                same: object = (signer.issuer, signer.issuer_is_pattern, signer.identity, signer.root)
            case NotationSigner():
                same = (signer.certificates_pem, frozenset(signer.identities))
            case SignerKey():
                continue  # by what the key is, not by how it is written
        if (owner := owners.setdefault(same, signer.name)) != signer.name:
            raise ConfigError(f'signers "{owner}" and "{signer.name}" are the same')


def _refuse_one_key_twice(keys: Sequence[TrustedKey]) -> None:
    """Two names for one key would make it a matter of order who is said to have signed, and two signers of one."""
    owners: dict[str, str] = {}
    for trusted in keys:
        name = trusted.signer.name
        if (owner := owners.setdefault(trusted.fingerprint, name)) != name:
            raise ConfigError(f'signers "{owner}" and "{name}" have the same key')


def _patterns(rule: TrustRule) -> tuple[ImagePattern, ...]:
    if not rule.images:
        raise ConfigError("a trust rule names no images")
    return tuple(parse_pattern(text) for text in rule.images)


def _checked(rule: TrustRule, known: set[str]) -> tuple[Accept, ...]:
    where = f"the trust rule for {shown(rule.images[0])}"
    if not rule.accept:
        raise ConfigError(f"{where} accepts nothing")
    for accept in rule.accept:
        if not accept.predicates or not accept.signers:
            raise ConfigError(f"{where} needs predicates and signers")
        for name in accept.signers:
            if name not in known:
                raise ConfigError(f"{where} names the unknown signer {shown(name)}")
        if not 1 <= accept.count <= len(set(accept.signers)):
            raise ConfigError(f"{where} asks for {accept.count} of {len(set(accept.signers))} signers")
        if accept.max_age is not None and accept.max_age <= timedelta():
            raise ConfigError(f"{where} has a maxAge that no statement can meet")
    return rule.accept
