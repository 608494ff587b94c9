"""What a recorded decision would be under the policies, modes and exceptions that stand now.

The webhook has the same process and the same engine, so this takes little of either: one record at a time, with a time
limit, and a set of policies that is not the standing one is compiled once. It writes neither records nor marks.
"""

import asyncio
from collections import OrderedDict

from portcullis.errors import ConfigError, EngineError, EngineTimeout, EngineUnavailable, PolicyCompileError
from portcullis.limits import Limits
from portcullis.model.decision import Decision
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import CompiledBundle
from portcullis.policy.compiler import Compiler
from portcullis.policy.memory import memory_goal
from portcullis.policy.opa import OpaEngine
from portcullis.policy.workspace import Workspace
from portcullis.ports import Bundles, Clock
from portcullis.rejudging import ENGINE_NOW, Inexact, Rejudgement, begin
from portcullis.server.compose import read_bundle
from portcullis.server.replay import NO_SET
from portcullis.standing import Current

KNOWN_SETS = 8
"""Recorded sets whose policies are remembered; what is remembered of one are a few kilobytes."""


class Rejudge:
    """Judges one record after the other.

    Args:
        engine: that of the gate, which serves the standing set.
        bundles: the sets that records name.
        limits: ``judge_again_seconds`` and ``judge_again_waiting`` apply.
    """

    def __init__(self, *, engine: OpaEngine, bundles: Bundles, current: Current, clock: Clock, limits: Limits) -> None:
        self._engine = engine
        self._bundles = bundles
        self._current = current
        self._clock = clock
        self._limits = limits
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._known: OrderedDict[str, CompiledBundle | Inexact] = OrderedDict()

    async def __call__(self, record: AuditRecord) -> Decision | Inexact:
        """The decision, or why it cannot be told exactly.

        Raises:
            EngineUnavailable: too many wait already.
            EngineTimeout: it took too long.
            RecordsError: the log does not give the recorded set.
        """
        if self._waiting >= self._limits.judge_again_waiting:
            raise EngineUnavailable("others are having decisions judged again; try again in a moment")
        self._waiting += 1
        seconds = self._limits.judge_again_seconds
        try:
            async with asyncio.timeout(seconds), self._turn:
                return await self._judge(record, self._clock.monotonic() + seconds)
        except TimeoutError:
            raise EngineTimeout(
                f"it was not judged within {seconds:g} s (limits.judgeAgainSeconds); `portcullis replay` takes its time"
            ) from None
        finally:
            self._waiting -= 1

    async def _judge(self, record: AuditRecord, deadline: float) -> Decision | Inexact:
        standing = self._current()
        recorded = await self._recorded(record.decision.policy_revision, standing.compiled)
        if isinstance(recorded, Inexact):
            return recorded
        # Reading a judged input of megabytes would hold up the webhook.
        begun = await asyncio.to_thread(begin, record, standing, recorded, self._limits)
        if not isinstance(begun, Rejudgement):
            return begun
        question = begun.question
        if not question.policies:
            return begun.decided()
        try:
            with self._engine.hold(standing.compiled):
                ruling = await self._engine.evaluate(
                    standing.compiled, question.policies, question.document, deadline, question.parameters
                )
        except EngineError as error:
            return Inexact(ENGINE_NOW, error.message)
        return begun.decided(ruling)

    async def _recorded(self, revision: str, standing: CompiledBundle) -> CompiledBundle | Inexact:
        """The policies that the record was judged by: what they read says which facts were fetched for it."""
        if revision == standing.revision:
            return standing
        if revision not in self._known:
            self._known[revision] = await self._compiled(revision)
            while len(self._known) > KNOWN_SETS:
                self._known.popitem(last=False)
        self._known.move_to_end(revision)
        return self._known[revision]

    async def _compiled(self, revision: str) -> CompiledBundle | Inexact:
        """Described by an OPA that is gone again; nobody is asked by it."""
        content = await self._bundles.get(revision)
        if content is None:
            return Inexact(NO_SET, revision[:80] or "(none)")
        workspace = await asyncio.to_thread(Workspace)
        try:
            bundle = await asyncio.to_thread(read_bundle, revision, content)
            compiler = Compiler(binary=self._engine.binary(), limits=self._limits, memory_bytes=memory_goal())
            compiled, _ = await compiler.compile(bundle, workspace.path)
        except (ConfigError, PolicyCompileError) as error:
            return Inexact(NO_SET, error.message.partition("\n")[0][:200])
        finally:
            await asyncio.to_thread(workspace.remove)
        return compiled
