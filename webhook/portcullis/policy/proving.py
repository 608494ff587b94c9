"""What is found out about policies before they count: findings of lint, and the tests that lie beside."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import CompileProblem, ConfigError, EngineMalformed, EngineUnavailable
from portcullis.limits import Limits
from portcullis.policy.folders import FoundFile, policy_files
from portcullis.policy.linting.finding import Level
from portcullis.policy.linting.linter import lint
from portcullis.policy.memory import memory_goal
from portcullis.policy.process import run_opa
from portcullis.policy.workspace import Workspace
from portcullis.text import clean

OUTPUT_BYTES = 16 * 1024 * 1024
SHOWN = 50

_OURS = re.compile(rb"^[ \t]*package[ \t]+portcullis\.", re.MULTILINE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str

    @property
    def is_test(self) -> bool:
        return self.path.endswith("_test.rego")


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
    """What keeps the policies of ``folders`` out, by their own tests: each that fails, or why none could be run.

    Args:
        beside: folders whose policies and libraries are there too, without their tests.
        limits: ``policy_test_seconds`` bounds the whole.

    Raises:
        PolicyCompileError: a file cannot be read.
        EngineUnavailable, EngineMalformed: OPA is not there, takes too long, or is not as documented.
    """
    files = await asyncio.to_thread(_files, folders, beside, limits)
    if not any(file.is_test for file in files):
        return ()
    workspace = await asyncio.to_thread(Workspace)
    try:
        place = workspace.path / "tests"
        await asyncio.to_thread(_write, place, files)
        check = await run_opa(
            binary,
            ("check", "--format", "json", "--max-errors", str(SHOWN), str(place)),
            seconds=limits.policy_test_seconds,
            output_bytes=OUTPUT_BYTES,
        )
        if check.code != 0:
            return _errors(check.stderr or check.stdout, files)
        done = await run_opa(
            binary,
            ("test", "--format", "json", str(place)),
            seconds=limits.policy_test_seconds,
            output_bytes=OUTPUT_BYTES,
        )
        return _failures(done.stdout, files)
    finally:
        await asyncio.to_thread(workspace.remove)


def _files(folders: Sequence[Path], beside: Sequence[Path], limits: Limits) -> list[_File]:
    own = [_File(one.shown, one.content.decode("utf-8", "replace")) for one in _rego(folders, limits)]
    more = [_File(one.shown, one.content.decode("utf-8", "replace")) for one in _rego(beside, limits)]
    return [*own, *(file for file in more if not file.is_test)]


def _rego(folders: Sequence[Path], limits: Limits) -> list[FoundFile]:
    return [one for folder in folders for one in policy_files(folder, limits) if one.path.suffix == ".rego"]


def _write(place: Path, files: Sequence[_File]) -> None:
    place.mkdir(mode=0o700)
    for number, file in enumerate(files):
        (place / f"{number:05}{'_test' if file.is_test else ''}.rego").write_text(file.text, encoding="utf-8")


def _errors(output: bytes, files: Sequence[_File]) -> tuple[CompileProblem, ...]:
    try:
        errors = msgspec.json.decode(output, type=dict[str, Any])["errors"]
        return tuple(_problem(error.get("location") or {}, str(error["message"]), files) for error in errors)
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
        said = clean(output.decode("utf-8", "replace"), 300)
        raise EngineMalformed(f"`opa check` of the tests failed: {said}") from error


def _failures(output: bytes, files: Sequence[_File]) -> tuple[CompileProblem, ...]:
    try:
        results = msgspec.json.decode(output or b"[]", type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        said = clean(output.decode("utf-8", "replace"), 300)
        raise EngineMalformed(f"`opa test` failed: {said}") from error
    failed = [one for one in results if one.get("fail") or one.get("error")]
    return tuple(_problem(one.get("location") or {}, _why(one), files) for one in failed[:SHOWN])


def _why(result: Mapping[str, Any]) -> str:
    error = result.get("error")
    said = f": {error.get('message')}" if isinstance(error, Mapping) else ""
    return f"the test {result.get('name')} fails{said}"


def _problem(location: Mapping[str, Any], message: str, files: Sequence[_File]) -> CompileProblem:
    stem = str(location.get("file", "")).rpartition("/")[2].removesuffix(".rego").removesuffix("_test")
    known = stem.isascii() and stem.isdigit() and int(stem) < len(files)
    row, column = location.get("row"), location.get("col")
    return CompileProblem(
        file=clean(files[int(stem)].path, 300) if known else "tests",
        row=row if isinstance(row, int) else 0,
        column=column if isinstance(column, int) else 0,
        message=clean(message, 1000),
    )
