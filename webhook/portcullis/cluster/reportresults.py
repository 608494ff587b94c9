"""What came of judging again, as the results of PolicyReports and of the Reports of OpenReports, which have the same
fields.

====================================================  ========  ==============================================
found                                                 result    beside the message
====================================================  ========  ==============================================
a violation in mode deny                              fail      scored
one in mode warn or audit                             warn
one that an exception or a grant covers               skip      the id and the end of what covers it
a policy that could not be evaluated                  error     the reason; skip where something covers that
a policy that was not, because another one refuses    skip
a tag that has moved                                  fail      what was judged, and what runs
a workload that a grant let in                        warn      the grant
a policy that found nothing                           pass      counted in the summary, no result of its own
====================================================  ========  ==============================================

Nothing in a result differs from round to round where nothing has changed: neither decision, nor number of pods.

Source: the CustomResourceDefinitions of kubernetes-sigs/wg-policy-prototypes (policy-report/crd/v1alpha2) and of
openreports/reports-api (config/install.yaml): ``policy`` is required, ``result`` and ``severity`` are enumerations,
``properties`` holds strings.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from portcullis.model.decision import UndecidedPolicy, Violation
from portcullis.model.ruling import Mode
from portcullis.model.running import MovedTag, ObjectRef, Rejudged
from portcullis.text import clean, sentence
from portcullis.times import rfc3339

SOURCE: Final = "portcullis"
TAG_MOVED: Final = "tag-moved"
"""Stands where the name of a policy stands: what it says is no policy's."""
BREAK_GLASS: Final = "break-glass"
TOO_MANY: Final = "too-many-results"

FAIL: Final = "fail"
ERROR: Final = "error"
WARN: Final = "warn"
SKIP: Final = "skip"
PASSED: Final = "pass"
WORST_FIRST: Final = (FAIL, ERROR, WARN, SKIP)

MESSAGE_CHARS: Final = 1000
PROPERTY_CHARS: Final = 512
NAME_CHARS: Final = 253

_SEVERITIES: Final = {"critical": "critical", "high": "high", "medium": "medium", "low": "low", "negligible": "info"}
_SLOT: Final = ("container", "image", "platform", "field")
"""Properties that say what a result is about, whatever it says of it."""
_FINGERPRINT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Traits:
    """What tells results apart, of one that is to be written as of one that was read.

    Args:
        fingerprint: two with the same one say the same.
        slot: two with the same one say something of the same thing.
        owner: two with the same one are about the same workload.
    """

    fingerprint: bytes
    slot: bytes
    owner: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """A result without its time. ``size`` is how many bytes it may take in the API server's database, at most."""

    body: Mapping[str, Any] = field(repr=False)
    traits: Traits
    size: int

    @property
    def outcome(self) -> str:
        return str(self.body["result"])


def results_of(rejudged: Sequence[Rejudged]) -> tuple[Result, ...]:
    """What is reported of these workloads, each thing once, the worst first, and always in the same order."""
    found: dict[bytes, Result] = {}
    for one in rejudged:
        for body in _bodies(one):
            made = result(body)
            found.setdefault(made.traits.fingerprint, made)
    return tuple(sorted(found.values(), key=_order))


def passes(rejudged: Sequence[Rejudged]) -> int:
    """How often a policy found nothing in one of these workloads."""
    return sum(len(one.passed) for one in rejudged)


def summary(results: Sequence[Result], passed: int) -> dict[str, int]:
    """How many there are of each; ``passed`` has no results."""
    counted = Counter(one.outcome for one in results)
    return {PASSED: passed, **{outcome: counted[outcome] for outcome in WORST_FIRST}}


def left_out(count: int, namespace: str) -> Result:
    """Says that results have no room."""
    words = f"{count} more results of the namespace {namespace} have no room in its reports; the audit pages show them"
    return result(_body(TOO_MANY, ERROR, words, ObjectRef("v1", "Namespace", "", namespace), {"reason": TOO_MANY}))


def result(body: Mapping[str, Any]) -> Result:
    text = json.dumps(body, ensure_ascii=True)
    # What stores it writes these three as six bytes each, and anything that is not ASCII as itself.
    escaped = sum(text.count(character) for character in "<>&")
    return Result(body, traits_of(body), len(text) + 5 * escaped)


