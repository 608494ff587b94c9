"""What is otherwise between two decisions on the same workload."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from portcullis.model.decision import Decision, JudgedImage, UndecidedPolicy, Violation
from portcullis.server.review.decisionwords import Outcome, outcome

SHOWN = 100
"""Changes of one kind; the rest is counted."""

Fate = Literal["new", "gone", "changed"]
Key = TypeVar("Key")
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is there now and was not, that was there and is not, or that is otherwise.

    Args:
        name: of the policy, or the image without tag and digest.
        before, after: in words, "" where it was not there.
    """

    fate: Fate
    name: str
    before: str
    after: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """From an earlier decision to a later one."""

    before: Outcome
    after: Outcome
    violations: tuple[Change, ...]
    undecided: tuple[Change, ...]
    images: tuple[Change, ...]
    more: int = 0
    """Changes that are not listed."""

    @property
    def nothing(self) -> bool:
        return self.before == self.after and not (self.violations or self.undecided or self.images)


def difference(before: Decision, after: Decision, *, images: bool = True) -> Difference:
    """Args:
    images: whether images are compared; they are the same where one record is judged twice.
    """
    violations = _violations(before.violations, after.violations)
    undecided = _undecided(before.undecided, after.undecided)
    others = _images(before.images, after.images) if images else []
    more = sum(max(len(changes) - SHOWN, 0) for changes in (violations, undecided, others))
    return Difference(
        outcome(before),
        outcome(after),
        tuple(violations[:SHOWN]),
        tuple(undecided[:SHOWN]),
        tuple(others[:SHOWN]),
        more,
    )


# -- violations ------------------------------------------------------------------------------------------------------

Place = tuple[str, str, str]
_REFUSES = "refuses"


def _violations(before: Iterable[Violation], after: Iterable[Violation]) -> list[Change]:
    """Told apart by policy, container and platform: what a violation says may name a tag or a count, and would make
    the same one a new one."""
    old, new = _by_place(before), _by_place(after)
    changes = []
    for place in _ordered(old, new):
        was, now = old.get(place, ()), new.get(place, ())
        if not was or not now:
            fate: Fate = "new" if now else "gone"
            changes.append(_violation_change(fate, place, was, now))
        elif _effect(was) != _effect(now) or {one.msg for one in was} != {one.msg for one in now}:
            changes.append(_violation_change("changed", place, was, now))
    return sorted(changes, key=lambda change: not (change.before + change.after).startswith(_REFUSES))


def _violation_change(fate: Fate, place: Place, was: Collection[Violation], now: Collection[Violation]) -> Change:
    policy, container, platform = place
    where = f"{container} on {platform}" if container and platform else container or platform
    return Change(fate, policy, _says(was), _says(now), where)


def _says(violations: Collection[Violation]) -> str:
    if not violations:
        return ""
    first, *others = violations
    more = f" (and {len(others)} more)" if others else ""
    return f"{_effect(violations)}: {first.msg}{more}"


def _effect(violations: Collection[Violation]) -> str:
    """What they do together: the gravest counts."""
    if any(one.refuses for one in violations):
        return _REFUSES
    first = next(iter(violations))
    return f"excepted by {first.exception}" if first.exception else str(first.mode)


def _by_place(violations: Iterable[Violation]) -> dict[Place, list[Violation]]:
    found: dict[Place, list[Violation]] = {}
    for one in violations:
        found.setdefault((one.policy, one.container, one.platform), []).append(one)
    return found


# -- policies that could not be evaluated, and images ----------------------------------------------------------------


def _undecided(before: Iterable[UndecidedPolicy], after: Iterable[UndecidedPolicy]) -> list[Change]:
    def words(one: UndecidedPolicy | None) -> str:
        if one is None:
            return ""
        reasons = ", ".join(dict.fromkeys(problem.reason for problem in one.problems)) or "not asked"
        return f"{one.mode}: {reasons}"

    return _changes({one.policy: one for one in before}, {one.policy: one for one in after}, words)


def _images(before: Iterable[JudgedImage], after: Iterable[JudgedImage]) -> list[Change]:
    def words(one: JudgedImage | None) -> str:
        if one is None:
            return ""
        return f"{one.written.partition('@')[0]}@{one.digest}" if one.digest else one.written

    return _changes(_by_repository(before), _by_repository(after), words)


def _by_repository(images: Iterable[JudgedImage]) -> dict[str, JudgedImage]:
    """By what stays the same when a version changes. Of several from one repository each has a key of its own."""
    found: dict[str, JudgedImage] = {}
    for image in images:
        name = repository = _repository(image.written)
        number = 1
        while name in found:
            number += 1
            name = f"{repository} ({number})"
        found[name] = image
    return found


def _repository(written: str) -> str:
    name = written.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _changes(old: Mapping[str, Thing], new: Mapping[str, Thing], words: Callable[[Thing | None], str]) -> list[Change]:
    changes = []
    for name in _ordered(old, new):
        was, now = words(old.get(name)), words(new.get(name))
        if was != now:
            fate: Fate = "changed" if was and now else "new" if now else "gone"
            changes.append(Change(fate, name, was, now))
    return changes


def _ordered(old: Mapping[Key, object], new: Mapping[Key, object]) -> Iterable[Key]:
    """What is new first, then what stayed, then what is gone."""
    return (
        [key for key in new if key not in old]
        + [key for key in new if key in old]
        + [key for key in old if key not in new]
    )
