"""Suites of Gatekeeper's ``gator verify``: what is expected of a template and a constraint, read and run.

Source: https://open-policy-agent.github.io/gatekeeper/website/docs/gator and pkg/gator/verify of Gatekeeper.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from portcullis.limits import Limits
from portcullis.ports import Engine

EngineFactory = Callable[[], AbstractAsyncContextManager[Engine]]
"""Makes an engine that lives as long as its context, with an OPA of its own."""


class Outcome(StrEnum):
    """How a case went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    ERROR = "error"
    """It could not be run: a file that is not there, a template that does not compile, a suite of a wrong shape."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What is expected of the violations: how many (``"yes"``, ``"no"`` or a number) have a message in which the
    regular expression ``message`` is found ("" for any)."""

    violations: str | int = "yes"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One object and what is expected. Paths are relative to the suite's file; ``line`` is in that file."""

    name: str
    object: str
    inventory: tuple[str, ...]
    assertions: tuple[Assertion, ...]
    skip: bool
    line: int


@dataclass(frozen=True, slots=True)
class Test:
    """A template, a constraint and cases. ``invalid``: the constraint must not fit the schema of the template."""

    name: str
    template: str
    constraint: str
    cases: tuple[Case, ...]
    invalid: bool
    skip: bool
    line: int


@dataclass(frozen=True, slots=True)
class Suite:
    """One file. ``problem`` says why it cannot be run at all, "" otherwise; ``name`` is how messages name the file."""

    path: Path
    name: str
    tests: tuple[Test, ...]
    skip: bool
    problem: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of one case; of a test that was skipped, is invalid on purpose or cannot be run, ``case`` is "".

    ``expected`` and ``found`` are for people, one line each; ``messages`` are those of all violations. ``file`` is the
    suite as messages name it and ``line`` the case in it; ``object`` is the file of the object, relative to the suite.
    """

    suite: str
    test: str
    case: str
    outcome: Outcome
    expected: str
    found: str
    messages: tuple[str, ...]
    file: str
    line: int
    object: str = ""
    seconds: float = 0.0


def read_suites(folder: Path, limits: Limits) -> tuple[Suite, ...]:
    """The suites in the folder and below, in the order of their names; ``folder`` may also be one file.

    A file that declares no Suite of test.gatekeeper.sh is passed over. One that does and is of a wrong shape is a suite
    with a ``problem``, so that the others are run.

    Raises:
        PolicyCompileError: the folder cannot be read, or crosses a limit (``policy_files``, ``policy_bytes``).
    """
    raise NotImplementedError


async def run_suite(
    suite: Suite,
    engine: EngineFactory,
    limits: Limits,
    *,
    selected: Callable[[str, str], bool] | None = None,
    seconds: float = 30.0,
) -> Sequence[CaseResult]:
    """Runs all cases of the suite in one engine; gives one result for each, in their order.

    Args:
        suite: of :func:`read_suites`.
        engine: called once, or once more for each test if one of them does not compile.
        selected: whether to run the case of the test with these names; None runs all, others are SKIPPED.
        seconds: for one case.

    Raises:
        EngineError: OPA is not there. What is wrong with a suite, a template or an object is in the results.
    """
    raise NotImplementedError
