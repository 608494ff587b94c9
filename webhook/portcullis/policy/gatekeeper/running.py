"""Runs the cases of one suite (suite.py).

All tests of a suite are compiled into one policy set, in which each has a place of its own; so one OPA judges all
cases, and two tests may have templates of one kind. Each case brings its inventory in the policy input.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portcullis.errors import CompileProblem, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.json import JSONObject
from portcullis.model.ruling import CompiledBundle, Constraint, PolicyBundle, PolicySource
from portcullis.policy.bridges import INVENTORY_INPUT, UNKNOWN_NAMESPACE
from portcullis.policy.bundle import revision_of
from portcullis.policy.gatekeeper.constraints import GATOR, SchemaError, read_constraint
from portcullis.policy.gatekeeper.files import CONSTRAINTS, TEMPLATES, ForeignError, Item, read_items
from portcullis.policy.gatekeeper.review import CaseError, inventory_of, namespace_of, request_of
from portcullis.policy.gatekeeper.suite import (
    Assertion,
    Case,
    CaseResult,
    EngineFactory,
    Outcome,
    Suite,
    Test,
)
from portcullis.policy.gatekeeper.templates import read_template
from portcullis.policy.reading import read_text
from portcullis.ports import Engine
from portcullis.strictyaml import Rules, StrictYamlError, load_documents
from portcullis.text import clean

_EXPECTED_INVALID = "a constraint that does not fit the schema of the template"


@dataclass(frozen=True, slots=True)
class _Ready:
    """A test that can be compiled. ``constraint`` is None where none of its actions is for gator: it never applies."""

    test: Test
    sources: tuple[PolicySource, ...]
    constraint: Constraint | None
    parameters: JSONObject


class Run:
    """One run of one suite."""

    def __init__(self, suite: Suite, limits: Limits, selected: Callable[[str, str], bool], seconds: float) -> None:
        self._suite = suite
        self._limits = limits
        self._selected = selected
        self._seconds = seconds
        self._errors: dict[int, str] = {}
        """By the number of a test: why it cannot be run."""

    async def results(self, factory: EngineFactory) -> Sequence[CaseResult]:
        """See :func:`portcullis.policy.gatekeeper.suite.run_suite`."""
        suite = self._suite
        if suite.problem:
            return [self._result(None, None, Outcome.ERROR, "a suite", suite.problem)]
        ready: dict[int, _Ready] = {}
        invalid: dict[int, CaseResult] = {}
        for number, test in enumerate(suite.tests):
            if suite.skip or test.skip:
                continue
            try:
                ready[number] = self._ready(number, test)
                if test.invalid:
                    invalid[number] = self._result(test, None, Outcome.FAILED, _EXPECTED_INVALID, "it fits")
            except (ForeignError, PolicyCompileError) as error:
                if test.invalid and isinstance(error.__cause__, SchemaError):
                    invalid[number] = self._result(test, None, Outcome.PASSED, _EXPECTED_INVALID, str(error))
                else:
                    self._errors[number] = str(error)
        runnable = {number: one for number, one in ready.items() if number not in invalid}
        results: dict[int, Sequence[CaseResult]] = {number: [result] for number, result in invalid.items()}
        if any(True for number, one in runnable.items() for case in self._chosen(one.test)):
            async with factory() as engine:
                compiled = await self._compile(engine, runnable)
                for number, one in runnable.items():
                    if number not in self._errors:
                        results[number] = [await self._case(engine, compiled, number, one, c) for c in one.test.cases]
        return [
            result
            for number, test in enumerate(suite.tests)
            for result in results.get(number) or self._without(number, test)
        ]

    def _chosen(self, test: Test) -> Iterator[Case]:
        return (case for case in test.cases if not case.skip and self._selected(test.name, case.name))

    def _without(self, number: int, test: Test) -> Sequence[CaseResult]:
        """The results of a test that was not run."""
        if number in self._errors:
            return [self._result(test, None, Outcome.ERROR, "a test that can be run", self._errors[number])]
        skipped = Outcome.SKIPPED
        cases = [self._result(test, case, skipped, _expected(case.assertions), "skipped") for case in test.cases]
        if cases or self._suite.skip or test.skip:
            return cases or [self._result(test, None, skipped, "", "skipped")]
        return [self._result(test, None, Outcome.ERROR, "cases", "the test has no cases")]

    def _result(
        self,
        test: Test | None,
        case: Case | None,
        outcome: Outcome,
        expected: str,
        found: str,
        messages: Sequence[str] = (),
        seconds: float = 0.0,
    ) -> CaseResult:
        line = case.line if case is not None else test.line if test is not None else self._suite.line
        return CaseResult(
            suite=self._suite.name,
            test=test.name if test is not None else "",
            case=case.name if case is not None else "",
            outcome=outcome,
            expected=expected,
            found=clean(found, 1000),
            messages=tuple(messages),
            file=self._suite.name,
            line=line,
            object=case.object if case is not None else "",
            seconds=seconds,
        )

    # -- templates and constraints -----------------------------------------------------------------------------

    def _ready(self, number: int, test: Test) -> _Ready:
        template = read_template(self._one(test.template, "template", TEMPLATES))
        item = self._one(test.constraint, "constraint", CONSTRAINTS)
        if item.value.get("kind") != template.kind:
            raise item.wrong(f"must be {template.kind}, as the template says", "kind")
        read = read_constraint(item, template, point=GATOR)
        unit = f"{number}-{template.kind}"
        constraint = replace(read.constraint, unit=unit, name=_policy(number), match=_for_gator(read.constraint.match))
        sources = tuple(replace(source, unit=unit) for source in template.sources)
        return _Ready(test, sources, constraint if read.applies else None, read.parameters)

    def _one(self, path: str, what: str, group: str) -> Item:
        if not path:
            raise PolicyCompileError((CompileProblem(self._suite.name, 0, 0, f"the test has no {what}"),))
        text = self._read(path)
        items = [item for item in read_items(path, text, (group,), self._limits) if item.group == group]
        if len(items) != 1:
            message = f"holds {len(items)} objects of {group}; a {what} is one"
            raise PolicyCompileError((CompileProblem(clean(path, 300), 0, 0, message),))
        return items[0]

    def _read(self, path: str) -> str:
        if Path(path).is_absolute():
            raise PolicyCompileError((CompileProblem(clean(path, 300), 0, 0, "must be relative to the suite"),))
        place = self._suite.path.parent / path
        return read_text(place, str(place), self._limits)

    async def _compile(self, engine: Engine, runnable: Mapping[int, _Ready]) -> CompiledBundle:
        """All tests but those whose template does not compile, which are noted."""
        while True:
            left = {number: one for number, one in runnable.items() if number not in self._errors}
            try:
                compiled = await engine.compile(_bundle(left))
                break
            except PolicyCompileError as error:
                files = {problem.file for problem in error.problems}
                blamed = [number for number, one in left.items() if clean(one.test.template, 300) in files]
                for number in blamed or left:
                    self._errors[number] = str(error)
        for policy in compiled.policies:
            if policy.unsupported:
                self._errors[int(policy.name.rpartition(".")[2])] = policy.unsupported
        return compiled

    # -- cases ------------------------------------------------------------------------------------------------

    async def _case(
        self, engine: Engine, compiled: CompiledBundle, number: int, ready: _Ready, case: Case
    ) -> CaseResult:
        test, expected = ready.test, _expected(case.assertions)
        if case.skip or not self._selected(test.name, case.name):
            return self._result(test, case, Outcome.SKIPPED, expected, "skipped")
        started = time.monotonic()
        try:
            messages = await self._messages(engine, compiled, number, ready, case)
        except (CaseError, PolicyCompileError) as error:
            return self._result(test, case, Outcome.ERROR, expected, str(error))
        failed = [assertion for assertion in case.assertions if not _holds(assertion, messages)]
        return self._result(
            test,
            case,
            Outcome.FAILED if failed else Outcome.PASSED,
            _expected(failed or case.assertions),
            _found(messages),
            messages,
            time.monotonic() - started,
        )

    async def _messages(
        self, engine: Engine, compiled: CompiledBundle, number: int, ready: _Ready, case: Case
    ) -> Sequence[str]:
        if not case.object:
            raise CaseError("the case has no object")
        if not case.assertions:
            raise CaseError("the case has no assertions")
        objects = self._objects(case.object)
        if len(objects) != 1:
            raise CaseError(f"{clean(case.object, 200)} holds {len(objects)} objects; a case judges one")
        inventory = inventory_of(one for path in case.inventory for one in self._objects(path))
        request = request_of(objects[0])
        if ready.constraint is None:
            return ()
        document = {
            "time": {"now": datetime.now(UTC).isoformat()},
            "request": request,
            "namespace": namespace_of(request, inventory),
            INVENTORY_INPUT: inventory,
        }
        deadline = time.monotonic() + self._seconds
        ruling = await engine.evaluate(compiled, [_policy(number)], json.dumps(document).encode(), deadline)
        for failure in ruling.failed:
            # As in Gatekeeper, an object whose namespace is not known is refused by such a constraint.
            if failure.message == UNKNOWN_NAMESPACE:
                return [failure.message]
            raise CaseError(f"it cannot be judged: {failure.message}")
        return [hit.msg for hit in ruling.hits]

    def _objects(self, path: str) -> Sequence[Mapping[str, Any]]:
        rules = Rules(max_values=self._limits.input_values, max_depth=self._limits.json_depth, as_kubectl=True)
        try:
            documents = [document.value for document in load_documents(self._read(path), rules)]
        except StrictYamlError as error:
            raise CaseError(f"{clean(path, 200)}: {error}") from None
        objects = [document for document in documents if document is not None]
        if not objects or not all(isinstance(one, dict) for one in objects):
            raise CaseError(f"{clean(path, 200)} holds no objects, or something else")
        return objects


def _policy(number: int) -> str:
    return f"test.{number}"


def _for_gator(match: JSONObject) -> JSONObject:
    """Gator does not look at the operations of a template: most of its objects have none."""
    return {key: value for key, value in match.items() if key != "operations"}


def _bundle(ready: Mapping[int, _Ready]) -> PolicyBundle:
    sources = tuple(source for one in ready.values() for source in one.sources)
    constraints = tuple(one.constraint for one in ready.values() if one.constraint is not None)
    parameters = {_policy(number): one.parameters for number, one in ready.items()}
    return PolicyBundle(
        sources=sources,
        parameters=parameters,
        revision=revision_of(sources, parameters, constraints),
        constraints=constraints,
        inventory_in_input=True,
    )


def _holds(assertion: Assertion, messages: Sequence[str]) -> bool:
    count = sum(1 for message in messages if re.search(assertion.message, message))
    if isinstance(assertion.violations, int):
        return count == assertion.violations
    return (count > 0) is (assertion.violations == "yes")


def _expected(assertions: Sequence[Assertion]) -> str:
    words = {"yes": "at least one violation", "no": "no violation"}
    parts = [
        words.get(str(one.violations), f"exactly {one.violations} violations")
        + (f" with a message like {clean(one.message, 100)!r}" if one.message else "")
        for one in assertions
    ]
    return "; ".join(parts)


def _found(messages: Sequence[str]) -> str:
    if not messages:
        return "no violation"
    return f"{len(messages)} violations: " + "; ".join(clean(message, 200) for message in messages[:5])
