"""OPA's answer to one decision, read strictly: what is not exactly as agreed fails its policy, and only that."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from portcullis.errors import EngineMalformed, EngineUndefined
from portcullis.limits import Limits
from portcullis.model.ruling import Mode, PolicyFailure, PolicyInfo, RuleHit
from portcullis.text import clean

UNDECIDED = "undecided"
"""The one key of an element by which the bridge of a policy from elsewhere says that there is no ruling, and why
(bridging.rego)."""

TEXT_FIELDS = ("container", "image", "digest", "platform", "field", "fix")


class Answer(msgspec.Struct):
    """``results`` by policy name, then by rule."""

    revision: str
    results: dict[str, Any]


class _Body(msgspec.Struct):
    result: Answer | msgspec.UnsetType = msgspec.UNSET


def read_answer(body: bytes) -> Answer | None:
    """None where the whole is undefined, which is an answer of OPA and means that nothing was judged.

    Raises:
        EngineMalformed: the body is not what the wrapper makes.
    """
    try:
        result = msgspec.json.decode(body, type=_Body).result
    except (msgspec.MsgspecError, RecursionError) as error:
        raise EngineMalformed("OPA's answer has an unknown shape") from error
    return None if result is msgspec.UNSET else result


def undefined(policy: str, message: str = "the policy gave no result") -> PolicyFailure:
    return PolicyFailure(policy, EngineUndefined.reason, message)


def failed(policy: str, message: str) -> PolicyFailure:
    return PolicyFailure(policy, EngineMalformed.reason, message)


def read_policy(policy: PolicyInfo, results: Mapping[str, Any], limits: Limits) -> tuple[RuleHit, ...] | PolicyFailure:
    """The hits of one policy, or why it failed."""
    if policy.name not in results:
        return undefined(policy.name)
    rules = results[policy.name]
    if not isinstance(rules, dict) or set(rules) != set(policy.rules):
        return failed(policy.name, "the result does not hold the policy's rules")
    if policy.unsupported and any(rules.values()):
        return PolicyFailure(policy.name, "policy-unsupported", policy.unsupported)
    hits: list[RuleHit] = []
    try:
        for rule in policy.rules:
            hits.extend(_hits(policy.name, rule, rules[rule], limits))
    except _Wrong as error:
        return failed(policy.name, str(error))
    if len(hits) > limits.violations:
        return failed(policy.name, f"{len(hits)} violations; the limit violations is {limits.violations}")
    return tuple(hits)


class _Wrong(ValueError):
    pass


def _hits(policy: str, rule: Mode, elements: object, limits: Limits) -> Sequence[RuleHit]:
    if not isinstance(elements, list):
        raise _Wrong(f"{rule} is no set")
    return [_hit(policy, rule, element, limits) for element in elements]


def _hit(policy: str, rule: Mode, element: object, limits: Limits) -> RuleHit:
    if isinstance(element, str):
        return RuleHit(policy=policy, rule=rule, msg=_message(rule, element, limits))
    if not isinstance(element, dict):
        raise _Wrong(f"{rule} holds {_kind(element)}; it must hold texts or objects with msg")
    if set(element) == {UNDECIDED}:
        raise _Wrong(clean(str(element[UNDECIDED]), limits.message_chars))
    unknown = sorted(set(element) - {"msg", "details", *TEXT_FIELDS})
    if unknown:
        raise _Wrong(
            f"{rule} holds an object with the unknown key {clean(unknown[0], 60)!r}; it may have msg, "
            f"{', '.join(TEXT_FIELDS)} and details"
        )
    details = element.get("details")
    if not isinstance(details, dict | None):
        raise _Wrong(f"{rule} holds an object whose details are {_kind(details)}; they must be an object")
    texts = {name: _text(rule, name, element.get(name), limits) for name in TEXT_FIELDS}
    return RuleHit(
        policy=policy, rule=rule, msg=_message(rule, element.get("msg"), limits), details=details or {}, **texts
    )


def _message(rule: Mode, value: object, limits: Limits) -> str:
    text = _text(rule, "msg", value, limits)
    if not text.strip():
        raise _Wrong(f"{rule} holds a violation without msg")
    return text


def _text(rule: Mode, name: str, value: object, limits: Limits) -> str:
    """null is taken for "": a fact that could not be had is null in the document."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Wrong(f"{rule} holds an object whose {name} is {_kind(value)}; it must be text")
    if len(value) > limits.message_chars:
        raise _Wrong(
            f"{rule} holds a {name} of {len(value)} characters; the limit messageChars is {limits.message_chars}"
        )
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]
