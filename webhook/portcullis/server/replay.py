"""Past decisions under another policy set: pages of the log in, batches through OPA, a tally out."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from portcullis.audit.pages import Damaged, count, pages
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.errors import ConfigError, EngineError, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.ruling import CompiledBundle, PolicyBundle
from portcullis.policy.batch import Asked, BatchEngine
from portcullis.policy.compiler import Compiler
from portcullis.policy.memory import memory_goal
from portcullis.policy.supervisor import find_opa
from portcullis.policy.workspace import Workspace
from portcullis.rejudging import ENGINE_NOW, Inexact, Rejudgement, begin
from portcullis.server.clock import SystemClock
from portcullis.server.compose import bundle_of, read_bundle, read_standing, standing_of, with_profile
from portcullis.server.settings import Settings
from portcullis.server.tally import Tally
from portcullis.standing import Standing
from portcullis.takeover import Takeover

BATCH_DOCUMENTS = 32
BATCH_BYTES = 1024 * 1024
"""Of documents in one question; a larger one goes alone."""
AT_ONCE = 4
"""Batches that OPA has in hand: two for each of two processors, so that none waits for us."""
ENGINES = 3
"""Recorded policy sets that are served at the same time."""
SAY_SECONDS = 0.5

DAMAGED = "the record is damaged"
NO_SET = "its policy set is not in the log"
NO_CONFIGURATION = "its configuration is not in the log"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float:
        """Seconds that are left, by the rate so far."""
        return (self.total - self.done) / self.rate if self.rate > 0 else 0.0


@dataclass(frozen=True, slots=True)
class _Judge:
    """What judges a record: a set in an OPA, and what stands there; ``recorded`` is the set of the record, ``takeover``
    says which of its rulings hold."""

    engine: BatchEngine
    standing: Standing
    recorded: CompiledBundle
    takeover: Takeover | None


async def replay(
    settings: Settings,
    query: RecordFilter,
    most: int,
    *,
    recorded: bool,
    evaluate_all: bool = False,
    say: Callable[[Progress], None],
) -> tuple[Tally, Progress, str]:
    """Judges the newest ``most`` records that meet ``query`` again, and counts.

    Args:
        settings: name the log; their policies are the draft.
        recorded: each record is judged by the set and the configuration that it was judged by, which must flip nothing.
            All of its policies are evaluated.
        evaluate_all: a draft's policies are evaluated too where they can rule no otherwise than the record says.
        say: is told of the progress now and then.

    Returns:
        The tally, how long it took, and the revision of the draft ("" for the recorded ones).

    Raises:
        ConfigError, PolicyCompileError: the draft or the log cannot be used.
        RecordsError, EngineError: the log or OPA are not there.
    """
    if not settings.audit.database:
        raise ConfigError("no audit log is configured\nname the webhook's configuration: --config portcullis.yaml")
    limits = settings.bounds()
    async with open_records(settings.audit.database, limits) as store:
        sets = _Sets(store, settings, limits, evaluate_all=evaluate_all)
        try:
            draft = None if recorded else await sets.draft(with_profile(settings))
            run = _Run(store, sets, draft, limits, await count(store, query, most), say)
            await run.judge(query, most)
            return run.tally, run.progress(), draft.standing.compiled.revision if draft is not None else ""
        finally:
            await sets.aclose()


class _Run:
    def __init__(
        self,
        store: SqlRecords,
        sets: "_Sets",
        draft: "_Draft | None",
        limits: Limits,
        total: int,
        say: Callable[[Progress], None],
    ) -> None:
        self.tally = Tally()
        self._store = store
        self._sets = sets
        self._draft = draft
        self._limits = limits
        self._total = total
        self._say = say
        self._began = self._said = time.monotonic()
        self._batches: set[asyncio.Task[None]] = set()

    def progress(self) -> Progress:
        return Progress(self.tally.records, max(self._total, self.tally.records), time.monotonic() - self._began)

    async def judge(self, query: RecordFilter, most: int) -> None:
        try:
            async for page in pages(self._store, query, most, self._limits):
                await self._page(page)
            while self._batches:
                await self._room(1)
        finally:
            for task in self._batches:
                task.cancel()
            await asyncio.gather(*self._batches, return_exceptions=True)
        self.tally.listed.sort(key=lambda flip: -flip.sequence)

    async def _page(self, page: Sequence[AuditRecord | Damaged]) -> None:
        batch: list[tuple[AuditRecord, Rejudgement]] = []
        judge: _Judge | None = None
        for record in page:
            await asyncio.sleep(0)  # questions go out and answers come in meanwhile
            if isinstance(record, Damaged):
                self.tally.skip(f"#{record.sequence}", Inexact(DAMAGED, record.why))
                continue
            found = await self._sets.judge(record, self._draft, self._idle)
            if isinstance(found, Inexact):
                self.tally.skip(record.decision.id, found)
                continue
            begun = begin(record, found.standing, found.recorded, self._limits, found.takeover)
            if not isinstance(begun, Rejudgement):
                self._judged(record, begun)
            elif not begun.question.policies:
                self._judged(record, begun.decided(), begun)
            else:
                if judge is not None and (found is not judge or _full(batch)):
                    await self._ask(judge, batch)
                    batch = []
                judge = found
                batch.append((record, begun))
        if judge is not None and batch:
            await self._ask(judge, batch)

    async def _ask(self, judge: _Judge, batch: list[tuple[AuditRecord, Rejudgement]]) -> None:
        await self._room(AT_ONCE)
        self._batches.add(asyncio.create_task(self._judge_batch(judge, batch)))

    async def _room(self, most: int) -> None:
        """Waits until fewer than ``most`` batches are under way. Raises what one of them raised."""
        while len(self._batches) >= most:
            done, self._batches = await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if time.monotonic() - self._said >= SAY_SECONDS:
                self._said = time.monotonic()
                self._say(self.progress())

    async def _idle(self) -> None:
        """Waits until no engine is in use."""
        await self._room(1)

    async def _judge_batch(self, judge: _Judge, batch: list[tuple[AuditRecord, Rejudgement]]) -> None:
        questions = [
            Asked(begun.question.policies, begun.question.document, begun.question.parameters) for _, begun in batch
        ]
        rulings = await judge.engine.evaluate(judge.standing.compiled, questions)
        for (record, begun), ruling in zip(batch, rulings, strict=True):
            after = Inexact(ENGINE_NOW, ruling.message) if isinstance(ruling, EngineError) else begun.decided(ruling)
            self._judged(record, after, begun)

    def _judged(self, record: AuditRecord, after: Decision | Inexact, begun: Rejudgement | None = None) -> None:
        if isinstance(after, Inexact):
            self.tally.skip(record.decision.id, after)
            return
        self.tally.take(record, after)
        if begun is not None:
            self.tally.taken_over += len(begun.taken_over.judged)
            self.tally.evaluated += len(begun.question.policies)


def _full(batch: Sequence[tuple[AuditRecord, Rejudgement]]) -> bool:
    size = sum(len(begun.question.document) for _, begun in batch)
    return len(batch) >= BATCH_DOCUMENTS or size >= BATCH_BYTES


@dataclass(frozen=True, slots=True)
class _Draft:
    engine: BatchEngine
    standing: Standing


class _Sets:
    """The policy sets that records name, compiled once each."""

    def __init__(self, store: SqlRecords, settings: Settings, limits: Limits, *, evaluate_all: bool) -> None:
        self._store = store
        self._settings = settings
        self._limits = limits
        self._evaluate_all = evaluate_all
        self._bundles: dict[str, PolicyBundle | Inexact] = {}
        self._compiled: dict[str, CompiledBundle | Inexact] = {}
        self._engines: dict[str, tuple[BatchEngine, CompiledBundle]] = {}
        self._judges: dict[tuple[str, str], _Judge | Inexact] = {}

    async def draft(self, settings: Settings) -> _Draft:
        """The set of the configuration."""
        bundle = bundle_of(settings, self._limits)
        engine, compiled = await self._serve(bundle)
        self._compiled[compiled.revision] = compiled
        return _Draft(engine, standing_of(settings, compiled))

    async def judge(
        self, record: AuditRecord, draft: _Draft | None, idle: Callable[[], Awaitable[None]]
    ) -> _Judge | Inexact:
        """What judges ``record``."""
        decision = record.decision
        key = (decision.policy_revision, decision.config_revision)
        if key not in self._judges:
            found = await (self._of_record(decision, idle) if draft is None else self._with_draft(decision, draft))
            self._judges[key] = found
        return self._judges[key]

    async def aclose(self) -> None:
        await asyncio.gather(*(engine.aclose() for engine, _ in self._engines.values()))

    async def _with_draft(self, decision: Decision, draft: _Draft) -> _Judge | Inexact:
        recorded = await self._compile(decision.policy_revision)
        if isinstance(recorded, Inexact):
            return recorded
        takeover = None
        if not self._evaluate_all and (stood := await self._stood(decision, recorded)) is not None:
            takeover = Takeover(stood, draft.standing, self._limits)
        return _Judge(draft.engine, draft.standing, recorded, takeover)

    async def _stood(self, decision: Decision, recorded: CompiledBundle) -> Standing | None:
        """What the decision was judged by; None where it is not known any more, and nothing can be built on it."""
        content = await self._store.bundles.get(decision.config_revision)
        try:
            return None if content is None else read_standing(decision.config_revision, content, recorded)
        except ConfigError:
            return None

    async def _of_record(self, decision: Decision, idle: Callable[[], Awaitable[None]]) -> _Judge | Inexact:
        bundle = await self._bundle(decision.policy_revision)
        if isinstance(bundle, Inexact):
            return bundle
        content = await self._store.bundles.get(decision.config_revision)
        if content is None:
            return Inexact(NO_CONFIGURATION, decision.config_revision[:80])
        try:
            if bundle.revision not in self._engines:
                await self._make_room(idle)
                await self._serve(bundle)
            engine, compiled = self._engines[bundle.revision]
            return _Judge(engine, read_standing(decision.config_revision, content, compiled), compiled, None)
        except (ConfigError, PolicyCompileError) as error:
            return Inexact(NO_SET, error.message.partition("\n")[0][:200])

    async def _make_room(self, idle: Callable[[], Awaitable[None]]) -> None:
        if len(self._engines) >= ENGINES:
            await idle()
            revision, (engine, _) = next(iter(self._engines.items()))
            del self._engines[revision]
            self._judges = {key: judge for key, judge in self._judges.items() if key[0] != revision}
            await engine.aclose()

    async def _serve(self, bundle: PolicyBundle) -> tuple[BatchEngine, CompiledBundle]:
        engine = BatchEngine(binary=self._settings.opa.binary, clock=SystemClock(), limits=self._limits)
        try:
            compiled = await engine.compile(bundle)
        except BaseException:
            await engine.aclose()
            raise
        self._engines[bundle.revision] = engine, compiled
        return engine, compiled

    async def _bundle(self, revision: str) -> PolicyBundle | Inexact:
        if revision not in self._bundles:
            content = await self._store.bundles.get(revision)
            try:
                missing = Inexact(NO_SET, revision[:80] or "(none)")
                self._bundles[revision] = missing if content is None else read_bundle(revision, content)
            except ConfigError as error:
                self._bundles[revision] = Inexact(NO_SET, error.message)
        return self._bundles[revision]

    async def _compile(self, revision: str) -> CompiledBundle | Inexact:
        """Without serving it: its policies are described, and not asked."""
        if revision not in self._compiled:
            bundle = await self._bundle(revision)
            if isinstance(bundle, Inexact):
                return bundle
            async with _workspace() as folder:
                compiler = Compiler(
                    binary=find_opa(self._settings.opa.binary),
                    limits=self._limits,
                    memory_bytes=memory_goal(),
                    fingerprinted=True,
                )
                try:
                    self._compiled[revision], _ = await compiler.compile(bundle, folder)
                except PolicyCompileError as error:
                    self._compiled[revision] = Inexact(NO_SET, error.message.partition("\n")[0][:200])
        return self._compiled[revision]


@asynccontextmanager
async def _workspace() -> AsyncIterator[Path]:
    workspace = await asyncio.to_thread(Workspace)
    try:
        yield workspace.path
    finally:
        await asyncio.to_thread(workspace.remove)
