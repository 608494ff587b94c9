"""The Rego that asks the policies: one module of our own in every set.

One query judges a document by any of the policies. OPA's input is ``{"evaluate": [names], "now_ns": N,
"parameters": {…}, "document": {…}}``; within the policies, and within all that they call, ``input`` is the document,
``time.now_ns()`` is N, and policies that ``parameters`` names have these. The answer carries the revision, so that
every single answer proves what it came from.
"""

import json
from collections.abc import Collection, Mapping, Sequence

from portcullis.model.ruling import Mode

WRAPPER_VERSION = 2
"""Part of every revision; to be raised with any change of what :func:`render_wrapper` makes."""

ANSWER_PATH = "portcullis/gate/answer"
"""Where OPA serves the answer. A constant: no name from outside ever becomes part of a path (CVE-2025-46569)."""

_HEAD = """\
package portcullis.gate

answer := {{"revision": {revision}, "results": judged}} if {{
	judged := results with input as input.document
		with time.now_ns as input.now_ns
		with data.portcullis.call.evaluate as input.evaluate
		with data.portcullis.parameters as parameters
}}

parameters := object.union(
	object.remove(data.portcullis.parameters, object.keys(input.parameters)),
	input.parameters,
)
"""

_RULE = """
results[{name}] := {{{entries}}} if {{
	{name} in data.portcullis.call.evaluate
{lines}
}}
"""


def render_wrapper(
    revision: str, policies: Mapping[str, Sequence[Mode]], bridged: Collection[str] = frozenset()
) -> str:
    """Rego source.

    Args:
        revision: of the set.
        policies: the rules (deny, warn, audit) of each policy, by policy name.
        bridged: those of the policies that were written for something else, which are asked by way of a bridge
            (foreign.py).
    """
    parts = [_HEAD.format(revision=json.dumps(revision))]
    if not policies:
        parts.append("\nresults := {}\n")
    for name, rules in sorted(policies.items()):
        package = name.replace("-", "_")
        place = f"bridge[{json.dumps(name)}]" if name in bridged else f'policies["{package}"]'
        parts.append(
            _RULE.format(
                name=json.dumps(name),
                entries=", ".join(f'"{rule}": {rule}_set' for rule in rules),
                lines="\n".join(f"\t{rule}_set := data.portcullis.{place}.{rule}" for rule in rules),
            )
        )
    return "".join(parts)
