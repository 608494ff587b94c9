"""Swaps in a new set of policies as soon as one of its sources changes, and keeps the old one where that cannot be.

1. What is there is laid out and loaded. The same revision as before ends here.
2. It is compiled in processes that are gone again; what the configuration says of policies must hold for it.
3. The tests that lie beside are run.
4. OPA is started with it, and one assignment makes it the standing set. Decisions end with the set that they began
   with.

The set changes as a whole: one fault anywhere keeps all of it as it was, so that no policy is judged beside another
that it was not tested with. A ConfigMap that is to blame says so, in an annotation and an Event, until it is mended.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from portcullis.errors import (
    ClusterError,
    CompileProblem,
    ConfigError,
    EngineError,
    PolicyCompileError,
    PortcullisError,
)
from portcullis.model.ruling import CompiledBundle, Constraint, PolicyBundle
from portcullis.policy.opa import OpaEngine
from portcullis.policy.workspace import Workspace
from portcullis.server.clock import SystemClock
from portcullis.server.live.lastgood import LastGood
from portcullis.server.live.sources import Laid, LiveSources, blamed, lay_out
from portcullis.standing import Current, Standing
from portcullis.text import clean

SETTLE_SECONDS: Final = 0.1
"""What is written takes a moment; only what stays as it is so long is loaded."""
RETRY_SECONDS: Final = 5.0
"""After a fault that nobody has to mend: OPA or the API server was not there."""

log = structlog.get_logger(__name__)

Prove = Callable[[Sequence[Path]], Awaitable[Sequence[CompileProblem]]]
"""What keeps the policies of these folders out: findings of lint, failing tests."""


@dataclass(slots=True)
class ReloadState:
    """How the last attempts went."""

    problem: str = ""
    """Why the standing set is not that of the sources; "" where it is."""
    reloads: int = 0
    """Sets that were swapped in."""
    failures: int = 0
    """Sets that were not."""
    since: datetime = field(default_factory=SystemClock().now)
    """When the standing set came to stand in this replica."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How folders become a standing set.

    Args:
        load: the folders, beside those of the configuration, to a bundle; blocks.
        stand: a compiled bundle to what is judged by; ConfigError where the configuration speaks of other policies.
        prove: what keeps them out.
        keep: stores a new set, so that records can be judged again.
    """

    load: Callable[[Sequence[Path]], PolicyBundle]
    stand: Callable[[CompiledBundle], Standing]
    prove: Prove
    keep: Callable[[PolicyBundle], Awaitable[None]]


class UnprovenError(PolicyCompileError):
    """The set could be judged by, but lint or its own tests speak against it."""


async def proven(recipe: Recipe, folders: Sequence[Path]) -> None:
    """Raises UnprovenError where something keeps the policies out."""
    if found := await recipe.prove(folders):
        raise UnprovenError(tuple(found))


class Reloader:
    """Looks after the standing set.

    Args:
        current: gets the new one.
        last_good: keeps what was swapped in for the next start.
        poll_seconds: how often the sources are looked at; 0: only when somebody says that they changed.
        loaded, constraints: what the standing set was made from, and what of Gatekeeper is in it.
        problem: why that is not what there is; "" where it is.
    """

    def __init__(
        self,
        *,
        sources: LiveSources,
        recipe: Recipe,
        engine: OpaEngine,
        current: Current,
        last_good: LastGood,
        poll_seconds: float,
        loaded: Laid,
        constraints: Sequence[Constraint] = (),
        problem: str = "",
    ) -> None:
        self.state = ReloadState(problem=problem)
        self._sources = sources
        self._recipe = recipe
        self._engine = engine
        self._current = current
        self._last_good = last_good
        self._poll_seconds = poll_seconds
        self.stands = loaded
        """What the standing set was made from."""
        self.constraints = constraints
        """Of Gatekeeper, in the standing set."""
        self._tried = "" if problem else loaded.key
        self._verdict = problem
        """What came of the sources that were tried last."""
        self._soon = False
        """Whether to try again although nothing changes: OPA or the API server was not there."""
        self._news = asyncio.Event()

    def nudge(self) -> None:
        """A source may have changed."""
        self._news.set()

    async def run(self) -> None:
        """Looks after it until cancelled."""
        while True:
            self._news.clear()
            try:
                self._soon = False
                await self._look()
            except Exception:  # a fault of ours must not end the looking
                log.exception("policies not looked after")
                self.state.problem, self._soon = "a fault in Portcullis itself; the log tells more", True
            wait = self._poll_seconds or None
            if self._soon:
                wait = min(wait or RETRY_SECONDS, RETRY_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _look(self) -> None:
        try:
            laid = await asyncio.to_thread(self._sources.look)
            if laid.key == self._tried:
                self.state.problem = self._verdict
                return
            await asyncio.sleep(SETTLE_SECONDS)
            settled = (await asyncio.to_thread(self._sources.look)).key == laid.key
        except PortcullisError as error:
            self._soon = True
            self._fail(error)
            return
        if not settled:  # somebody is writing just now
            self.nudge()
            return
        problems: tuple[CompileProblem, ...] = ()
        try:
            await self._swap(laid)
            self.state.problem = ""
        except (PolicyCompileError, ConfigError) as error:
            problems = error.problems if isinstance(error, PolicyCompileError) else ()
            self._fail(error)
        except EngineError as error:
            self._soon = True
            self._fail(error)
            return
        self._tried, self._verdict = laid.key, self.state.problem
        await self._tell(laid, problems)

    async def _swap(self, laid: Laid) -> None:
        workspace = await asyncio.to_thread(Workspace)
        try:
            folders = await asyncio.to_thread(lay_out, laid, workspace.path)
            bundle = await asyncio.to_thread(self._recipe.load, folders)
            before = self._current.standing.compiled.revision
            if bundle.revision == before and not self.state.problem:
                return
            async with self._engine.prepared(bundle) as prepared:
                standing = self._recipe.stand(prepared.compiled)
                await proven(self._recipe, folders)
                if bundle.revision == before:
                    return
                await prepared.serve()
                self._current.standing, self.stands = standing, laid
                self.constraints = bundle.constraints
                self.state.reloads += 1
                self.state.since = SystemClock().now()
        finally:
            await asyncio.to_thread(workspace.remove)
        await asyncio.to_thread(self._last_good.write, laid)
        names = {policy.name for policy in standing.compiled.policies}
        log.info("policies changed", policy_revision=bundle.revision, before=before, policies=len(names))
        await self._recipe.keep(bundle)

    def _fail(self, error: PortcullisError) -> None:
        message = clean(error.message, 1000)
        self.state.failures += 1
        if message != self.state.problem:
            log.error("policies not changed", problem=message, kept=self._current.standing.compiled.revision)
        self.state.problem = message

    async def _tell(self, laid: Laid, problems: Sequence[CompileProblem]) -> None:
        """Writes on each ConfigMap what is wrong with it, and takes away what is no longer."""
        if self._sources.maps is None:
            return
        faults = blamed(problems, laid.maps)
        unknown = bool(self.state.problem) and not problems  # nobody's file
        try:
            for one in self._sources.maps.all():
                fault = faults.get(one.place, "")
                if fault == one.error or unknown:
                    continue
                await self._sources.maps.note(one, fault)
                if fault:
                    await self._sources.maps.tell(one, "PolicyInvalid", f"not in force: {fault}", warning=True)
                else:
                    await self._sources.maps.tell(one, "PolicyMended", "its fault is gone", warning=False)
        except ClusterError as error:
            log.warning("ConfigMaps not marked", problem=error.message)
