"""Which mode a rule has for a policy and a namespace (design rule 8: modes belong to violations)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from portcullis.model.ruling import Mode, PolicyInfo

ANY_POLICY = "*"

_STRENGTH = {Mode.AUDIT: 0, Mode.WARN: 1, Mode.DENY: 2}


@dataclass(frozen=True, slots=True)
class Modes:
    """The operator's modes: by policy, and by namespace and policy. The key ``*`` stands for every policy;
    a namespace's word wins over the general one, a policy's own over ``*``."""

    modes: Mapping[str, Mode] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, Mode]] = field(default_factory=dict)

    def chosen(self, policy: str, namespace: str) -> Mode | None:
        """What the operator says of that policy there; None where nothing is said."""
        here = self.namespaces.get(namespace, {})
        for table, key in ((here, policy), (here, ANY_POLICY), (self.modes, policy), (self.modes, ANY_POLICY)):
            if key in table:
                return table[key]
        return None

    def mode(self, policy: PolicyInfo, rule: Mode, namespace: str) -> Mode:
        """The mode of a violation of ``rule``. The operator (or METADATA) sets what ``deny`` means; no setting
        makes a ``warn`` or ``audit`` rule stronger than its author wrote it, and a weaker one holds for all."""
        chosen = self.chosen(policy.name, namespace)
        if rule is Mode.DENY:
            return chosen if chosen is not None else policy.mode
        return rule if chosen is None else min(rule, chosen, key=_STRENGTH.__getitem__)

    def strongest(self, policy: PolicyInfo, namespace: str) -> Mode:
        """The mode under which the policy counts when it could not be evaluated."""
        modes = (self.mode(policy, rule, namespace) for rule in policy.rules)
        return max(modes, key=_STRENGTH.__getitem__, default=Mode.AUDIT)
