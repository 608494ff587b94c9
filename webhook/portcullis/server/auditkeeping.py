"""Looks after the audit log while the gate serves: checkpoints and their publication, and retention.

A checkpoint is made when a chain begins, after so many records, after so long where there are new ones, and when the
program stops in good order. It is kept in the store, written to the log, shown by a metric, and put into a ConfigMap
where there is one. What fails is tried again, is counted, and never holds up a decision.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from portcullis.audit.chain import Opened
from portcullis.audit.checkpoints import Checkpoint, Place, Signed, Signer
from portcullis.audit.pruning import FRESH, Pruned, Pruner
from portcullis.audit.sql import SqlRecords
from portcullis.errors import ClusterError, PortcullisError
from portcullis.ports import Clock
from portcullis.server.auditsections import Audit
from portcullis.server.checkpointkeys import signer_of
from portcullis.server.keepsections import CheckpointsSection, RetentionSection
from portcullis.server.telemetry import Metrics

TICK_SECONDS = 1.0
RETRY_SECONDS = 5.0
"""After a failure."""
FIRST_PRUNE_SECONDS = 60.0
PRUNE_SECONDS = 3600.0
PUBLISH_SECONDS = 3.0
"""How long the end waits for the last checkpoint to be published."""
REVISIONS = 4
"""Policy sets and configurations that are put again after a prune: what serves, and what served a moment ago."""

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """cluster.checkpointmap.CheckpointMap. Raises only ClusterError."""

    async def write(self, checkpoint: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class KeepingCounters:
    """Since the start."""

    checkpoints: int = 0
    checkpoints_failed: int = 0
    publications_failed: int = 0
    prunes: int = 0
    prunes_failed: int = 0
    pruned_records: int = 0
    chains_left: int = 0


class Keeper:
    """Looks after the audit log of one program.

    Args:
        store: what it writes to.
        publisher: gets each checkpoint beside the log; None for nobody.
    """

    def __init__(
        self,
        store: SqlRecords,
        *,
        signer: Signer,
        checkpoints: CheckpointsSection,
        retention: RetentionSection,
        clock: Clock,
        publisher: Publisher | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._every = checkpoints
        self._retention = retention
        self._clock = clock
        self._publisher = publisher
        self._contents: dict[str, tuple[str, bytes]] = {}
        self._waiting: dict[str, Signed] = {}
        self._published = asyncio.Event()
        self._opened: Opened | None = None
        self._made_at = clock.monotonic()
        self.last: Signed | None = None
        """The newest checkpoint of the chain that is written now."""
        self.problem = ""
        """Why the last checkpoint, publication or prune failed; "" where none did."""
        self.counters = KeepingCounters()
        self._pruner = Pruner(store, signer=signer, clock=clock, in_use=self._contents.keys, published=self._publish)

    @property
    def position(self) -> int:
        """Of the last record of the chain that is written now."""
        return self._store.chain.position

    def remember(self, revision: str, kind: str, content: bytes) -> None:
        """Something that records name from now on: it is there after each prune."""
        self._contents.pop(revision, None)
        self._contents[revision] = (kind, content)
        of_kind = [one for one, (its, _) in self._contents.items() if its == kind]
        for old in of_kind[:-REVISIONS]:
            del self._contents[old]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks after the log until the end of the block."""
        tasks = [asyncio.create_task(work) for work in (self._checkpoint_for_ever(), self._prune_for_ever())]
        if self._publisher is not None:
            tasks.append(asyncio.create_task(self._publish_for_ever(self._publisher)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self) -> None:
        """The last checkpoint: no record comes any more, and the store is open still. Raises nothing."""
        if self.position == 0 and self._store.chain.opened is None:
            return
        await self._checkpoint()
        if self._publisher is not None and self._waiting:
            with contextlib.suppress(TimeoutError, ClusterError):
                async with asyncio.timeout(PUBLISH_SECONDS):
                    await self._write_waiting(self._publisher)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    async def _checkpoint_for_ever(self) -> None:
        while True:
            done = False
            try:
                done = not self._due() or await self._checkpoint()
            except Exception:  # as below
                log.exception("audit checkpoint not made")
            await asyncio.sleep(TICK_SECONDS if done else RETRY_SECONDS)

    def _due(self) -> bool:
        if self.last is None or self._opened is not self._store.chain.opened:
            return True
        new = self.position - self.last.checkpoint.head.position
        late = self._clock.monotonic() - self._made_at >= self._every.every_minutes * 60
        return new >= self._every.every_records or (new > 0 and late)

    async def _checkpoint(self) -> bool:
        """Whether one was made."""
        try:
            signed = await self._store.checkpoint(self._signer, self._clock.now())
        except PortcullisError as error:
            self.counters.checkpoints_failed += 1
            self._fail("audit checkpoint not made", error)
            return False
        self._made_at = self._clock.monotonic()
        opened = self._store.chain.opened
        if opened is not None and opened is not self._opened:
            log.info("audit chain opened", checkpoint=_beginning(opened).tree())
            self._opened = opened
        self.counters.checkpoints += 1
        self.counters.chains_left = self._store.chain.left
        self.last = signed
        self.problem = ""
        self._publish(signed)
        return True

    def _publish(self, signed: Signed) -> None:
        log.info("audit checkpoint", checkpoint=signed.tree(), signed=bool(signed.signature))
        self._waiting[signed.checkpoint.chain] = signed
        self._published.set()

    async def _publish_for_ever(self, publisher: Publisher) -> None:
        while True:
            await self._published.wait()
            self._published.clear()
            try:
                await self._write_waiting(publisher)
            except ClusterError as error:
                self.counters.publications_failed += 1
                self._fail("audit checkpoint not published", error)
                await asyncio.sleep(RETRY_SECONDS)
                self._published.set()

    async def _write_waiting(self, publisher: Publisher) -> None:
        for chain, signed in list(self._waiting.items()):
            await publisher.write(signed.tree())
            if self._waiting.get(chain) is signed:
                del self._waiting[chain]

    # -- retention ---------------------------------------------------------------------------------------------------

    async def _prune_for_ever(self) -> None:
        await asyncio.sleep(FIRST_PRUNE_SECONDS)
        while True:
            try:
                await self.prune()
            except PortcullisError as error:
                self.counters.prunes_failed += 1
                self._fail("audit log not pruned", error)
            except Exception:  # a fault of ours must not end the looking after
                self.counters.prunes_failed += 1
                log.exception("audit log not pruned")
            await asyncio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Removes what retention does not keep.

        Raises:
            ConfigError, RecordsError: as Pruner does.
        """
        removed_before = self._pruner.removed
        try:
            if (age := self._retention.age) is not None:
                self._tell(await self._pruner.prune(min(self._clock.now() - age, self._clock.now() - FRESH)))
            if (most := self._retention.bytes) is not None:
                self._tell(await self._pruner.prune_to(most))
        finally:
            self.counters.pruned_records += self._pruner.removed - removed_before
            for revision, (kind, content) in list(self._contents.items()):
                await self._store.bundles.put(revision, kind, content)

    def _tell(self, pruned: Pruned | None) -> None:
        if pruned is not None and pruned.records:
            self.counters.prunes += 1
            log.info(
                "audit log pruned",
                records=pruned.records,
                inputs=pruned.inputs,
                bundles=pruned.bundles,
                before=pruned.before.isoformat(),
            )

    def _fail(self, event: str, error: PortcullisError) -> None:
        self.problem = error.message
        log.error(event, problem=error.message)


def _beginning(opened: Opened) -> Signed:
    """The first record of a chain, in the form of a checkpoint that nobody signed."""
    genesis = Place(0, opened.hash)
    return Signed(Checkpoint(opened.chain, opened.replica, genesis, opened.started_at, genesis, previous=""))


@asynccontextmanager
async def keeper_of(audit: Audit, store: SqlRecords, clock: Clock) -> AsyncIterator[Keeper]:
    """The keeper that the configuration asks for; what it publishes to stays open until the end of the block.

    Raises:
        ConfigError: the key cannot be used.
        ClusterError: there is to be a ConfigMap, and this is no pod.
    """
    signer = signer_of(audit.checkpoints.key_file)
    async with AsyncExitStack() as stack:
        publisher: Publisher | None = None
        if audit.checkpoints.config_map:
            # Kubernetes' client takes half a second and 30 MiB, which nobody else pays for.
            from portcullis.cluster.checkpointmap import checkpoint_map

            publisher = await stack.enter_async_context(checkpoint_map(audit.checkpoints.config_map))
        yield Keeper(
            store,
            signer=signer,
            checkpoints=audit.checkpoints,
            retention=audit.retention,
            clock=clock,
            publisher=publisher,
        )


def observe_keeping(keeper: Keeper, metrics: Metrics) -> None:
    """Binds metrics to the keeper. Position, time and hash of the newest checkpoint are its publication for those who
    keep metrics elsewhere."""

    def last(read: Callable[[Checkpoint], float]) -> Callable[[], float]:
        return lambda: 0.0 if keeper.last is None else read(keeper.last.checkpoint)

    def named() -> tuple[str, str] | None:
        return None if keeper.last is None else (keeper.last.checkpoint.chain, keeper.last.checkpoint.head.hash)

    metrics.gauge("audit_chain_position", "Records of the chain that is written now.").set_function(
        lambda: float(keeper.position)
    )
    metrics.gauge("audit_checkpoint_position", "Where its newest checkpoint stands.").set_function(
        last(lambda one: float(one.head.position))
    )
    metrics.gauge("audit_checkpoint_seconds", "When that was made (Unix time).").set_function(
        last(lambda one: one.at.timestamp())
    )
    metrics.info("audit_checkpoint_info", "Chain and hash of the newest checkpoint.", ("chain", "hash"), named)
    counted = {
        "checkpoints": "Checkpoints that were made.",
        "checkpoints_failed": "Checkpoints that could not be made.",
        "publications_failed": "Checkpoints that could not be put into the ConfigMap at once.",
        "prunes": "Times that something was removed.",
        "prunes_failed": "Times that retention failed.",
        "pruned_records": "Records that were removed.",
        "chains_left": "Chains that were left because somebody else had changed them in the store.",
    }
    metrics.count_fields("audit", counted, lambda: keeper.counters)
