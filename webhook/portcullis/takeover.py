"""Which rulings of a recorded decision hold under another standing set, so that nobody need be asked again.

A ruling depends on the document, which is that of the record; on what a :class:`Fingerprint` covers; and on the
parameters that the policy reads, at the place of the request. Where these are equal in the set and configuration of the
record and in those that stand, and the record says how the policy ruled, its ruling is that one. What becomes of a
ruling (modes, exceptions, the verdict) is not taken over.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping

from portcullis.decision.modes import ScopedParameters
from portcullis.limits import Limits
from portcullis.model.decision import Decision, Violation
from portcullis.model.json import JSONObject
from portcullis.model.place import Place
from portcullis.model.ruling import CompiledBundle, Fingerprint, Mode, RuleHit, Ruling
from portcullis.standing import Standing

NO_RULING = Ruling(frozenset(), ())


class Takeover:
    """From one set and configuration to another; made once for many records.

    Args:
        recorded: what the decisions were judged by.
        standing: what they are to be judged by.
    """

    def __init__(self, recorded: Standing, standing: Standing, limits: Limits) -> None:
        self._recorded = recorded
        self._standing = standing
        self._limits = limits
        old, new = recorded.compiled.fingerprints, standing.compiled.fingerprints
        self._alike = {name: print_ for name, print_ in new.items() if old.get(name) == print_}
        self._rules = {policy.name: policy.rules for policy in standing.compiled.policies}
        nothing = ScopedParameters({}, frozenset())
        self._generally = frozenset(
            name for name, one in self._alike.items() if self._same_parameters(one, nothing, nothing)
        )
        self._by_place = _overridden(recorded) | _overridden(standing)

    def ruling(self, decision: Decision, place: Place, policies: Collection[str]) -> Ruling:
        """What ``decision``, made at ``place``, says of those of ``policies`` that would rule as they did.

        Args:
            policies: those that the decision judged, or left undecided.
        """
        hits: dict[str, list[Violation]] = defaultdict(list)
        for violation in decision.violations:
            hits[violation.policy].append(violation)
        undecided = {one.policy for one in decision.undecided}
        alike = self._alike_at(place)
        judged = {
            name
            for name in policies
            if name in alike and name not in undecided and self._told(name, hits.get(name, ()))
        }
        taken = (_hit(one, self._rules[name][0]) for name in sorted(judged) for one in hits.get(name, ()))
        return Ruling(frozenset(judged), tuple(taken))

    def _alike_at(self, place: Place) -> frozenset[str]:
        """The policies that rule alike there."""
        if not self._by_place:
            return self._generally
        old, new = (one.modes.parameters_at(place) for one in (self._recorded, self._standing))
        unsure = old.unsure | new.unsure
        if not (old.changed or new.changed or unsure):
            return self._generally
        return frozenset(
            name
            for name, one in self._alike.items()
            # An override of another policy's parameters counts where that one is asked in the same breath.
            if one.parameters == frozenset({name}) and name not in unsure and self._same_parameters(one, old, new)
        )

    def _same_parameters(self, one: Fingerprint, old: ScopedParameters, new: ScopedParameters) -> bool:
        before, after = self._recorded.compiled, self._standing.compiled
        names = one.parameters if one.parameters is not None else before.parameters.keys() | after.parameters.keys()
        return all(_same(_parameters(before, old, name), _parameters(after, new, name)) for name in names)

    def _told(self, policy: str, hits: Collection[Violation]) -> bool:
        """Whether the record tells the ruling. A violation has the mode and not the rule that it was found by; and what
        is more than a limit of today allows would be a failure."""
        if hits and len(self._rules[policy]) != 1:
            return False
        longest = max((len(text) for hit in hits for text in _texts(hit)), default=0)
        return len(hits) <= self._limits.violations and longest <= self._limits.message_chars


def _overridden(standing: Standing) -> bool:
    return any(override.parameters for override in standing.modes.overrides)


def _parameters(compiled: CompiledBundle, scoped: ScopedParameters, policy: str) -> JSONObject | None:
    """As the wrapper lays them over each other. None where there are none, which is not the same as empty."""
    given: Mapping[str, JSONObject] = scoped.changed if policy in scoped.changed else compiled.parameters
    return given.get(policy)


def _same(one: JSONObject | None, other: JSONObject | None) -> bool:
    """To Rego, for which true is no 1."""
    return one == other and _canonical(one) == _canonical(other)


def _canonical(value: JSONObject | None) -> str:
    return json.dumps(value, sort_keys=True, default=dict)


def _texts(hit: Violation) -> tuple[str, ...]:
    return hit.msg, hit.container, hit.image, hit.digest, hit.platform, hit.field, hit.fix


def _hit(violation: Violation, rule: Mode) -> RuleHit:
    return RuleHit(
        policy=violation.policy,
        rule=rule,
        msg=violation.msg,
        container=violation.container,
        image=violation.image,
        digest=violation.digest,
        platform=violation.platform,
        field=violation.field,
        fix=violation.fix,
        details=violation.details,
    )
