"""Checkpoints, publication and retention while the gate serves."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.chains import KEY, made, url_of, verified, writing
from fakes.clock import StandingClock
from fakes.records import NOON, SystemClock
from portcullis.audit.checkpoints import Signer
from portcullis.audit.journal import Journal
from portcullis.audit.published import read_published
from portcullis.audit.sql import SqlRecords
from portcullis.audit.verification import Verdict
from portcullis.audit.writer import AuditLog
from portcullis.errors import ClusterError, ConfigError
from portcullis.limits import DEFAULT_LIMITS
from portcullis.server import auditkeeping
from portcullis.server.auditkeeping import Keeper, observe_keeping
from portcullis.server.keepsections import CheckpointsSection, RetentionSection
from portcullis.server.settings import Settings
from portcullis.server.telemetry import Metrics, configure_logging

pytestmark = pytest.mark.anyio


class Published:
    """Takes checkpoints, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.taken: list[Mapping[str, Any]] = []
        self.failing = 0

    async def write(self, checkpoint: Mapping[str, Any]) -> None:
        if self.failing:
            self.failing -= 1
            raise ClusterError("no")
        self.taken.append(checkpoint)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TICK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(auditkeeping, name, 0.01)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlRecords]:
    async with writing(url_of(tmp_path / "audit.db")) as store:
        yield store


