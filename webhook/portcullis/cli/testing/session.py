"""One run of all tests in some folders."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from portcullis.cli.testing.fixtures import BadFixture, Fixture, find_fixtures
from portcullis.cli.testing.judging import judging
from portcullis.cli.testing.suites import find_suites, judge_suite
from portcullis.cli.words import plural
from portcullis.errors import CompileProblem, EngineUnavailable, PolicyCompileError
from portcullis.limits import Limits
from portcullis.policy.bundle import builtin_policies
from portcullis.policy.gatekeeper.suite import Suite
from portcullis.policy.testing.coverage import Coverage
from portcullis.policy.testing.results import Outcome, Result
from portcullis.policy.testing.running import Runner
from portcullis.policy.testing.sources import Sources, find_files, load_sources

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run. ``problems``: why the sources do not compile. ``unmatched``: there are tests, and the
    regular expression matches none."""

    results: tuple[Result, ...]
    problems: tuple[CompileProblem, ...] = ()
    coverage: Coverage | None = None
    unmatched: bool = False


class Session:
    """What is to be tested, and how.

    Args:
        folders: with policies, tests and fixtures.
        builtin: whether the built-in library counts.
        pattern: only tests whose full name it is found in; "" for all.
        coverage: whether lines are counted.
        binary: OPA; None looks for it on PATH.
    """

    def __init__(
        self,
        *,
        folders: Sequence[Path],
        builtin: bool,
        pattern: str,
        coverage: bool,
        binary: Path | None,
        limits: Limits,
    ) -> None:
        self.folders = tuple(folders)
        self.limits = limits
        self.pattern = pattern
        self._builtin = builtin
        self._coverage = coverage
        self._binary = binary
        self._runner: Runner | None = None

    @property
    def runner(self) -> Runner:
        """Raises EngineUnavailable where there is no OPA."""
        if self._runner is None:
            found = self._binary or shutil.which("opa")
            if found is None or not Path(found).is_file():
                raise EngineUnavailable("OPA was not found: put opa on PATH, or set opa.binary")
            self._runner = Runner(binary=Path(found).resolve(), limits=self.limits)
        return self._runner

    def sources(self) -> Sources:
        """As they are now. Raises PolicyCompileError."""
        return load_sources(self.folders, builtin_policies() if self._builtin else None, self.limits)

    async def run(self, say: Say) -> Report:
        """All tests.

        Raises:
            EngineError: OPA is not there, or does not do as asked.
        """
        try:
            sources = self.sources().needed()
            packages = sources.test_packages
            say(f"running the Rego tests of {plural(len(packages), 'package')}")
            results = await self.runner.run(sources, packages, pattern=self.pattern)
            results = await self.runner.explain(sources, results)
            coverage = None
            if self._coverage and packages:
                say("counting the lines that they reach")
                coverage = await self.runner.cover(sources, results)
            fixtures = list(find_fixtures(self.folders, self.limits))
            results += await self.judge(fixtures, say)
            suites = list(find_suites(self.folders, self.limits))
            results += await self.judge_suites(suites, say)
        except PolicyCompileError as error:
            return Report((), error.problems)
        return Report(results, (), coverage, unmatched=bool(self.pattern and (packages or fixtures or suites)))

    async def judge(self, fixtures: Sequence[Fixture | BadFixture], say: Say) -> tuple[Result, ...]:
        """The fixtures that the pattern matches.

        Raises:
            PolicyCompileError, EngineError: the policies cannot be used.
        """
        chosen = [fixture for fixture in fixtures if self._matches(fixture)]
        if not chosen:
            return ()
        results = []
        async with judging(
            folders=_policy_folders(self.folders, self.limits, builtin=self._builtin),
            builtin=self._builtin,
            binary=self._binary,
            limits=self.limits,
        ) as judge:
            for at, fixture in enumerate(chosen, start=1):
                say(f"judging fixture {at} of {len(chosen)}")
                results.append(await judge.judge(fixture))
        return tuple(results)

    async def judge_suites(self, suites: Sequence[Suite], say: Say) -> tuple[Result, ...]:
        """The cases of Gatekeeper's suites that the pattern matches. Raises EngineError: OPA is not there."""
        results: tuple[Result, ...] = ()
        for at, suite in enumerate(suites, start=1):
            say(f"running suite {at} of {len(suites)}")
            results += await judge_suite(suite, pattern=self.pattern, binary=self._binary, limits=self.limits)
        return results

    def _matches(self, fixture: Fixture | BadFixture) -> bool:
        name = fixture.name if isinstance(fixture, BadFixture) else fixture.model.name
        return re.search(self.pattern, f"{fixture.file}: {name}") is not None


def is_green(results: Sequence[Result]) -> bool:
    return all(result.outcome in (Outcome.PASSED, Outcome.SKIPPED) for result in results)


def _policy_folders(folders: Sequence[Path], limits: Limits, *, builtin: bool) -> list[Path]:
    """Those that hold policies, and not the built-in ones again, nor a part of another."""
    own = builtin_policies().resolve()
    found: dict[Path, Path] = {}
    for folder in folders:
        place = (folder if folder.is_dir() else folder.parent).resolve()
        if builtin and (place == own or own in place.parents):
            continue
        if any(not path.name.endswith("_test.rego") for path in find_files(place, (".rego",), limits)):
            found.setdefault(place, place)
    return [place for place in found if not any(other in place.parents for other in found)]
