"""Runs Rego tests with OPA, each within its time, and says why those failed that did."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from portcullis.errors import CompileProblem, EngineMalformed, EngineUnavailable, PolicyCompileError, PortcullisError
from portcullis.limits import Limits
from portcullis.policy.capabilities import restricted
from portcullis.policy.process import Completed, own_capabilities, run_opa
from portcullis.policy.testing.coverage import Coverage, read_coverage
from portcullis.policy.testing.references import Package
from portcullis.policy.testing.results import Kind, Outcome, Result
from portcullis.policy.testing.sources import RegoFile, Sources
from portcullis.policy.testing.tracing import explain
from portcullis.policy.workspace import Workspace
from portcullis.text import clean

ERRORS = 50
EXPLAINED = 20
"""Failures that are explained; the others are named."""
PRINTED_CHARS = 4000
MESSAGE_CHARS = 1000

_DEADLINE = "eval_cancel_error"


@dataclass(frozen=True, slots=True)
class _Case:
    """A case of a test, which may hold further ones."""

    name: str
    failed: bool


class Runner:
    """Runs the tests of any sources. Closes nothing but what it opens itself: its files go with the last call.

    Args:
        binary: OPA.
        limits: ``test_seconds`` bounds each test, ``test_run_seconds`` one run, ``test_output_bytes`` what OPA writes.
    """

    def __init__(self, *, binary: Path, limits: Limits) -> None:
        self._binary = binary
        self._limits = limits
        self._capabilities: bytes = b""

    async def run(self, sources: Sources, packages: Sequence[Package], *, pattern: str = "") -> tuple[Result, ...]:
        """The results of the tests of these packages, in the order of their places; why is for :meth:`explain`.

        Args:
            pattern: a regular expression (RE2); only tests are run whose full name it is found in.

        Raises:
            PolicyCompileError: the sources do not compile; with file, row and column.
            EngineUnavailable: OPA is not there, or all tests together took too long.
            EngineMalformed: it wrote more than is read, or something else than results.
        """
        if not packages:
            return ()
        async with self._placed(sources) as place:
            tests = await self._test(place, ("--run", pattern or _of_packages(packages)))
            results = _results(tests, place, self._limits)
        wanted = set(packages)
        results = tuple(one for one in results if tuple(one.group.split(".")) in wanted)
        if pattern:
            results = tuple(one for one in results if re.search(pattern, f"data.{one.full_name}"))
        return results

    async def explain(self, sources: Sources, results: Sequence[Result]) -> tuple[Result, ...]:
        """The results with the reasons of the first ``EXPLAINED`` failures, for which these tests run once more. Where
        the traces exceed what is read, without.

        Raises:
            As :meth:`run`.
        """
        failed = [one for one in results if one.outcome is Outcome.FAILED and not one.message][:EXPLAINED]
        if not failed:
            return tuple(results)
        names = [f"data.{one.full_name}" for one in failed]
        async with self._placed(sources) as place:
            try:
                traced = await self._test(place, ("--run", _any_of(names), "--var-values", "--explain", "fails"))
            except (EngineMalformed, EngineUnavailable):
                return tuple(results)  # the names and lines of the tests stay
            traces = {_full_name(one): one.get("trace") or () for one in traced}
            return tuple(
                _with_reason(one, traces[one.full_name], place)
                if one.outcome is Outcome.FAILED and one.full_name in traces
                else one
                for one in results
            )

    async def cover(self, sources: Sources, results: Sequence[Result]) -> Coverage:
        """What the tests that passed cover of the sources under test; these run once more.

        Raises:
            As :meth:`run`.
        """
        names = [f"data.{one.full_name}" for one in results if one.outcome is Outcome.PASSED]
        async with self._placed(sources) as place:
            arguments = ("--coverage", "--coverage-runs", "", "--run", _any_of(names))
            done = await self._opa("test", place, arguments)
            try:
                report = msgspec.json.decode(done.stdout, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise EngineMalformed(f"OPA gave no coverage: {_said(done)}") from error
            return read_coverage(report, place.source_of)

    @asynccontextmanager
    async def _placed(self, sources: Sources) -> AsyncIterator["_Place"]:
        """The sources on disk, for the length of the block."""
        workspace = await asyncio.to_thread(Workspace)
        try:
            place = _Place(workspace.path, sources)
            await asyncio.to_thread(place.write, await self._allowed())
            yield place
        finally:
            await asyncio.to_thread(workspace.remove)

    async def _test(self, place: "_Place", arguments: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        done = await self._opa("test", place, arguments)
        try:
            tests: list[dict[str, Any]] = msgspec.json.decode(done.stdout, type=list[dict[str, Any]])
        except msgspec.MsgspecError:
            error = await self._why(place, done)
            if not await asyncio.to_thread(place.take_as_old):
                raise error from None
            try:
                return await self._test(place, arguments)
            except PolicyCompileError:
                raise error from None
        return tests

    async def _why(self, place: "_Place", tested: Completed) -> PortcullisError:
        """Why there were no results: PolicyCompileError, or EngineMalformed where the sources do compile. `opa test`
        itself tells no columns."""
        done = await self._opa("check", place, ("--max-errors", str(ERRORS)))
        for output in (done.stderr, done.stdout):
            try:
                errors = msgspec.json.decode(output, type=dict[str, Any]).get("errors") or []
            except msgspec.MsgspecError:
                continue
            if problems := tuple(_problem(error, place) for error in errors):
                place.unread = [_file_of(error) for error in errors if error.get("code") == "rego_parse_error"]
                return PolicyCompileError(problems)
        return EngineMalformed(f"`opa test` ended with status {tested.code}: {_said(tested)}")

    async def _opa(self, command: str, place: "_Place", arguments: Sequence[str]) -> Completed:
        timed = ("--timeout", f"{self._limits.test_seconds:g}s") if command == "test" else ()
        everything = (
            *(command, "--format", "json", "--capabilities", str(place.capabilities)),
            *(*timed, *arguments, "--bundle", str(place.folder)),
        )
        return await run_opa(
            self._binary,
            everything,
            seconds=self._limits.test_run_seconds,
            output_bytes=self._limits.test_output_bytes,
        )

    async def _allowed(self) -> bytes:
        """The capabilities that policies have at the gate; read once."""
        if not self._capabilities:
            own = await own_capabilities(self._binary, self._limits.engine_start_seconds)
            self._capabilities = msgspec.json.encode(_for_tests(own))
        return self._capabilities


class _Place:
    """The files of one run on disk, under names of ours, so that no path from outside reaches the file system."""

    def __init__(self, path: Path, sources: Sources) -> None:
        self.folder = path / "bundle"
        self.capabilities = path / "capabilities.json"
        self.unread: list[str] = []
        """Files of OPA's that could not be parsed."""
        self._files = sources.files
        self._old: set[str] = set()

    def take_as_old(self) -> bool:
        """Has the files that could not be parsed read as Rego of before OPA 1.0, which only foreign policies may be;
        whether there are any that were not yet."""
        found = {f"/{path.rpartition('/')[2]}" for path in self.unread if not self._is_native(path)} - self._old
        self._old |= found
        manifest = {"roots": [""], "rego_version": 1, "file_rego_versions": dict.fromkeys(sorted(self._old), 0)}
        (self.folder / ".manifest").write_text(json.dumps(manifest), encoding="utf-8")
        return bool(found)

    def _is_native(self, path: str) -> bool:
        file = self._file(path)
        return file is None or file.package[:1] == ("portcullis",)

    def write(self, capabilities: bytes) -> None:
        self.folder.mkdir(mode=0o700)
        for number, file in enumerate(self._files):
            (self.folder / f"{number:05}.rego").write_text(file.text, encoding="utf-8")
        (self.folder / ".manifest").write_text(json.dumps({"roots": [""]}), encoding="utf-8")
        self.capabilities.write_bytes(capabilities)

    def source_of(self, path: str) -> tuple[str, str, bool]:
        """Name and text of the source behind a file name of OPA's, and whether it is under test."""
        file = self._file(path)
        return (file.path, file.text, file.own) if file is not None else ("", "", False)

    def _file(self, path: str) -> RegoFile | None:
        stem = path.rpartition("/")[2].removesuffix(".rego")
        known = stem.isascii() and stem.isdigit() and int(stem) < len(self._files)
        return self._files[int(stem)] if known else None