def keeper_of(store: SqlRecords, clock: StandingClock, publisher: Published | None = None, **retention: Any) -> Keeper:
    return Keeper(
        store,
        signer=Signer(KEY),
        checkpoints=CheckpointsSection(everyRecords=3, everyMinutes=5),
        retention=RetentionSection(**retention),
        clock=clock,
        publisher=publisher,
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_checkpoints_come_after_records_and_minutes(store: SqlRecords) -> None:
    clock, published = StandingClock(), Published()
    keeper = keeper_of(store, clock, published)

    def positions() -> list[int]:
        return [one["position"] for one in published.taken]

    async with keeper.running():
        await until(lambda: positions() == [0])
        await store.append_many([made(1), made(2)])
        await asyncio.sleep(0.1)
        assert positions() == [0]
        await store.append(made(3))
        await until(lambda: positions() == [0, 3])
        await store.append(made(4))
        clock.seconds += 299
        await asyncio.sleep(0.1)
        assert positions() == [0, 3]
        clock.seconds += 2
        await until(lambda: positions() == [0, 3, 4])
        clock.seconds += 1000
        await asyncio.sleep(0.1)
        assert positions() == [0, 3, 4]
        await store.append(made(5))
        await until(lambda: positions()[-1] == 5)
    await keeper.finish()
    assert keeper.counters.checkpoints == 5


async def test_what_is_published_is_what_verify_reads(store: SqlRecords, tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logging(stream)
    keeper = keeper_of(store, StandingClock())
    async with keeper.running():
        await until(lambda: keeper.last)
        await store.append(made(1))
    await keeper.finish()
    log = tmp_path / "log"
    log.write_text(stream.getvalue())
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["audit chain opened", "audit checkpoint", "audit checkpoint"]
    published = list(read_published(log))
    assert [one.place.position for one in published] == [0, 0, 1]
    found = await verified(
        url_of(tmp_path / "audit.db"), keys=[KEY.public_key()], published=[one.signed for one in published]
    )
    assert (found.verdict, found.published, found.notes) == (Verdict.PROVEN, 3, [])


async def test_what_cannot_be_published_is_tried_again(store: SqlRecords) -> None:
    published = Published()
    published.failing = 2
    keeper = keeper_of(store, StandingClock(), published)
    async with keeper.running():
        await until(lambda: published.taken)
    assert keeper.counters.publications_failed == 2
    assert [one["position"] for one in published.taken] == [0]


async def test_the_last_checkpoint_is_that_of_the_last_record(tmp_path: Path) -> None:
    """Also of records that came with the end of the program."""
    url, published = url_of(tmp_path / "audit.db"), Published()
    store = SqlRecords(url=url)
    keeper = keeper_of(store, StandingClock(), published)
    log = AuditLog(
        store=store,
        journal=Journal(path=tmp_path / "journal"),
        limits=DEFAULT_LIMITS,
        clock=SystemClock(),
        last=keeper.finish,
    )
    async with AsyncExitStack() as stack:
        await log.start()
        stack.push_async_callback(log.aclose)
        await stack.enter_async_context(keeper.running())
        await until(lambda: published.taken)
        await log.append(made(1))
        await log.append(made(2))
    assert published.taken[-1]["position"] == 2
    assert [one.signed for one in (await verified(url, keys=[KEY.public_key()])).chains] == [2]


async def test_a_program_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    url = url_of(tmp_path / "audit.db")
    async with writing(url) as store:
        await keeper_of(store, StandingClock()).finish()
    assert (await verified(url)).chains == []


async def test_a_store_that_is_down_is_said_and_tried_again(store: SqlRecords, tmp_path: Path) -> None:
    path, away = tmp_path / "audit.db", tmp_path / "away.db"
    keeper = keeper_of(store, StandingClock())
    await store.append(made(1))
    path.rename(away)
    path.mkdir()
    async with keeper.running():
        await until(lambda: keeper.counters.checkpoints_failed >= 2)
        assert keeper.problem
        path.rmdir()
        away.rename(path)
        await until(lambda: keeper.last)
        assert keeper.problem == ""


async def test_retention_by_age_and_size(store: SqlRecords, tmp_path: Path) -> None:
    clock = StandingClock((NOON + timedelta(days=40)).timestamp())
    keeper = keeper_of(store, clock, days=30)
    keeper.remember("sha256:policies", "policies", b"{}")
    await store.bundles.put("sha256:policies", "policies", b"{}")
    await store.append_many([made(1), made(2), made(3, days=20)])
    await keeper.prune()
    assert (keeper.counters.prunes, keeper.counters.pruned_records) == (1, 2)
    keeper = keeper_of(store, clock, gibibytes=0.000001)
    with pytest.raises(ConfigError, match="--before"):
        await keeper_of(store, StandingClock(NOON.timestamp()), gibibytes=0.000001).prune()
    await store.append(made(4, days=21))
    await keeper.prune()
    assert keeper.counters.pruned_records == 1
    assert (await verified(url_of(tmp_path / "audit.db"))).records == 1


async def test_nothing_goes_where_nothing_is_said(store: SqlRecords) -> None:
    clock = StandingClock((NOON + timedelta(days=4000)).timestamp())
    keeper = keeper_of(store, clock)
    await store.append(made(1))
    await keeper.prune()
    assert keeper.counters.pruned_records == 0


async def test_what_serves_is_there_after_each_prune(store: SqlRecords) -> None:
    clock = StandingClock((NOON + timedelta(days=40)).timestamp())
    keeper = keeper_of(store, clock, days=1)
    for number in range(7):
        keeper.remember(f"sha256:{number}", "policies", b"{}")
    keeper.remember("sha256:c", "configuration", b"{}")
    await keeper.prune()
    there = [await store.bundles.get(f"sha256:{number}") for number in (*range(7), "c")]
    assert there == [None] * 3 + [b"{}"] * 5


async def test_metrics_tell_position_time_and_hash(store: SqlRecords) -> None:
    metrics, keeper = Metrics(), keeper_of(store, StandingClock(NOON.timestamp()))
    observe_keeping(keeper, metrics)
    assert b"portcullis_audit_checkpoint_info{" not in metrics.page()
    await store.append_many([made(1), made(2)])
    await keeper.finish()
    assert keeper.last is not None
    checkpoint = keeper.last.checkpoint
    page = metrics.page().decode()
    for line in (
        "portcullis_audit_chain_position 2.0",
        "portcullis_audit_checkpoint_position 2.0",
        f'portcullis_audit_checkpoint_info{{chain="{checkpoint.chain}",hash="{checkpoint.head.hash}"}} 1.0',
        "portcullis_audit_checkpoints_total 1.0",
    ):
        assert line in page
    (seconds,) = [
        float(one.split()[1]) for one in page.splitlines() if one.startswith("portcullis_audit_checkpoint_sec")
    ]
    assert seconds == checkpoint.at.timestamp()


class Hanging:
    """Never done."""

    async def write(self, checkpoint: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()


async def test_a_publisher_that_hangs_does_not_keep_the_program(
    store: SqlRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditkeeping, "PUBLISH_SECONDS", 0.05)
    await store.append(made(1))
    keeper = Keeper(
        store,
        signer=Signer(),
        checkpoints=CheckpointsSection(),
        retention=RetentionSection(),
        clock=StandingClock(),
        publisher=Hanging(),
    )
    async with asyncio.timeout(5):
        await keeper.finish()
    assert keeper.last is not None
    assert not keeper.last.signature


@pytest.mark.parametrize(
    "tree",
    [
        {"checkpoints": {"everyRecords": 0}},
        {"checkpoints": {"everyMinutes": 0.0}},
        {"checkpoints": {"configMap": "Not/A name"}},
        {"checkpoints": {"key": "x"}},
        {"retention": {"days": 0.0}},
        {"retention": {"gibibytes": -1.0}},
    ],
)
def test_what_makes_no_sense_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="audit"):
        Settings.from_tree({"audit": tree})
