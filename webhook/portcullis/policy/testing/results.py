"""What a test came to, whatever kind of test it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a test is written as."""

    REGO = "rego"
    FIXTURE = "fixture"
    SUITE = "suite"


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"
    """It could not be run: that says nothing of the policy."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """An expression that was false, or undefined.

    Args:
        rule: the rule that it stands in.
        expression: as it is written.
        values: names in it with the values that they had.
        reads: places of the input that it read, with what stood there.
    """

    file: str
    row: int
    rule: str
    expression: str
    values: tuple[tuple[str, str], ...] = ()
    reads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One test.

    Args:
        group: the Rego package, or the file.
        cases: of a test with cases, those that failed.
        message: why it did not pass, in a sentence; "" where ``steps`` say it.
        steps: the expression of the test that was false, then those in the rules that it asked.
        diff: expected and got, line by line (``-`` and ``+``).
        printed: what its calls of ``print`` wrote.
    """

    kind: Kind
    group: str
    name: str
    file: str
    row: int
    outcome: Outcome
    seconds: float = 0.0
    cases: tuple[str, ...] = ()
    message: str = ""
    steps: tuple[Step, ...] = ()
    diff: tuple[str, ...] = ()
    printed: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.group}.{self.name}" if self.kind is Kind.REGO else f"{self.group}: {self.name}"


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many of each outcome."""
    outcomes = [result.outcome for result in results]
    return {str(outcome): outcomes.count(outcome) for outcome in Outcome}
