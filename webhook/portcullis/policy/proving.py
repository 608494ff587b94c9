"""What is found out about policies before they count: findings of lint, and the tests that lie beside."""

import asyncio
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from portcullis.errors import CompileProblem, ConfigError, EngineUnavailable, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.folders import FoundFile, policy_files
from portcullis.policy.linting.finding import Level
from portcullis.policy.linting.linter import lint
from portcullis.policy.memory import memory_goal
from portcullis.policy.testing.results import Outcome, Result
from portcullis.policy.testing.running import Runner
from portcullis.policy.testing.sources import FIXTURES, Sources, rego_file
from portcullis.text import clean

SHOWN = 50

_OURS = re.compile(rb"^[ \t]*package[ \t]+portcullis\.", re.MULTILINE)

log = logging.getLogger(__name__)


async def lint_errors(folders: Sequence[Path], *, binary: Path, limits: Limits) -> tuple[CompileProblem, ...]:
    """What lint finds wrong with the policies of ``folders``, as far as they are written for Portcullis: of those from
    elsewhere it does not know the input. Warnings are logged.

    Args:
        limits: ``policy_test_seconds`` bounds the whole.

    Raises:
        EngineUnavailable, EngineMalformed: OPA is not there, takes too long, or is not as documented.
    """
    files = {str(file.path): file for file in await asyncio.to_thread(_rego, folders, limits)}
    ours = [file.path for file in files.values() if _OURS.search(file.content)]
    if not ours:
        return ()
    try:
        async with asyncio.timeout(limits.policy_test_seconds):
            report = await lint(ours, binary=binary, regal=None, limits=limits, memory_bytes=memory_goal())
    except TimeoutError as error:
        raise EngineUnavailable(f"lint did not end in {limits.policy_test_seconds:g} s") from error
    except ConfigError as error:
        return (CompileProblem("policies", 0, 0, clean(error.message, 1000)),)
    problems = []
    for found in report.findings:
        shown = files[found.file].shown if found.file in files else "policies"
        if found.level is Level.ERROR:
            message = clean(f"{found.message} [{found.rule}]", 1000)
            problems.append(CompileProblem(clean(shown, 300), found.row, found.column, message))
        else:
            log.info("policy lint: %s:%d: %s [%s]", clean(shown, 300), found.row, found.message, found.rule)
    return tuple(problems[:SHOWN])


async def failing_tests(
    folders: Sequence[Path], beside: Sequence[Path], *, binary: Path, limits: Limits
) -> tuple[CompileProblem, ...]:
    """What keeps the policies of ``folders`` out, by their own tests: each that fails, or why none could be run. Tests
    may do no more than policies: whoever may write one must not reach the network through the gate.

    Args:
        beside: folders whose policies and libraries are there too, without their tests.
        limits: ``policy_test_seconds`` bounds the whole.

    Raises:
        PolicyCompileError: a file cannot be read.
        EngineUnavailable, EngineMalformed: OPA is not there, takes too long, or is not as documented.
    """
    sources = (await asyncio.to_thread(_sources, folders, beside, limits)).needed()
    try:
        async with asyncio.timeout(limits.policy_test_seconds):
            results = await Runner(binary=binary, limits=limits).run(sources, sources.test_packages)
    except TimeoutError as error:
        raise EngineUnavailable(f"the tests did not end in {limits.policy_test_seconds:g} s") from error
    except PolicyCompileError as error:
        return error.problems
    failed = [one for one in results if one.outcome in (Outcome.FAILED, Outcome.BROKEN)]
    return tuple(CompileProblem(one.file, one.row, 1, _why(one)) for one in failed[:SHOWN])


def _sources(folders: Sequence[Path], beside: Sequence[Path], limits: Limits) -> Sources:
    own = [rego_file(clean(one.shown, 300), _text(one), own=True) for one in _rego(folders, limits)]
    mine = {file.package for file in own}
    more = [rego_file(one.shown, _text(one), own=False) for one in _rego(beside, limits)]
    usable = [one for one in more if one.package not in mine and (not one.is_test or one.path.endswith(FIXTURES))]
    return Sources((*own, *usable))


def _text(file: FoundFile) -> str:
    return file.content.decode("utf-8", "replace")


def _rego(folders: Sequence[Path], limits: Limits) -> list[FoundFile]:
    return [one for folder in folders for one in policy_files(folder, limits) if one.path.suffix == ".rego"]


def _why(result: Result) -> str:
    return clean(f"the test {result.name} fails{f': {result.message}' if result.message else ''}", 1000)
