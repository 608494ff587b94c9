"""Suites of Gatekeeper among the tests."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from portcullis.limits import Limits
from portcullis.policy.gatekeeper.suite import CaseResult, Suite, read_suites, run_suite
from portcullis.policy.gatekeeper.suite import Outcome as CaseOutcome
from portcullis.policy.opa import OpaEngine
from portcullis.policy.supervisor import OpaSupervisor
from portcullis.policy.testing.results import Kind, Outcome, Result
from portcullis.ports import Engine
from portcullis.server.clock import SystemClock
from portcullis.text import clean

CHARS = 600

_OUTCOMES = {
    CaseOutcome.PASSED: Outcome.PASSED,
    CaseOutcome.FAILED: Outcome.FAILED,
    CaseOutcome.SKIPPED: Outcome.SKIPPED,
    CaseOutcome.ERROR: Outcome.BROKEN,
}


def find_suites(folders: Sequence[Path], limits: Limits) -> Iterator[Suite]:
    """The suites below the folders, each file once.

    Raises:
        PolicyCompileError: a folder that cannot be read.
    """
    seen: set[Path] = set()
    for folder in folders:
        found = [suite for suite in read_suites(folder, limits) if suite.path.resolve() not in seen]
        seen |= {suite.path.resolve() for suite in found}
        yield from found


async def judge_suite(suite: Suite, *, pattern: str, binary: Path | None, limits: Limits) -> tuple[Result, ...]:
    """The cases whose full name the pattern is found in.

    Raises:
        EngineError: OPA is not there.
    """

    def selected(test: str, case: str) -> bool:
        return re.search(pattern, f"{suite.name}: {_name(test, case)}") is not None

    @asynccontextmanager
    async def engine() -> AsyncIterator[Engine]:
        supervisor = OpaSupervisor(binary=binary, limits=limits, keep_seconds=0)
        try:
            yield OpaEngine(supervisor=supervisor, clock=SystemClock(), limits=limits)
        finally:
            await supervisor.aclose()

    found = await run_suite(suite, engine, limits, selected=selected, seconds=limits.test_seconds)
    return tuple(_result(one) for one in found if not pattern or selected(one.test, one.case))


def _result(case: CaseResult) -> Result:
    wrong = case.outcome in (CaseOutcome.FAILED, CaseOutcome.ERROR)
    diff = (f"- {clean(case.expected, CHARS)}", f"+ {clean(case.found, CHARS)}")
    broken = case.outcome is CaseOutcome.ERROR
    return Result(
        kind=Kind.SUITE,
        group=case.suite,
        name=_name(case.test, case.case) or case.suite,
        file=case.file,
        row=case.line,
        outcome=_OUTCOMES[case.outcome],
        seconds=case.seconds,
        message=clean(case.found, CHARS) if broken else f"object {case.object}" if wrong and case.object else "",
        diff=diff if wrong and not broken else (),
    )


def _name(test: str, case: str) -> str:
    return f"{test}/{case}" if case else test