def traits_of(body: Mapping[str, Any]) -> Traits:
    """Of a result that may have been written by anybody."""
    resources = body.get("resources")
    first = resources[0] if isinstance(resources, list) and resources else None
    about = [first.get(key) for key in ("apiVersion", "kind", "name")] if isinstance(first, Mapping) else []
    properties = body.get("properties")
    within = [properties.get(key) for key in _SLOT] if isinstance(properties, Mapping) else []
    told = {key: value for key, value in body.items() if key != "timestamp"}
    return Traits(_hash(told), _hash([about, body.get("policy"), within]), _hash(about))


def _hash(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=_FINGERPRINT_BYTES).digest()


def _order(one: Result) -> tuple[Any, ...]:
    body = one.body
    (about,) = body["resources"]
    properties = body["properties"]
    worst = WORST_FIRST.index(one.outcome)
    place = (about["kind"], about["name"], body["policy"], *(properties.get(key, "") for key in _SLOT))
    return (worst, *place, body["message"], one.traits.fingerprint)


def _bodies(one: Rejudged) -> Iterator[dict[str, Any]]:
    for moved in one.moved:
        yield _moved(moved, one.owner)
    for violation in one.decision.violations:
        yield _violation(violation, one.owner)
    for policy in one.decision.undecided:
        yield _undecided(policy, one.owner)
    if one.break_glass:
        words = f"was let in by {one.break_glass}, or stands by it"
        yield _body(BREAK_GLASS, WARN, words, one.owner, {"exception": one.break_glass})


def _violation(violation: Violation, owner: ObjectRef) -> dict[str, Any]:
    message = " ".join(part for part in (sentence(violation.msg), sentence(violation.fix)) if part)
    properties = {
        "mode": str(violation.mode),
        "container": violation.container,
        "containerKind": violation.container_kind,
        "image": violation.image,
        "digest": violation.digest,
        "platform": violation.platform,
        "field": violation.field,
        "docs": violation.docs,
    }
    outcome = FAIL if violation.mode is Mode.DENY else WARN
    if violation.exception:
        outcome = SKIP
        properties |= _cover(violation)
    return _body(violation.policy, outcome, message, owner, properties, violation.severity)


def _undecided(policy: UndecidedPolicy, owner: ObjectRef) -> dict[str, Any]:
    properties = {"mode": str(policy.mode)}
    if not policy.problems:
        properties["reason"] = "another-refuses"
        return _body(policy.policy, SKIP, "was not evaluated: another policy refuses already", owner, properties)
    first, more = policy.problems[0], len(policy.problems) - 1
    properties |= {"reason": first.reason, "image": first.image}
    message = f"could not be evaluated: {first.msg}" + (f" (and {more} more)" if more else "")
    outcome = ERROR
    if policy.exception:
        outcome = SKIP
        properties |= _cover(policy)
    return _body(policy.policy, outcome, message, owner, properties)


def _cover(one: Violation | UndecidedPolicy) -> dict[str, str]:
    """What covers it, and until when."""
    until = one.excepted_until
    return {"exception": one.exception, "expires": rfc3339(until, "seconds") if until is not None else ""}


def _moved(moved: MovedTag, owner: ObjectRef) -> dict[str, Any]:
    message = (
        f"runs {moved.running}, but {moved.written} was {moved.judged} when it was judged. "
        "Pin the image by its digest, and roll the workload out again."
    )
    properties = {
        "container": moved.container,
        "image": moved.written,
        "digest": str(moved.running),
        "judged": str(moved.judged),
        "decision": moved.decision_id,
    }
    return _body(TAG_MOVED, FAIL, message, owner, properties, "high")


def _body(
    policy: str, outcome: str, message: str, owner: ObjectRef, properties: Mapping[str, str], severity: str = ""
) -> dict[str, Any]:
    about = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "namespace": owner.namespace,
        "name": owner.name,
        "uid": owner.uid,
    }
    body: dict[str, Any] = {
        "source": SOURCE,
        "policy": clean(policy, NAME_CHARS),
        "result": outcome,
        "message": clean(message, MESSAGE_CHARS),
        "resources": [{key: clean(value, NAME_CHARS) for key, value in about.items() if value}],
        "properties": {key: clean(value, PROPERTY_CHARS) for key, value in properties.items() if value},
    }
    if outcome == FAIL:
        body["scored"] = True
    if severity in _SEVERITIES:
        body["severity"] = _SEVERITIES[severity]
    return body
