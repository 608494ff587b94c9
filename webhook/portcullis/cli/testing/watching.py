"""``portcullis test --watch``: from saving a file to the verdict in less than a second.

OPA compiles all modules it has for any change of one: with the whole library, more than a second before the first test
begins. So only what a change can touch is compiled and run: a test package together with all that it may read
(references.py). What a package's tests came to is kept under the contents of those files, and they run again when these
differ. First come the tests beside the change, whose verdict is printed at once; then, behind it, those of packages
that read what changed, and fixtures.

Files are found by polling their contents: an editor renames, and a ConfigMap mount swaps links, which watchers of
inodes miss.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portcullis.cli.testing.fixtures import find_fixtures
from portcullis.cli.testing.session import Session, is_green
from portcullis.cli.testing.suites import find_suites
from portcullis.cli.testing.view import show_accounts, show_problems, show_verdict, summary
from portcullis.errors import CompileProblem, PolicyCompileError, PortcullisError
from portcullis.policy.testing.references import Package
from portcullis.policy.testing.results import Result
from portcullis.policy.testing.sources import Sources, find_files

POLL_SECONDS = 0.075
WATCHED = (".rego", ".yaml", ".yml", ".json")
ONE_BY_ONE = 12
"""Packages that are run one by one, so that a change meanwhile loses little; more of them together."""


async def watch(session: Session, console: Console) -> None:
    """Runs until it is cancelled (Ctrl-C)."""
    watcher = _Watcher(session, console)
    seen = await asyncio.to_thread(_stamps, session)
    await watcher.begin()
    try:
        while True:
            current = await asyncio.to_thread(_stamps, session)
            if current != seen:
                changed = {path for path in seen.keys() | current.keys() if seen.get(path) != current.get(path)}
                seen = current
                await watcher.saved(changed)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await watcher.stop()


_Stamp = tuple[int, int, int]


def _stamps(session: Session) -> Mapping[Path, _Stamp]:
    """What tells whether a file changed: its inode, time and size, those of what a link leads to."""
    found: dict[Path, _Stamp] = {}
    for folder in session.folders:
        with contextlib.suppress(PolicyCompileError):  # told when the sources are read
            for path in find_files(folder, WATCHED, session.limits):
                with contextlib.suppress(OSError):
                    state = path.stat()
                    found[path] = (state.st_ino, state.st_mtime_ns, state.st_size)
    return found


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tests of a package came to, with these contents."""

    key: str
    results: tuple[Result, ...]


class _Watcher:
    def __init__(self, session: Session, console: Console) -> None:
        self._session = session
        self._console = console
        self._known: dict[Package, _Known] = {}
        self._behind: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """All tests once, behind: a change need not wait for them."""
        self._say("running all tests; Ctrl-C ends")
        started = time.monotonic()

        async def everything() -> None:
            sources = self._session.sources().needed()
            await self._rest(sources, sources.test_packages, started)

        self._behind = asyncio.create_task(self._shown(everything))

    async def saved(self, changed: set[Path]) -> None:
        """The tests beside the change at once, the others behind. A change meanwhile begins anew."""
        started = time.monotonic()
        await self.stop()
        names = ", ".join(sorted(path.name for path in changed)[:3])
        self._console.print()
        self._say(f"{names} changed")

        async def near() -> None:
            sources = self._session.sources().needed()
            beside, stale = self._affected(sources, changed)
            if beside:
                part = sources.slice(beside)
                again = [package for package in beside if package in stale]
                await self._run(part, again)
                results = [one for package in beside for one in self._known[package].results]
                show_verdict(self._console, results, time.monotonic() - started)
                if not is_green(results):
                    self._console.print()
                    show_accounts(self._console, await self._session.runner.explain(part, results))
            others = [package for package in stale if package not in beside]
            self._behind = asyncio.create_task(self._shown(lambda: self._rest(sources, others, started)))

        await self._shown(near)

    async def stop(self) -> None:
        """Ends what runs behind."""
        if self._behind is not None:
            self._behind.cancel()
            await asyncio.gather(self._behind, return_exceptions=True)
            self._behind = None

    async def _rest(self, sources: Sources, packages: Sequence[Package], started: float) -> None:
        """Tests of packages that read what changed, then fixtures; one line for all of them where all is well."""
        results: list[Result] = []
        for some in [packages] if len(packages) > ONE_BY_ONE else [[package] for package in packages]:
            part = sources.slice(some)
            results += await self._session.runner.explain(part, await self._run(part, some))
        fixtures = await self._judged()
        everything = [one for known in self._known.values() for one in known.results] + list(fixtures)
        show_accounts(self._console, [*results, *fixtures])
        text = Text.assemble("all: ", summary(everything), (f"  after {time.monotonic() - started:.1f} s", "dim"))
        self._console.print(text)

    async def _judged(self) -> tuple[Result, ...]:
        fixtures = await asyncio.to_thread(lambda: list(find_fixtures(self._session.folders, self._session.limits)))
        results = await self._session.judge(fixtures, lambda _: None)
        suites = await asyncio.to_thread(lambda: list(find_suites(self._session.folders, self._session.limits)))
        return results + await self._session.judge_suites(suites, lambda _: None)

    def _affected(self, sources: Sources, changed: set[Path]) -> tuple[list[Package], list[Package]]:
        """The test packages beside the change, and those whose files, or what they may read, are not as they were.
        Packages that are gone are forgotten."""
        packages = sources.test_packages
        self._known = {package: known for package, known in self._known.items() if package in packages}
        stale = [package for package in packages if not self._is_known(sources, package)]
        paths = {path.resolve() for path in changed}
        touched = {file.package for file in sources.files if Path(file.path).resolve() in paths}
        places = {path.parent for path in paths}

        def is_beside(package: Package) -> bool:
            if package in touched:
                return True
            in_place = any(Path(file.path).resolve().parent in places for file in sources.by_package[package])
            return in_place and not touched.isdisjoint(sources.graph.direct[package])

        return [package for package in packages if is_beside(package)], stale

    def _is_known(self, sources: Sources, package: Package) -> bool:
        known = self._known.get(package)
        return known is not None and known.key == sources.slice([package]).key()

    async def _run(self, sources: Sources, packages: Sequence[Package]) -> tuple[Result, ...]:
        results = await self._session.runner.run(sources, packages, pattern=self._session.pattern)
        for package in packages:
            group = ".".join(package)
            own = tuple(result for result in results if result.group == group)
            self._known[package] = _Known(sources.slice([package]).key(), own)
        return results

    async def _shown(self, work: Callable[[], Awaitable[None]]) -> None:
        """What keeps the tests from running is shown, and the watch goes on."""
        try:
            await work()
        except PolicyCompileError as error:
            show_problems(self._console, error.problems, self._line_of(error.problems))
        except PortcullisError as error:
            self._console.print(Text(error.message, "red"), soft_wrap=True)

    def _line_of(self, problems: Sequence[CompileProblem]) -> str:
        """The line of the first problem."""
        first = problems[0] if problems else None
        if first is None or not first.row:
            return ""
        with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
            return Path(first.file).read_text("utf-8").split("\n")[first.row - 1]
        return ""

    def _say(self, text: str) -> None:
        self._console.print(Text(f"[{datetime.now():%H:%M:%S}] {text}", "dim"), soft_wrap=True)  # noqa: DTZ005 - a wall clock
