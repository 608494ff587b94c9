"""The bridges: for each policy from elsewhere one module of ours, which asks it as it expects and says its results as
policies here do. The Rego that all of them use lies beside (bridging.rego, gatekeeper/matching.rego).

A bridge is the package ``portcullis.bridge[name]`` with ``deny`` and ``warn``, as a policy of Portcullis has them. For
a constraint it asks only if its match block fits the request. Where that cannot be said, since the labels of the
namespace are not known, the policy fails: that is never taken for no match.
"""

import json
from collections.abc import Mapping, Sequence

from portcullis.model.json import JSONObject
from portcullis.model.ruling import Mode, Origin
from portcullis.policy.foreign import VIOLATION, ForeignPolicy, mode_of
from portcullis.policy.syntax import Path as Place

INVENTORY_INPUT = "inventory"
"""The field of the policy input that takes the place of ``data.inventory`` where a suite is run."""

UNKNOWN_NAMESPACE = "the labels of the namespace are not known, and the constraint selects by them"

_CONSTRAINT = """\
package portcullis.bridge[{name}]

match := data.portcullis.constraints[{name}]

violation_results := found if {{
	review := data.portcullis.bridging.{review}
	data.portcullis.matching.matches(match, review, data.portcullis.bridging.namespace)
	found := {package}.violation with input as {{
		"review": review,
		"parameters": data.portcullis.parameters[{name}],
	}}{inventory}
}}

deny contains {{"undecided": {unknown}}} if {{
	review := data.portcullis.bridging.review
	data.portcullis.matching.unknown(match, review, data.portcullis.bridging.namespace)
}}
"""

_UNSUPPORTED = """\
package portcullis.bridge[{name}]

match := data.portcullis.constraints[{name}]

deny contains {{"undecided": {why}}} if {{
	review := data.portcullis.bridging.review
	data.portcullis.matching.matches(match, review, data.portcullis.bridging.namespace)
}}

deny contains {{"undecided": {unknown}}} if {{
	review := data.portcullis.bridging.review
	data.portcullis.matching.unknown(match, review, data.portcullis.bridging.namespace)
}}
"""

_HEAD = """\
package portcullis.bridge[{name}]
"""

_ASKED = """
{verdict}_results := found if {{
	subject := data.portcullis.bridging.{subject}
	found := {package}.{verdict} with input as subject
}}
"""

# The number is looked at first: what is made of each result takes longer than the policy itself.
_TAKEN = """
{mode} contains data.portcullis.bridging.{taken}(found) if {{
	count({verdict}_results) <= {most}
	some found in {verdict}_results
}}

{mode} contains {{"undecided": sprintf("%d violations; the limit violations is {most}", [found])}} if {{
	found := count({verdict}_results)
	found > {most}
}}
"""

_SUBJECTS = {Origin.ADMISSION: "admission_review", Origin.CONFTEST: "subject"}


def render_bridge(policy: ForeignPolicy, *, most: int, inventory_in_input: bool = False) -> str:
    """Rego source.

    Args:
        policy: one that is not supported is undecided for what its match block fits, and says nothing of all else.
        most: violations of one rule; with more the policy fails.
        inventory_in_input: for suites, where each case has an inventory of its own, in the policy input.
    """
    name, package = json.dumps(policy.name), _reference(policy.package)
    if policy.unsupported:
        why, unknown = json.dumps(policy.unsupported), json.dumps(UNKNOWN_NAMESPACE)
        return _UNSUPPORTED.format(name=name, why=why, unknown=unknown)
    if policy.origin is Origin.GATEKEEPER:
        asked = _CONSTRAINT.format(
            name=name,
            package=package,
            unknown=json.dumps(UNKNOWN_NAMESPACE),
            review="review_with_namespace" if policy.reads_namespace else "review",
            inventory=f"\n\t\twith data.inventory as input.{INVENTORY_INPUT}" if inventory_in_input else "",
        )
        return asked + _TAKEN.format(mode=Mode.DENY, verdict=VIOLATION, taken="violation", most=most)
    parts = [_HEAD.format(name=name)]
    for verdict in policy.verdicts:
        parts.append(_ASKED.format(verdict=verdict, subject=_SUBJECTS[policy.origin], package=package))
        parts.append(_TAKEN.format(mode=mode_of(verdict), verdict=verdict, taken="message", most=most))
    return "".join(parts)


def match_blocks(policies: Sequence[ForeignPolicy]) -> Mapping[str, JSONObject]:
    """What goes to ``data.portcullis.constraints``."""
    return {policy.name: policy.constraint.match for policy in policies if policy.constraint is not None}


def _reference(path: Place) -> str:
    return "data" + "".join(f"[{json.dumps(part)}]" for part in path)
