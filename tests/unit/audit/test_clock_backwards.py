"""The clock of a machine is set back by two hours between decisions: the log keeps its own order, loses nothing, counts
each decision in its hour, and stays proven."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from fakes.chains import verified
from fakes.records import NOON, a_decision, a_record
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.audit.verification import Verdict
from portcullis.model.record import RecordFilter, Span

pytestmark = pytest.mark.anyio

MINUTES = (0, 10, 20, -100, -90, 15, 30)
"""When each was decided, by the clock of its time; four and five after it was set back, then it was mended."""


@pytest.fixture
async def store(audit_url: str) -> AsyncIterator[SqlRecords]:
    store = SqlRecords(url=audit_url)
    await store.start()
    for number, minutes in enumerate(MINUTES):
        decided = NOON + timedelta(minutes=minutes)
        await store.append(a_record(a_decision(f"d-{number}", decided_at=decided)))
    yield store
    await store.aclose()


async def test_pages_are_in_the_order_of_the_log_and_each_record_comes_once(store: SqlRecords) -> None:
    ledger = SqlLedger(records=store)
    found: list[str] = []
    before: int | None = None
    for _ in MINUTES:
        page = await ledger.page(RecordFilter(limit=2, before=before))
        found += [record.decision.id for record in page.records]
        before = page.next
        if before is None:
            break
    assert found == [f"d-{number}" for number in reversed(range(len(MINUTES)))]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(0, 60, [0, 1, 2, 5, 6]), (-120, 0, [3, 4]), (-95, 12, [0, 1, 4]), (40, 60, [])],
)
async def test_a_span_of_time_means_what_the_clock_said(
    store: SqlRecords, since: int, until: int, expected: list[int]
) -> None:
    query = RecordFilter(since=NOON + timedelta(minutes=since), until=NOON + timedelta(minutes=until))
    page = await SqlLedger(records=store).page(query)
    assert [record.decision.id for record in page.records] == [f"d-{number}" for number in reversed(expected)]


async def test_each_is_counted_in_its_hour_and_the_one_before_is_the_one_before_in_the_log(store: SqlRecords) -> None:
    ledger = SqlLedger(records=store)
    hours = await ledger.verdicts(Span(NOON - timedelta(hours=3), NOON + timedelta(hours=1)))
    assert sum(one.admitted for one in hours) == len(MINUTES)
    record = await ledger.get("d-3")
    assert record is not None
    previous = await ledger.previous(record)
    assert previous is not None
    assert previous.decision.id == "d-2"


async def test_the_chain_is_proven_and_goes_on(store: SqlRecords, audit_url: str) -> None:
    await store.append(a_record(a_decision("d-last", decided_at=NOON - timedelta(days=400))))
    found = await verified(audit_url)
    assert (found.verdict, found.records) == (Verdict.PROVEN, len(MINUTES) + 1)
