"""Facts of the input with more than two states, and what a policy asks of them.

Contract: a fact that may be unknown is never tested for its bad value; the good one is named and negated. What is
recorded here are the tests of one policy; a test for the bad value is told only where no other test of the policy
covers what is unknown, so that two rules, one for `true` and one for "unknown", are as good.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from portcullis.policy.linting.values import Value

FORMATTING = frozenset({"sprintf", "concat", "print", "json.marshal", "format_int", "trace"})
"""What a fact is handed to only to be shown."""


@dataclass(frozen=True, slots=True)
class Fact:
    """``bad``: values by which nothing but the bad is known. ``good``: how the good one is written."""

    name: str
    bad: frozenset[Any]
    good: str


_ROOT = Fact("user.root", frozenset({True}), "user.root == false")
_STATUS = Fact("contents.status", frozenset({"pending", "unavailable", "skipped"}), 'contents.status == "complete"')
_COMPLETE = Fact("complete", frozenset({False}), "complete == true")
_PASSED = Fact("passed", frozenset({False}), "passed == true")
_NON_ROOT = Fact("user.runAsNonRoot", frozenset({False}), "user.runAsNonRoot == true")
_DISTROLESS = Fact("contents.os.distroless", frozenset({False}), "contents.os.distroless == true")

FACTS: Mapping[str, Fact] = {
    "input.containers[_].user.root": _ROOT,
    "input.images[_].platforms[_].user.root": _ROOT,
    "input.images[_].platforms[_].contents.status": _STATUS,
    "input.images[_].scans[_].complete": _COMPLETE,
    "input.images[_].lint[_].complete": _COMPLETE,
    "input.images[_].provenance[_].complete": _COMPLETE,
    "input.images[_].evaluations[_].passed": _PASSED,
    "input.containers[_].user.runAsNonRoot": _NON_ROOT,
    "input.images[_].platforms[_].contents.os.distroless": _DISTROLESS,
}


def fact_of(value: Value) -> Fact | None:
    """The fact that the value is, where it is one and nothing else."""
    facts = {FACTS.get(place.path) for place in value.places}
    return facts.pop() if value.certain and len(facts) == 1 else None


@dataclass(slots=True)
class Tests:
    """The tests of one policy: places (file, row, column, text) of those for a bad value, and facts that others
    cover."""

    bad: dict[tuple[str, int, int, str], Fact] = field(default_factory=dict)
    covered: set[Fact] = field(default_factory=set)

    def compared(self, fact: Fact, values: frozenset[Any] | None, sense: int, place: tuple[str, int, int, str]) -> None:
        """The fact is compared.

        Args:
            values: what it is asked to equal; None where that is no constant.
            sense: 1 where the policy fires if that holds, -1 if it does not, 0 where neither is known.
            place: of the test.
        """
        if values is None or not values <= fact.bad or sense < 0:
            self.covered.add(fact)
        elif sense > 0:
            self.bad[place] = fact

    def faults(self) -> Iterator[tuple[tuple[str, int, int, str], Fact]]:
        for place, fact in self.bad.items():
            if fact not in self.covered:
                yield place, fact
