"""What is said of a workload that runs: how it stands, in a word and in a sentence, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portcullis.model.running import Condition, MovedTag, ObjectRef, Rejudged
from portcullis.server.review.decisionwords import NAME_CHARS, Why, listed, whys
from portcullis.server.review.rendering import address, count, short
from portcullis.text import clean

NO_NAMESPACE: Final = "-"
"""In an address, for what lives in no namespace; no namespace can have that name."""


@dataclass(frozen=True, slots=True)
class Words:
    """``sign`` names sign and colour; ``what`` says what is true of the workloads that stand so."""

    word: str
    sign: str
    what: str


WORDS: Final[Mapping[Condition, Words]] = {
    Condition.FAILING: Words("failing", "refused", "A policy in mode deny is violated, or a tag has moved."),
    Condition.UNKNOWN: Words("unknown", "outage", "A policy in mode deny could not be evaluated."),
    Condition.BREAK_GLASS: Words("break-glass", "break-glass", "It stands by a grant, or was let in by one."),
    Condition.EXCEPTED: Words("excepted", "exception", "It would fail but for exceptions."),
    Condition.WARNED: Words("warned", "warn", "Policies in mode warn or audit are violated."),
    Condition.GOOD: Words("good", "admitted", "No policy is violated."),
}
"""The worst first."""


def condition_words(condition: Condition) -> Words:
    return WORDS[condition]


def owner_words(owner: ObjectRef) -> str:
    """``Deployment shop/checkout``."""
    place = f"{owner.namespace}/{owner.name}" if owner.namespace else owner.name
    return clean(f"{owner.kind} {place}", 2 * NAME_CHARS).strip() or "a workload without a name"


def owner_address(owner: ObjectRef) -> str:
    """The address of its page."""
    return address(f"/running/{owner.namespace or NO_NAMESPACE}/{_part(owner.kind)}/{_part(owner.name)}")


def _part(text: str) -> str:
    """Part of a path: what a name of Kubernetes cannot hold is shown nowhere and leads nowhere."""
    return text.replace("/", "") or NO_NAMESPACE


def moved_words(moved: MovedTag) -> str:
    return f"{moved.container} runs {short(moved.running)}…, judged was {short(moved.judged)}…: {moved.written}"


def running_whys(result: Rejudged) -> tuple[Why, ...]:
    """What counted, what makes it fail first."""
    moved = tuple(
        Why(one.reason, clean(moved_words(one), 300), refuses=True, is_policy=False) for one in result.moved[:1]
    )
    return (*moved, *whys(result.decision))


def running_sentence(result: Rejudged) -> str:
    """How it stands, in one sentence."""
    decision, what = result.decision, owner_words(result.owner)
    refusing = list(dict.fromkeys(one.policy for one in decision.violations if one.refuses))
    if result.condition is Condition.FAILING:
        parts = [f"it violates {listed(refusing)}"] if refusing else []
        parts += [f"{count(len(result.moved), 'tag has', 'tags have')} moved since it was admitted"] * bool(
            result.moved
        )
        return f"{what} fails: {' and '.join(parts) or 'what it violates is not kept'}."
    if result.condition is Condition.UNKNOWN:
        blocked = list(dict.fromkeys(one.policy for one in decision.undecided if one.blocks))
        return f"Nobody knows how {what} stands: {listed(blocked) or 'not every policy'} could not be evaluated."
    if result.condition is Condition.BREAK_GLASS:
        covered = list(dict.fromkeys(one.policy for one in decision.covered))
        if covered:
            return f"{what} stands by break-glass, although {listed(covered)} {_verb(covered)} against it."
        return f"{what} was let in by break-glass. By now no policy is against it."
    if result.condition is Condition.EXCEPTED:
        covered = list(dict.fromkeys(one.policy for one in decision.violations if one.exception))
        return f"{what} stands by an exception, although it violates {listed(covered)}."
    if result.condition is Condition.WARNED:
        found = list(dict.fromkeys(one.policy for one in decision.violations))
        unknown = list(dict.fromkeys(one.policy for one in decision.undecided))
        parts = [f"violates {listed(found)}"] if found else []
        parts += [f"could not be judged by {listed(unknown)}"] if unknown and not found else []
        return f"{what} {' and '.join(parts) or 'is warned about'}, which is not enforced here."
    return f"{what} is good: no policy is violated."


def _verb(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
