"""What the rulings of a policy depend on beside the document and the parameters, as one hash: two policies of one
fingerprint rule alike, whatever else is in their sets.

It covers the policy's own modules and all modules that these reach, by the references of the compiled form; what it
needs and which rules it has; and for policies from elsewhere their match block and their bridge. It leaves out what
comes to a decision from the policy that stands (title, severity, docs and the rest of METADATA) and other policies.
How policies are asked and which builtins there are is the same for all sets that one process compiles; that a set was
judged by in that way, its revision proves, which covers both.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from portcullis.model.ruling import Fingerprint, Need, PolicyBundle, PolicyInfo, PolicySource
from portcullis.policy.bridges import render_bridge
from portcullis.policy.bundle import plain_json, revision_of
from portcullis.policy.foreign import Foreign, ForeignPolicy
from portcullis.policy.parameterreads import ParameterReads
from portcullis.policy.shared import bridging_digest
from portcullis.policy.syntax import Module, Path, RuleSet, data_paths

_REGO = re.compile(r"\brego\b(?!\.v1\b)")


def fingerprints(
    bundle: PolicyBundle, policies: Sequence[PolicyInfo], rules: RuleSet, foreign: Foreign, most: int
) -> Mapping[str, Fingerprint]:
    """The fingerprint of each policy of a compiled set.

    Missing are policies of which nobody can tell: that read METADATA, or objects of the cluster, or that are not
    supported; and all of a set that was named by a Portcullis which asks policies in another way.

    Args:
        most: the limit of violations, which bridges hold.
    """
    if revision_of(bundle.sources, bundle.parameters, bundle.constraints, bundle.left_out) != bundle.revision:
        return {}
    reach, read_by = _Reach(rules), ParameterReads(rules)
    native = rules.policies()
    bridged = {policy.name: policy for policy in foreign.policies}
    found: dict[str, Fingerprint] = {}
    for policy in policies:
        if policy.unsupported or Need.INVENTORY in policy.needs:
            continue
        one = bridged.get(policy.name)
        own = native[policy.name] if one is None else _modules_of(one, rules)
        closure = reach.of(own)
        names = read_by.of(closure)
        texts = sorted((*_identity(module.source), code_of(module.source.text)) for module in closure)
        if any(_may_read_metadata(text[-1]) for text in texts):
            continue
        parts = [
            *(texts, sorted(policy.needs), policy.rules, policy.origin),
            _bridge(one, most) if one is not None else None,
        ]
        canonical = json.dumps(parts, separators=(",", ":"), sort_keys=True, default=plain_json)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        found[policy.name] = Fingerprint(digest, names if names is None else names | {policy.name})
    return found


def code_of(text: str) -> str:
    """A source without the rows that hold nothing but a comment, as METADATA does. From the first raw string on all
    rows stay: there, a row that looks like a comment may be text."""
    rows = text.split("\n")
    kept: list[str] = []
    for number, row in enumerate(rows):
        if row.lstrip(" \t").startswith("#"):
            continue
        if "`" in row:
            kept += rows[number:]
            break
        kept.append(row)
    return "\n".join(kept)


def _may_read_metadata(code: str) -> bool:
    """By ``rego.metadata.rule()`` or ``.chain()``, however written; it may be that of another module."""
    return "metadata" in code and _REGO.search(code) is not None


class _Reach:
    """Which modules a module reaches."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._at: dict[Path, list[Module]] = {}
        for module in rules.modules:
            for path in dict.fromkeys(rule.path for rule in module.rules):
                self._at.setdefault(path, []).append(module)
        self._next: dict[Module, list[Module]] = {}

    def of(self, own: Sequence[Module]) -> list[Module]:
        """The modules and all that they reach."""
        found = dict.fromkeys(own)
        waiting = list(found)
        while waiting:
            following = [module for module in self._from(waiting.pop()) if module not in found]
            found |= dict.fromkeys(following)
            waiting += following
        return list(found)

    def _from(self, module: Module) -> list[Module]:
        if module not in self._next:
            places = (place for path in set(data_paths(module)) for place in self._rules.led_to(path))
            self._next[module] = list(dict.fromkeys(other for place in places for other in self._at[place]))
        return self._next[module]


def _modules_of(policy: ForeignPolicy, rules: RuleSet) -> list[Module]:
    sources = {file.source.path for file in policy.files}
    return [module for module in rules.modules if module.source.path in sources or module.package == policy.package]


def _identity(source: PolicySource) -> tuple[str, str, str, str]:
    """What tells how a text is read, beside the text."""
    return str(source.origin), source.unit, str(source.library), str(source.rego or "")


def _bridge(policy: ForeignPolicy, most: int) -> list[object]:
    match = policy.constraint.match if policy.constraint is not None else None
    return [bridging_digest(), render_bridge(policy, most=most), match]
