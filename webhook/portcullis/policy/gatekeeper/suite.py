"""Suites of Gatekeeper's ``gator verify``: what is expected of a template and a constraint, read and run.

Source: https://open-policy-agent.github.io/gatekeeper/website/docs/gator and pkg/gator/verify of Gatekeeper.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from portcullis.limits import Limits
from portcullis.policy.gatekeeper.files import TEST, ForeignError, Item, read_items
from portcullis.policy.reading import read_text, walk
from portcullis.ports import Engine
from portcullis.strictyaml import Location

"""Folders in folders."""

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
    found: list[Suite] = []
    paths = [folder] if folder.is_file() else list(walk(folder, str(folder), limits))
    for path in paths:
        if path.suffix not in (".yaml", ".yml"):
            continue
        text = read_text(path, str(path), limits)
        if TEST in text:
            found.extend(_suites(path, text, limits))
    return tuple(found)


def _suites(path: Path, text: str, limits: Limits) -> Iterator[Suite]:
    try:
        items = [item for item in read_items(str(path), text, (TEST,), limits) if item.value.get("kind") == "Suite"]
    except ForeignError as error:
        yield Suite(path, str(path), (), skip=False, problem=error.problem.message, line=error.problem.row)
        return
    for item in items:
        try:
            yield Suite(path, str(path), tuple(_tests(item)), skip=_flag(item, "skip"), line=item.line())
        except ForeignError as error:
            yield Suite(path, str(path), (), skip=False, problem=error.problem.message, line=error.problem.row)


def _tests(item: Item) -> Iterator[Test]:
    for index, test in enumerate(_list(item, "tests")):
        where: Location = ("tests", index)
        if not isinstance(test, dict):
            raise item.wrong("must be an object", *where)
        if test.get("expansion"):
            raise item.wrong("is not supported: nothing is expanded here", *where, "expansion")
        yield Test(
            name=_text(item, *where, "name"),
            template=_text(item, *where, "template"),
            constraint=_text(item, *where, "constraint"),
            cases=tuple(_cases(item, where)),
            invalid=_flag(item, *where, "invalid"),
            skip=_flag(item, *where, "skip"),
            line=item.line(*where),
        )


def _cases(item: Item, above: Location) -> Iterator[Case]:
    for index, case in enumerate(_list(item, *above, "cases")):
        where = (*above, "cases", index)
        if not isinstance(case, dict):
            raise item.wrong("must be an object", *where)
        inventory = _list(item, *where, "inventory")
        if not all(isinstance(path, str) for path in inventory):
            raise item.wrong("must be a list of paths", *where, "inventory")
        yield Case(
            name=_text(item, *where, "name"),
            object=_text(item, *where, "object"),
            inventory=tuple(inventory),
            assertions=tuple(_assertions(item, where)),
            skip=_flag(item, *where, "skip"),
            line=item.line(*where),
        )


def _assertions(item: Item, above: Location) -> Iterator[Assertion]:
    for index, assertion in enumerate(_list(item, *above, "assertions")):
        where = (*above, "assertions", index)
        if not isinstance(assertion, dict):
            raise item.wrong("must be an object with violations and message", *where)
        count = assertion.get("violations")
        # The reader knows YAML 1.1, in which yes and no are true and false.
        if count is None or isinstance(count, bool):
            count = "no" if count is False else "yes"
        if count not in ("yes", "no") and not (isinstance(count, int) and count >= 0):
            raise item.wrong("must be yes, no, or a whole number from 0", *where, "violations")
        message = _text(item, *where, "message")
        try:
            re.compile(message)
        except re.error as error:
            raise item.wrong(f"is no regular expression: {error}", *where, "message") from None
        yield Assertion(count, message)


def _value(item: Item, *where: str | int) -> Any:
    value: Any = item.value
    for part in where[:-1]:
        value = value[part]
    return value.get(where[-1])


def _text(item: Item, *where: str | int) -> str:
    value = _value(item, *where)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise item.wrong("must be text", *where)
    return value


def _flag(item: Item, *where: str | int) -> bool:
    value = _value(item, *where)
    if not isinstance(value, bool | None):
        raise item.wrong("must be true or false", *where)
    return value is True


def _list(item: Item, *where: str | int) -> list[Any]:
    value = _value(item, *where)
    if value is None:
        return []
    if not isinstance(value, list):
        raise item.wrong("must be a list", *where)
    return value


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
        engine: called once, unless there is nothing to run.
        selected: whether to run the case of the test with these names; None runs all, others are SKIPPED.
        seconds: for one case.

    Raises:
        EngineError: OPA is not there. What is wrong with a suite, a template or an object is in the results.
    """
    from portcullis.policy.gatekeeper.running import Run

    return await Run(suite, limits, selected or (lambda _test, _case: True), seconds).results(engine)
