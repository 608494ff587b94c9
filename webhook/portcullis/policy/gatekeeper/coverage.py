"""Constraints for kinds that the cluster never asks about: they look as if they held, and do not."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from portcullis.errors import CompileProblem
from portcullis.model.ruling import Constraint
from portcullis.text import clean

_ALL = "*"
_EVERYTHING = frozenset({"*", "*/*"})


def uncovered(constraints: Iterable[Constraint], rules: Sequence[Mapping[str, Any]]) -> tuple[CompileProblem, ...]:
    """A remark for each constraint that matches kinds which no rule of the webhook sends, or not all of them.

    Args:
        constraints: of a policy set.
        rules: ``webhooks[].rules`` of the ValidatingWebhookConfiguration as the API has them ({apiGroups, resources,
            …}), those of all its webhooks for reviews.

    Resources are guessed from kinds as kubectl does (Ingress is ingresses, NetworkPolicy networkpolicies); only who
    asks the API server knows better.
    """
    return tuple(remark for constraint in constraints if (remark := _remark(constraint, rules)) is not None)


def _remark(constraint: Constraint, rules: Sequence[Mapping[str, Any]]) -> CompileProblem | None:
    missing = [name for group, kind, name in _kinds(constraint) if not _covered(group, kind, rules)]
    if not missing:
        return None
    named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    message = f"the webhook configuration does not send {named}: there {constraint.name} is never judged"
    return CompileProblem(clean(constraint.path, 300), constraint.row, 0, clean(message, 500))


def _kinds(constraint: Constraint) -> Iterator[tuple[str, str, str]]:
    """Group, kind, and how both are said, for everything that the match block names."""
    for entry in constraint.match.get("kinds") or [{}]:
        for group in entry.get("apiGroups") or [_ALL]:
            for kind in entry.get("kinds") or [_ALL]:
                what = "every kind" if kind == _ALL else kind
                yield group, kind, what if group in (_ALL, "") else f"{what} of {group}"


def _covered(group: str, kind: str, rules: Sequence[Mapping[str, Any]]) -> bool:
    wanted = _EVERYTHING if kind == _ALL else _EVERYTHING | {resource_of(kind)}
    return any(_meets(rule, group, wanted) for rule in rules)


def _meets(rule: Mapping[str, Any], group: str, resources: Collection[str]) -> bool:
    groups = rule.get("apiGroups") or ()
    # A constraint for a kind of any group is served where any group of the rule has it.
    of_group = _ALL in groups or group in groups or (group == _ALL and not _EVERYTHING.issuperset(resources))
    return of_group and any(resource in resources for resource in rule.get("resources") or ())


def resource_of(kind: str) -> str:
    """``networkpolicies`` of NetworkPolicy. Source: UnsafeGuessKindToResource of k8s.io/apimachinery."""
    lower = kind.lower()
    if lower == "endpoints":
        return lower
    if lower.endswith("s"):
        return f"{lower}es"
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
