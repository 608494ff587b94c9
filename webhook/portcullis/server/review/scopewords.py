"""What the operator's configuration says of a policy, place by place: modes and exceptions.

Who may see a few namespaces is told what concerns these; the names of others are no business of theirs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from portcullis.decision.exceptions import PolicyException
from portcullis.decision.modes import ANY_POLICY, Modes
from portcullis.globs import matches
from portcullis.model.place import LabelRequirement, LabelSelector, Place, Scope, SelectorOperator
from portcullis.model.record import Visible
from portcullis.model.ruling import Mode, PolicyInfo

SOON: Final = timedelta(days=14)
"""An exception that ends within that time is shown as ending soon."""
SHOWN_NAMESPACES: Final = 100

_OPERATORS: Final = {
    SelectorOperator.IN: "is one of",
    SelectorOperator.NOT_IN: "is none of",
    SelectorOperator.EXISTS: "is set",
    SelectorOperator.DOES_NOT_EXIST: "is not set",
}


@dataclass(frozen=True, slots=True)
class ModeRow:
    """What one line of the configuration says. ``where`` in words, ``key`` where it stands; ``for_all`` says that it is
    said of every policy."""

    where: str
    mode: Mode
    key: str
    for_all: bool


@dataclass(frozen=True, slots=True)
class ModeHere:
    """The mode in force in a namespace. ``unsure`` where labels of the namespace decide, which are not known here: then
    it is the stronger one."""

    namespace: str
    mode: Mode
    unsure: bool


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """``where`` in words; ``ended`` and ``soon`` by the time of the page."""

    id: str
    policies: tuple[str, ...]
    where: str
    reason: str
    owner: str
    expires: datetime
    ended: bool
    soon: bool


def mode_rows(modes: Modes, policy: PolicyInfo, visible: Visible) -> tuple[ModeRow, ...]:
    """The lines that say something of the policy, in the order in which they are asked; the policy's own word last."""
    return tuple(_mode_rows(modes, policy, visible))


def _mode_rows(modes: Modes, policy: PolicyInfo, visible: Visible) -> Iterator[ModeRow]:
    tables = [
        (f"in the namespace {namespace}", table, f"policies.namespaces.{namespace}")
        for namespace, table in sorted(modes.namespaces.items())
        if visible is None or namespace in visible
    ]
    tables += [
        (scope_words(override.scope, visible), override.modes, f"policies.overrides.{at}")
        for at, override in enumerate(modes.overrides)
        if concerns(override.scope, visible)
    ]
    tables.append(("everywhere else", modes.modes, "policies.modes"))
    for where, table, key in tables:
        for name in (policy.name, ANY_POLICY):
            if name in table:
                yield ModeRow(where, table[name], f"{key}.{name}", for_all=name == ANY_POLICY)
                break
    yield ModeRow("where nothing else is said", policy.mode, "METADATA of the policy", for_all=False)


def modes_here(modes: Modes, policy: PolicyInfo, visible: Visible) -> tuple[ModeHere, ...]:
    """The mode in each namespace of a reader of few; nothing for who sees all."""
    found = []
    for namespace in sorted(visible or ())[:SHOWN_NAMESPACES]:
        place = Place(namespace)
        unsure = len(modes.chosen(policy.name, place)) > 1 and modes.by_labels
        found.append(ModeHere(namespace, modes.strongest(policy, place), unsure))
    return tuple(found)


def exception_rows(
    exceptions: Sequence[PolicyException], now: datetime, visible: Visible, policy: str = ""
) -> tuple[ExceptionRow, ...]:
    """Those of the policy, or all, that concern the reader; what ends next first and what has ended last."""
    rows = [
        ExceptionRow(
            id=one.id,
            policies=tuple(sorted(one.policies)),
            where=_exception_words(one, visible),
            reason=one.reason,
            owner=one.owner,
            expires=one.expires,
            ended=one.expires <= now,
            soon=now < one.expires <= now + SOON,
        )
        for one in exceptions
        if (not policy or policy in one.policies) and concerns(one.scope, visible)
    ]
    return tuple(sorted(rows, key=lambda row: (row.ended, row.expires if not row.ended else now + (now - row.expires))))


def concerns(scope: Scope, visible: Visible) -> bool:
    """Whether a scope may hold in a namespace of the reader."""
    return visible is None or any(scope.holds(Place(namespace)) is not False for namespace in visible)


def scope_words(scope: Scope, visible: Visible = None) -> str:
    """``in namespaces team-*, where the label env is prod``; of names those alone that mean one of the reader's."""
    named = [
        name for name in scope.namespaces if visible is None or any(matches(name, namespace) for namespace in visible)
    ]
    others = " and others" if len(named) < len(scope.namespaces) else ""
    parts = [f"in namespaces {', '.join(named)}{others}"] if scope.namespaces else []
    if scope.labels is not None:
        parts.append(f"where {_selector(scope.labels)}")
    return ", ".join(parts) or "everywhere"


def _selector(selector: LabelSelector) -> str:
    told = [f"the label {key} is {value}" for key, value in sorted(selector.labels.items())]
    told += [_requirement(one) for one in selector.requirements]
    return " and ".join(told) or "labels are any"


def _requirement(one: LabelRequirement) -> str:
    values = f" {', '.join(one.values)}" if one.values else ""
    return f"the label {one.key} {_OPERATORS[one.operator]}{values}"


def _exception_words(one: PolicyException, visible: Visible) -> str:
    parts = [scope_words(one.scope, visible)]
    if one.kinds:
        parts.append(f"kinds {', '.join(sorted(one.kinds))}")
    if one.names:
        parts.append(f"names {', '.join(one.names)}")
    if one.images:
        parts.append(f"images {', '.join(pattern.text for pattern in one.images)}")
    return "; ".join(parts)