def _for_tests(own: Mapping[str, Any]) -> dict[str, Any]:
    """What policies may do, and what OPA itself puts into tests with cases."""
    allowed = restricted(own)
    allowed["builtins"] += [builtin for builtin in own["builtins"] if builtin["name"] == "internal.test_case"]
    return allowed


def _results(tests: Sequence[Mapping[str, Any]], place: _Place, limits: Limits) -> tuple[Result, ...]:
    try:
        found = [_result(test, place, limits) for test in tests]
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineMalformed("OPA's test results have an unknown shape") from error
    return tuple(sorted(found, key=lambda one: (one.file, one.row, one.name)))


def _result(test: Mapping[str, Any], place: _Place, limits: Limits) -> Result:
    name, _, _ = place.source_of(test["location"]["file"])
    outcome = Outcome.FAILED if test.get("fail") or test.get("error") else Outcome.PASSED
    if test.get("skip"):
        outcome = Outcome.SKIPPED
    cases = [case.name for case in _cases(test.get("sub_results") or {}) if case.failed]
    return Result(
        kind=Kind.REGO,
        group=str(test["package"]).removeprefix("data."),
        name=str(test["name"]),
        file=name,
        row=int(test["location"]["row"]),
        outcome=outcome,
        seconds=int(test.get("duration", 0)) / 1e9,
        cases=tuple(clean(case, 200) for case in cases),
        message=_message(test.get("error"), place, limits),
        printed=_printed(test.get("output")),
    )


