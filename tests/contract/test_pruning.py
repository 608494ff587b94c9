"""Retention over each kind of store: what goes, what stays, and that it is proven afterwards."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select

from fakes.chains import KEY, made, verified, writing, written
from fakes.clock import StandingClock
from fakes.oldlog import insert_old
from fakes.records import NOON
from portcullis.audit import pruning
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.audit.pruning import Pruned, Pruner
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import (
    chains,
    checkpoints,
    decisions,
    hours,
    image_uses,
    images,
    inputs,
    policy_tallies,
    reasons,
    tallies,
    violations,
)
from portcullis.audit.verification import Verdict
from portcullis.errors import ConfigError, RecordsError

pytestmark = pytest.mark.anyio

BESIDE = (images, violations, reasons, inputs, tallies, policy_tallies, image_uses, hours)
LATER = StandingClock((NOON + timedelta(days=100)).timestamp())


def after(number: int, days: float = 0.0) -> datetime:
    """A time behind the record of that number and before the next."""
    return NOON + timedelta(days=days, seconds=number + 0.5)


async def counts(store: SqlRecords, *tables: object) -> list[int]:
    def read(connection: Connection) -> list[int]:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]  # type: ignore[arg-type]

    return await store.read(read)


async def prune(url: str, before: datetime, signer: Signer | None = None, **given: object) -> Pruned:
    async with writing(url) as store:
        return await Pruner(store, signer=signer or Signer(), clock=LATER, **given).prune(before)  # type: ignore[arg-type]


async def test_what_is_left_is_proven_and_what_is_gone_leaves_nothing(audit_url: str) -> None:
    signed = await written(audit_url, 6, name="a", every=2, signer=Signer(KEY))
    signed += await written(audit_url, 3, name="b", every=2, signer=Signer(KEY), days=1)
    published: list[Signed] = []
    pruned = await prune(audit_url, after(4), Signer(KEY), published=published.append)
    assert (pruned.records, pruned.inputs) == (4, 4)
    assert pruned.checkpoints == published
    assert (published[0].checkpoint.pruned.position, published[0].checkpoint.head.position) == (4, 6)
    found = await verified(audit_url, keys=[KEY.public_key()], published=[*signed, *published])
    assert (found.verdict, [(one.first, one.last) for one in found.chains]) == (Verdict.PROVEN, [(5, 6), (1, 3)])

    pruned = await prune(audit_url, NOON + timedelta(days=50), Signer(KEY))
    assert pruned.records == 5
    found = await verified(audit_url, keys=[KEY.public_key()], published=[*signed, *published])
    assert (found.verdict, found.records) == (Verdict.PROVEN, 0)
    async with writing(audit_url) as store:
        assert await counts(store, decisions, *BESIDE) == [0] * 9
        assert await counts(store, chains, checkpoints) == [2, 2]


async def test_tallies_are_those_of_the_records_that_are_left(audit_url: str) -> None:
    async def sums(store: SqlRecords) -> list[object]:
        def read(connection: Connection) -> list[object]:
            uses = (image_uses.c.digest, image_uses.c.decisions, image_uses.c.refused)
            return [
                connection.execute(select(func.sum(tallies.c.count))).scalar_one(),
                connection.execute(select(func.sum(policy_tallies.c.count))).scalar_one(),
                [tuple(row) for row in connection.execute(select(*uses).order_by(image_uses.c.digest))],
            ]

        return await store.read(read)

    async with writing(audit_url) as store:
        for number in range(1, 6):
            await store.append(made(number))
        await store.append(replace(made(6), dry_run=True))
        await store.append(replace(made(7), sampled=True))
        # by hour and by day, each of the namespace and of all together
        assert await sums(store) == [24, 40, [("sha256:aa", 5, 5)]]
        await Pruner(store, signer=Signer(), clock=LATER).prune(after(2))
        assert await sums(store) == [16, 24, [("sha256:aa", 3, 3)]]
        await Pruner(store, signer=Signer(), clock=LATER).prune(after(7))
        assert await sums(store) == [None, None, []]
        assert await counts(store, decisions, hours) == [0, 0]


async def test_what_strangers_sent_takes_nothing_out_of_the_tallies(audit_url: str) -> None:
    """A sample counted for nothing, and so it does when it goes."""

    async def uses(store: SqlRecords) -> list[object]:
        return [*await counts(store, tallies, policy_tallies, image_uses)]

    async with writing(audit_url) as store:
        await store.append(replace(made(1), sampled=True))
        assert await uses(store) == [0, 0, 0]
        await store.append(made(2))
        counted = await uses(store)
        assert all(counted)
        pruned = await Pruner(store, signer=Signer(), clock=LATER).prune(after(1))
        assert (pruned.records, await uses(store)) == (1, counted)


async def test_only_a_beginning_goes_whatever_the_clock_said(audit_url: str) -> None:
    """The third record is dated a year ahead, the fourth two days back."""
    async with writing(audit_url) as store:
        for number, days in ((1, 0.0), (2, 0.0), (3, 365.0), (4, -2.0), (5, 0.0)):
            await store.append(made(number, days=days))
    assert (await prune(audit_url, after(10, days=1))).records == 2
    found = await verified(audit_url)
    assert (found.verdict, found.chains[0].first) == (Verdict.PROVEN, 3)


class _Power(Exception):
    pass


@pytest.mark.parametrize("step", [0, 1, 2, 3])
async def test_a_prune_that_dies_is_finished_by_the_next(
    audit_url: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "FIRST_STEP", 2)
    monkeypatch.setattr(pruning, "LARGEST_STEP", 2)
    await written(audit_url, 8, signer=Signer(KEY))

    def die(removed: int) -> None:
        if removed >= 2 * step:
            raise _Power

    def die_before(_: Signed) -> None:
        if step == 0:
            raise _Power

    with pytest.raises(_Power):
        await prune(audit_url, after(7), Signer(KEY), progress=die, published=die_before)
    halfway = await verified(audit_url, keys=[KEY.public_key()])
    assert halfway.verdict is Verdict.PROVEN
    assert halfway.chains[0].first == 1 + 2 * step
    finished = await prune(audit_url, after(1), Signer(KEY))
    assert finished.records == 7 - 2 * step
    assert finished.checkpoints == []
    found = await verified(audit_url, keys=[KEY.public_key()])
    assert (found.verdict, found.chains[0].first) == (Verdict.PROVEN, 8)


async def test_what_is_being_pruned_is_verified_all_the_same(audit_url: str) -> None:
    """The walk begins again where the beginning moved on under it."""
    await written(audit_url, 60, every=20)
    async with writing(audit_url) as store:
        pruner = Pruner(store, signer=Signer(), clock=LATER)
        both = await asyncio.gather(verified(audit_url), pruner.prune(after(50)))
    assert both[0].verdict is Verdict.PROVEN
    assert (await verified(audit_url)).chains[0].first == 51


async def test_a_running_program_goes_on_behind_what_was_pruned(audit_url: str) -> None:
    async with writing(audit_url) as store:
        for number in range(1, 4):
            await store.append(made(number))
        await prune(audit_url, after(3))
        await store.append(made(4))
        signed = await store.checkpoint(Signer(), NOON)
        assert store.chain.left == 0
        assert (signed.checkpoint.head.position, signed.checkpoint.pruned.position) == (4, 3)
    found = await verified(audit_url)
    assert (found.verdict, found.records) == (Verdict.PROVEN, 1)


async def test_the_next_program_goes_on_where_all_was_pruned(audit_url: str) -> None:
    await written(audit_url, 3, name="a")
    await prune(audit_url, after(3))
    await written(audit_url, 2, name="b")
    found = await verified(audit_url)
    assert (found.verdict, [(one.first, one.last) for one in found.chains]) == (Verdict.PROVEN, [(4, 3), (1, 2)])


async def test_a_signed_chain_is_not_pruned_without_a_key(audit_url: str) -> None:
    await written(audit_url, 3, signer=Signer(KEY))
    with pytest.raises(ConfigError, match=r"signed checkpoints.*audit\.checkpoints\.keyFile"):
        await prune(audit_url, after(2))
    assert (await verified(audit_url)).records == 3


async def test_a_chain_whose_checkpoint_was_changed_is_not_pruned(audit_url: str) -> None:
    await written(audit_url, 3)
    async with writing(audit_url) as store:
        await store.change(lambda connection: connection.execute(checkpoints.update().values(body="x")))
        with pytest.raises(RecordsError, match="audit verify"):
            await Pruner(store, signer=Signer(), clock=LATER).prune(after(2))


async def test_an_input_that_another_record_has_stays(audit_url: str) -> None:
    async with writing(audit_url) as store:
        first, second = made(1), made(2)
        same = replace(second.decision, document=first.decision.document)
        await store.append_many([first, replace(second, decision=same)])
        pruned = await Pruner(store, signer=Signer(), clock=LATER).prune(after(1))
        assert (pruned.records, pruned.inputs) == (1, 0)
    assert (await verified(audit_url)).verdict is Verdict.PROVEN


async def test_policy_sets_go_with_the_last_record_that_names_them(audit_url: str) -> None:
    async with writing(audit_url) as store:
        for revision in ("old", "new", "current", "sha256:configuration"):
            await store.bundles.put(revision, "policies", b"{}")
        for number, revision in ((1, "old"), (2, "current"), (3, "new")):
            record = made(number)
            await store.append(replace(record, decision=replace(record.decision, policy_revision=revision)))
        pruner = Pruner(store, signer=Signer(), clock=LATER, in_use=lambda: ["current"])
        assert (await pruner.prune(after(2))).bundles == 1
        kept = [await store.bundles.get(one) for one in ("old", "new", "current", "sha256:configuration")]
        assert kept == [None, b"{}", b"{}", b"{}"]


async def test_records_from_before_chains_go_too(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/audit.db"
    async with writing(url) as store:
        await store.change(lambda connection: insert_old(connection, made(1, name="old"), made(2, name="old")))
        await store.append(made(3))
        assert (await Pruner(store, signer=Signer(), clock=LATER).prune(after(1))).records == 1
    found = await verified(url)
    assert (found.verdict, found.unchained, found.records) == (Verdict.PROVEN, 1, 1)


async def test_a_plan_removes_nothing(audit_url: str) -> None:
    await written(audit_url, 5)
    async with writing(audit_url) as store:
        plan = await Pruner(store, signer=Signer(), clock=LATER).plan(after(3))
        assert plan.records == 3
        assert await counts(store, decisions) == [5]


def heavy(number: int) -> bytes:
    """Documents that do not compress."""
    return b'{"n":"' + b"".join(f"{number * 7919 * at:x}".encode() for at in range(3000)) + b'"}'


async def test_the_oldest_go_until_the_log_is_small_enough(audit_url: str) -> None:
    async with writing(audit_url) as store:
        for number in range(1, 61):
            record = made(number)
            await store.append(replace(record, decision=replace(record.decision, document=heavy(number))))
        pruner = Pruner(store, signer=Signer(), clock=LATER)
        size = await pruner.size()
        pruned = await pruner.prune_to(size // 2)
        assert pruned is not None
        assert pruned.bytes is not None
        assert size * 0.3 < pruned.bytes <= size // 2
        assert 20 < pruned.records < 45
        assert await pruner.prune_to(size // 2) is None
    assert (await verified(audit_url)).verdict is Verdict.PROVEN


async def test_nothing_of_the_last_minute_goes_by_size(audit_url: str) -> None:
    async with writing(audit_url) as store:
        await store.append_many([made(number) for number in range(1, 20)])
        clock = StandingClock((NOON + timedelta(seconds=30)).timestamp())
        with pytest.raises(ConfigError, match="older than a minute"):
            await Pruner(store, signer=Signer(), clock=clock).prune_to(1)
        assert await counts(store, decisions) == [19]


async def test_records_wait_for_no_more_than_a_step(audit_url: str) -> None:
    """Appends go on while many records are removed."""
    async with writing(audit_url) as store:
        for start in range(0, 300, 150):
            await store.append_many([made(number) for number in range(start, start + 150)])
        pruning_ = asyncio.create_task(Pruner(store, signer=Signer(), clock=LATER).prune(after(299)))
        appended = 0
        while not pruning_.done():
            await store.append(made(appended, name="new", days=1))
            appended += 1
        assert (await pruning_).records == 300
        assert appended > 5
