"""Which mode a rule has for a policy in a place, and with which parameters it is asked there (design rule 8: modes
belong to violations)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from portcullis.model.json import JSONObject
from portcullis.model.place import Place, Scope
from portcullis.model.ruling import Mode, PolicyInfo

ANY_POLICY = "*"

_STRENGTH = {Mode.AUDIT: 0, Mode.WARN: 1, Mode.DENY: 2}


@dataclass(frozen=True, slots=True)
class Override:
    """What the operator says for some places: modes by policy name or ``*``, and parameters by policy name, which
    replace those of the same key."""

    scope: Scope
    modes: Mapping[str, Mode] = field(default_factory=dict)
    parameters: Mapping[str, JSONObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScopedParameters:
    """Parameters that are others than the general ones. ``unsure`` are policies whose parameters hang on labels of
    the namespace that are not known: they cannot be judged."""

    changed: Mapping[str, JSONObject]
    unsure: frozenset[str]


@dataclass(frozen=True, slots=True)
class Modes:
    """The operator's modes, the key ``*`` standing for every policy, and parameters.

    Asked in this order, the first that says something of a policy decides: ``namespaces`` by exact name, ``overrides``
    in their order, ``modes``. Within each a policy's own word wins over ``*``. Where an override hangs on labels that
    are not known, the stronger of the two possible modes counts.
    """

    modes: Mapping[str, Mode] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, Mode]] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    parameters: Mapping[str, JSONObject] = field(default_factory=dict)

    @property
    def by_labels(self) -> bool:
        """Whether anything hangs on labels of namespaces."""
        return any(override.scope.labels is not None for override in self.overrides)

    def chosen(self, policy: str, place: Place) -> tuple[Mode | None, ...]:
        """What the operator says of that policy there: one mode, None for nothing; several where labels that are not
        known would decide among them."""
        found: list[Mode | None] = []
        for table, certain in self._tables(place):
            for key in (policy, ANY_POLICY):
                if key in table:
                    found.append(table[key])
                    if certain:
                        return tuple(found)
                    break
        return (*found, None)

    def mode(self, policy: PolicyInfo, rule: Mode, place: Place) -> Mode:
        """The mode of a violation of ``rule``. The operator (or METADATA) sets what ``deny`` means; no setting
        makes a ``warn`` or ``audit`` rule stronger than its author wrote it, and a weaker one holds for all."""
        possible = (_resolved(policy, rule, chosen) for chosen in self.chosen(policy.name, place))
        return max(possible, key=_STRENGTH.__getitem__)

    def strongest(self, policy: PolicyInfo, place: Place) -> Mode:
        """The mode under which the policy counts when it could not be evaluated."""
        modes = (self.mode(policy, rule, place) for rule in policy.rules)
        return max(modes, key=_STRENGTH.__getitem__, default=Mode.AUDIT)

    def parameters_at(self, place: Place) -> ScopedParameters:
        """What policies are asked with there that differs from the general parameters. Of several overrides that set
        one key, the first counts."""
        changed: dict[str, JSONObject] = {}
        unsure: set[str] = set()
        for override in reversed(self.overrides):
            holds = override.scope.holds(place)
            if holds is None:
                unsure |= override.parameters.keys()
            elif holds:
                for policy, parameters in override.parameters.items():
                    changed[policy] = {**changed.get(policy, self.parameters.get(policy, {})), **parameters}
        return ScopedParameters(changed, frozenset(unsure))

    def _tables(self, place: Place) -> Iterator[tuple[Mapping[str, Mode], bool]]:
        yield self.namespaces.get(place.namespace, {}), True
        for override in self.overrides:
            holds = override.scope.holds(place)
            if holds is not False:
                yield override.modes, holds is True
        yield self.modes, True


def _resolved(policy: PolicyInfo, rule: Mode, chosen: Mode | None) -> Mode:
    if rule is Mode.DENY:
        return chosen if chosen is not None else policy.mode
    return rule if chosen is None else min(rule, chosen, key=_STRENGTH.__getitem__)