def _message(error: Mapping[str, Any] | None, place: _Place, limits: Limits) -> str:
    if not error:
        return ""
    if error.get("code") == _DEADLINE:
        return f"did not end within {limits.test_seconds:g} s (limits.testSeconds)"
    location = error.get("location") or {}
    name, _, _ = place.source_of(str(location.get("file", "")))
    where = f" ({name}:{location.get('row')})" if name else ""
    return clean(str(error.get("message", "it could not be evaluated")), MESSAGE_CHARS) + where


def _cases(found: Mapping[str, Any], before: str = "") -> list[_Case]:
    """The cases without cases of their own."""
    cases: list[_Case] = []
    for name, case in found.items():
        full = f"{before}/{name}" if before else str(name)
        inner = case.get("sub_results")
        cases += _cases(inner, full) if inner else [_Case(full, bool(case.get("fail")))]
    return cases


def _printed(output: object) -> str:
    if not isinstance(output, str):
        return ""
    text = msgspec.convert(output, bytes, strict=False) if output else b""
    return text.decode("utf-8", "replace")[:PRINTED_CHARS]


def _with_reason(result: Result, trace: Sequence[Mapping[str, Any]], place: _Place) -> Result:
    why = explain(trace, result.name, lambda file: place.source_of(file)[1])
    steps = tuple(replace(step, file=place.source_of(step.file)[0]) for step in why.steps)
    return replace(result, steps=steps, diff=why.diff)


def _full_name(test: Mapping[str, Any]) -> str:
    return f"{str(test['package']).removeprefix('data.')}.{test['name']}"


def _of_packages(packages: Sequence[Package]) -> str:
    return f"^({'|'.join(re.escape('data.' + '.'.join(package)) for package in packages)})\\.[^.]+$"


def _any_of(names: Sequence[str]) -> str:
    return f"^({'|'.join(re.escape(name) for name in names)})$"


def _problem(error: Mapping[str, Any], place: _Place) -> CompileProblem:
    location = error.get("location") or {}
    name, _, _ = place.source_of(str(location.get("file", "")))
    message = clean(str(error.get("message", "")), MESSAGE_CHARS)
    return CompileProblem(name or "policies", int(location.get("row", 0)), int(location.get("col", 0)), message)


def _file_of(error: Mapping[str, Any]) -> str:
    return str((error.get("location") or {}).get("file", ""))


def _said(done: Completed) -> str:
    return clean((done.stderr or done.stdout).decode("utf-8", "replace"), 500)
