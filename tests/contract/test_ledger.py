"""The suite of the port Ledger, over the store that implements it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text, update

from fakes.records import a_decision, a_record
from portcullis.audit import searching
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.sql import SqlRecords
from portcullis.audit.tables import inputs
from portcullis.errors import CursorInvalid, RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import (
    AuditRecord,
    Counted,
    Extent,
    PolicyBucket,
    PolicyTally,
    RecordFilter,
    Span,
    VerdictBucket,
)
from portcullis.ports import Ledger

pytestmark = pytest.mark.anyio

LIMITS = Limits(search_rows=1000, append_seconds=30.0)
DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHOP, TOOLS, BOTH = frozenset({"shop"}), frozenset({"tools"}), frozenset({"shop", "tools"})


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def ledger(records: SqlRecords) -> Ledger:
    return SqlLedger(records=records, limits=LIMITS)


def refusing(
    *policies: str,
    at: datetime = DAY,
    images: Sequence[tuple[str, str]] = (("web:1", "sha256:aa"),),
    namespace: str = "shop",
    dry_run: bool = False,
) -> AuditRecord:
    decision = a_decision(verdict=Verdict.REFUSED, code=403, denied=policies, decided_at=at, images=images)
    return a_record(decision, namespace=namespace, dry_run=dry_run)


async def test_pages_show_every_record_once_and_end(records: SqlRecords, ledger: Ledger) -> None:
    await records.append_many([a_record(name=f"n{number}") for number in range(7)])
    seen: list[str] = []
    query = RecordFilter(limit=3)
    while True:
        page = await ledger.page(query)
        seen += [record.name for record in page.records]
        if page.next is None:
            break
        query = replace(query, before=page.next)
    assert seen == [f"n{number}" for number in reversed(range(7))]
    exact = await ledger.page(RecordFilter(limit=7))
    assert (len(exact.records), exact.next, exact.searched_to) == (7, None, None)


async def test_what_is_newer_is_counted(records: SqlRecords, ledger: Ledger) -> None:
    await records.append_many([a_record(namespace="shop" if number % 2 else "tools") for number in range(9)])
    newest = (await ledger.page(RecordFilter(limit=1))).records[0].sequence
    assert await ledger.newer(RecordFilter(), newest) == 0
    assert await ledger.newer(RecordFilter(before=3), newest - 4) == 4
    assert await ledger.newer(RecordFilter(namespace="shop"), newest - 4) == 2
    assert await ledger.newer(RecordFilter(visible=TOOLS), 0) == 5
    await records.append_many([a_record() for _ in range(1001)])
    assert await ledger.newer(RecordFilter(limit=1), newest) == 1000


async def test_a_damaged_row_is_named_and_hides_no_other(records: SqlRecords, ledger: Ledger) -> None:
    await records.append_many([a_record(name=f"n{number}") for number in range(4)])
    second = (await ledger.page(RecordFilter(name="n1"))).records[0].sequence
    for body in ("{}", "", '{"apiVersion":"portcullis.dev/v1"', "null"):
        await records.change(
            lambda connection, body=body: connection.execute(  # type: ignore[misc]
                text("UPDATE decisions SET body = :body WHERE sequence = :sequence"),
                {"body": body, "sequence": second},
            )
        )
        page = await ledger.page(RecordFilter())
        assert [record.name for record in page.records] == ["n3", "n2", "n0"]
        assert page.damaged == (second,)
        assert (await ledger.page(RecordFilter(limit=3))).damaged == (second,)


async def test_a_record_is_for_those_who_may_see_its_namespace(records: SqlRecords, ledger: Ledger) -> None:
    record = a_record(namespace="shop")
    cluster = a_record(namespace="", kind="ClusterRole")
    await records.append_many([record, cluster])
    for visible, found in ((None, True), (SHOP, True), (BOTH, True), (TOOLS, False), (frozenset[str](), False)):
        kept = await ledger.get(record.decision.id, visible)
        assert (kept is not None) is found
        if kept is not None:
            assert kept.decision.document == record.decision.document
    assert await ledger.get(cluster.decision.id) is not None
    assert await ledger.get(cluster.decision.id, BOTH) is None
    assert await ledger.get("no such decision") is None


async def test_an_input_that_is_another_is_an_error(records: SqlRecords, ledger: Ledger) -> None:
    record = a_record()
    await records.append(record)
    await records.change(lambda connection: connection.execute(update(inputs).values(content=b"\0")))
    with pytest.raises(RecordsError):
        await ledger.get(record.decision.id)


async def test_the_place_in_the_chain(records: SqlRecords, ledger: Ledger) -> None:
    await records.append_many([a_record(), a_record()])
    first, second = reversed((await ledger.page(RecordFilter())).records)
    places = [await ledger.place(record.sequence) for record in (first, second)]
    assert places[0] is not None
    assert places[1] is not None
    assert [place.position for place in places if place] == [1, 2]
    assert places[0].chain == places[1].chain
    assert places[0].hash != places[1].hash
    assert len(bytes.fromhex(places[0].hash)) == 32
    await records.change(lambda connection: connection.execute(text("UPDATE decisions SET chain = NULL")))
    assert await ledger.place(first.sequence) is None
    assert await ledger.place(10**6) is None


async def test_the_previous_decision_is_of_the_same_workload(records: SqlRecords, ledger: Ledger) -> None:
    await records.append_many(
        [
            a_record(name="web"),
            a_record(name="web", dry_run=True),
            a_record(name="web", kind="Pod"),
            a_record(name="web", namespace="tools"),
            a_record(name="web"),
            a_record(name="", kind="Pod"),
            a_record(name="", kind="Pod"),
        ]
    )
    nameless, _, last, _, _, _, first = (await ledger.page(RecordFilter())).records
    previous = await ledger.previous(last)
    assert previous is not None
    assert previous.sequence == first.sequence
    assert previous.decision.document
    assert await ledger.previous(last, TOOLS) is None
    assert await ledger.previous(first) is None
    assert await ledger.previous(nameless) is None


async def test_verdicts_by_hour_and_by_day(records: SqlRecords, ledger: Ledger) -> None:
    undecided = a_decision(verdict=Verdict.UNDECIDED, code=503, decided_at=DAY + HOUR)
    await records.append_many(
        [
            refusing("image-user", at=DAY + timedelta(minutes=59)),
            refusing("image-user", at=DAY + timedelta(minutes=59), dry_run=True),
            a_record(undecided),
            a_record(replace(undecided, id="pending", code=429)),
            a_record(a_decision(decided_at=DAY + HOUR), namespace="tools"),
            a_record(replace(a_decision(decided_at=DAY + HOUR), because=Because.EXCEPTION), namespace="tools"),
            a_record(replace(a_decision(decided_at=DAY + HOUR), because=Because.BREAK_GLASS), namespace="tools"),
            a_record(a_decision(decided_at=DAY + 3 * HOUR)),
        ]
    )
    span = Span(DAY, DAY + 3 * HOUR)
    assert await ledger.verdicts(span) == (
        VerdictBucket(DAY, refused=1, dry_runs=1),
        VerdictBucket(DAY + HOUR, admitted=3, outages=1, pending=1, excepted=1, break_glass=1),
        VerdictBucket(DAY + 2 * HOUR),
    )
    assert [bucket.admitted for bucket in await ledger.verdicts(span, SHOP)] == [0, 0, 0]
    assert [bucket.admitted for bucket in await ledger.verdicts(span, None, "tools")] == [0, 3, 0]
    assert [bucket.admitted for bucket in await ledger.verdicts(span, SHOP, "tools")] == [0, 0, 0]
    assert [bucket.refused for bucket in await ledger.verdicts(span, frozenset())] == [0, 0, 0]
    assert await ledger.namespaces(span) == (Counted("shop", 1),)
    assert await ledger.namespaces(span, TOOLS) == ()
    by_day = await ledger.verdicts(Span(DAY - timedelta(days=9), DAY + timedelta(days=1)))
    assert len(by_day) == 10
    assert by_day[-1] == VerdictBucket(
        DAY, admitted=4, refused=1, outages=1, pending=1, excepted=1, break_glass=1, dry_runs=1
    )


@pytest.mark.parametrize(("days", "says"), [(0, "ends after"), (-1, "ends after"), (3661, r"limits\.spanDays")])
async def test_a_span_is_bounded(ledger: Ledger, days: int, says: str) -> None:
    with pytest.raises(RecordsError, match=says):
        await ledger.verdicts(Span(DAY, DAY + timedelta(days=days)))


async def test_policies_over_time(records: SqlRecords, ledger: Ledger) -> None:
    excepted = refusing("image-user", at=DAY + HOUR)
    (violation,) = excepted.decision.violations
    covered = replace(excepted.decision, violations=(replace(violation, exception="EX-1"),))
    waiting = a_record(a_decision(undecided=["scan-required"], decided_at=DAY))
    await records.append_many(
        [
            *(refusing("image-user", "image-user", "image-shell", at=DAY) for _ in range(3)),
            refusing("image-shell", at=DAY, namespace="tools", images=[("db:1", "sha256:bb")]),
            refusing("image-shell", at=DAY, dry_run=True),
            replace(excepted, decision=covered),
            waiting,
        ]
    )
    span = Span(DAY, DAY + 2 * HOUR)
    assert await ledger.policies(span) == (
        PolicyTally("image-shell", "deny", violations=4),
        PolicyTally("image-user", "deny", violations=3, excepted=1),
        PolicyTally("scan-required", "warn", undecided=1),
    )
    assert await ledger.policies(span, TOOLS) == (PolicyTally("image-shell", "deny", violations=1),)
    assert await ledger.policies(span, frozenset()) == ()
    assert await ledger.policy("image-user", span) == (
        PolicyBucket(DAY, violations=3),
        PolicyBucket(DAY + HOUR, excepted=1),
    )
    assert await ledger.policy("image-user", span, TOOLS) == (PolicyBucket(DAY), PolicyBucket(DAY + HOUR))
    assert await ledger.namespaces(span) == (Counted("shop", 4), Counted("tools", 1))
    assert await ledger.namespaces(span, TOOLS) == (Counted("tools", 1),)
    assert await ledger.namespaces(span, frozenset()) == ()
    assert await ledger.namespaces(Span(DAY + 4 * HOUR, DAY + 5 * HOUR)) == ()
    assert await ledger.policy_namespaces("image-shell", span) == (Counted("shop", 3), Counted("tools", 1))
    assert await ledger.policy_namespaces("image-shell", span, TOOLS) == (Counted("tools", 1),)
    assert await ledger.policy_images("image-shell", span) == (Counted("sha256:aa", 3), Counted("sha256:bb", 1))
    assert await ledger.policy_images("image-shell", span, TOOLS) == (Counted("sha256:bb", 1),)
    assert await ledger.policy_images("scan-required", span) == ()


async def test_images_by_their_last_use(records: SqlRecords, ledger: Ledger) -> None:
    for number in range(6):
        await records.append(
            a_record(
                a_decision(
                    images=[(f"reg/app{number % 3}:{number}", f"sha256:{number % 3}")], decided_at=DAY + number * HOUR
                ),
                namespace="shop" if number < 4 else "tools",
            )
        )
    await records.append(a_record(a_decision(images=[("x", "sha256:x"), ("y", "sha256:y")]), namespace="tools"))
    await records.append(a_record(a_decision(images=[("z", "sha256:dry")]), dry_run=True))
    everything = await ledger.images()
    assert [one.digest for one in everything.images] == [f"sha256:{name}" for name in "yx210"]
    assert everything.next == ""
    seen: list[str] = []
    after = ""
    while True:
        page = await ledger.images(after=after, limit=2)
        seen += [one.digest for one in page.images]
        after = page.next
        if not after:
            break
    assert seen == [one.digest for one in everything.images]
    mine = await ledger.images(SHOP)
    assert [(one.digest, one.written, one.decisions) for one in mine.images] == [
        ("sha256:0", "reg/app0:3", 2),
        ("sha256:2", "reg/app2:2", 1),
        ("sha256:1", "reg/app1:1", 1),
    ]
    assert [one.digest for one in (await ledger.images(written="reg/app1")).images] == ["sha256:1"]
    assert (await ledger.images(frozenset())).images == ()
    one = await ledger.image("sha256:1")
    assert one is not None
    assert (one.first_at, one.last_at, one.decisions, one.namespaces) == (DAY + HOUR, DAY + 4 * HOUR, 2, 2)
    assert await ledger.image("sha256:2", frozenset({"other"})) is None


@pytest.mark.parametrize("after", ["x", "1", "1/", "-1/sha256:aa", "1/a b", "9" * 30 + "/sha256:aa", "1/'; DROP"])
async def test_a_place_that_is_none_of_ours_is_refused(ledger: Ledger, after: str) -> None:
    with pytest.raises(CursorInvalid, match="list of images"):
        await ledger.images(after=after)


async def test_where_an_image_is_used(records: SqlRecords, ledger: Ledger) -> None:
    image = [("web:1", "sha256:aa")]
    await records.append_many(
        [
            a_record(a_decision(images=image, decided_at=DAY)),
            refusing("image-user", images=[("web:2", "sha256:aa")], at=DAY + HOUR),
            a_record(a_decision(images=image), namespace="tools", name="other"),
            a_record(a_decision(images=image), name="tried", dry_run=True),
            a_record(a_decision(images=[("db", "sha256:bb")]), name="unrelated"),
        ]
    )
    found = await ledger.workloads("sha256:aa")
    assert [(one.namespace, one.name, one.verdict, one.written) for one in found] == [
        ("tools", "other", "admitted", "web:1"),
        ("shop", "checkout", "refused", "web:2"),
    ]
    assert [one.namespace for one in await ledger.workloads("sha256:aa", SHOP)] == ["shop"]
    assert await ledger.workloads("sha256:aa", frozenset()) == ()


async def test_documents_that_differ(records: SqlRecords, ledger: Ledger) -> None:
    for number, document in enumerate((b"{}", b'{"a":1}', b"{}", b"")):
        decision = a_decision(images=[("web", "sha256:aa")], document=document)
        await records.append(a_record(decision, namespace="tools" if number == 1 else "shop"))
    found = await ledger.documents("sha256:aa")
    assert [record.decision.document for record in found] == [b"{}", b'{"a":1}']
    newest = (await ledger.page(RecordFilter(limit=1))).records[0].sequence
    assert [record.sequence for record in found] == [newest - 1, newest - 2]
    assert len(await ledger.documents("sha256:aa", limit=1)) == 1
    assert [record.decision.document for record in await ledger.documents("sha256:aa", SHOP)] == [b"{}"]


async def test_the_extent(records: SqlRecords, ledger: Ledger) -> None:
    assert await ledger.extent() == await ledger.extent(SHOP) == Extent(0, None, None)
    moments = [DAY + timedelta(minutes=90 * number) for number in range(4)]
    for number, moment in enumerate(moments):
        await records.append(a_record(a_decision(decided_at=moment), namespace="shop" if number % 2 else "tools"))
    assert await ledger.extent() == Extent(4, moments[0], moments[3])
    assert await ledger.extent(SHOP) == Extent(2, DAY + HOUR, moments[3])
    assert await ledger.extent(TOOLS) == Extent(2, DAY, moments[2])
    assert await ledger.extent(frozenset({"other"})) == Extent(0, None, None)


# -- in time -------------------------------------------------------------------------------------------------------


async def test_a_search_that_takes_too_long_says_how_far_it_came(
    records: SqlRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step is one entry, and the time is over after some of them: the next page goes on where that one stopped,
    and together they find all."""
    monkeypatch.setattr(searching, "FIRST_STEP", 1)
    monkeypatch.setattr(searching, "LAST_STEP", 1)
    denied = [["image-user"] if number % 40 == 0 else [] for number in range(200)]
    await records.append_many(
        [
            a_record(a_decision(denied=policies, decided_at=DAY + number * HOUR))
            for number, policies in enumerate(denied)
        ]
    )
    whole = SqlLedger(records=records, limits=replace(LIMITS, read_seconds=600.0))
    first = (await whole.page(RecordFilter(until=DAY + HOUR))).records[0].sequence
    seconds = 1.0
    query = RecordFilter(mode="deny", since=DAY - HOUR)
    while (page := await in_time(records, seconds).page(query)).searched_to is None:
        assert seconds > 0.01, "never late"
        seconds /= 2
    assert page.next is not None
    assert page.searched_to == DAY + (page.next - first) * HOUR
    rest = await whole.page(replace(query, before=page.next))
    assert (len(page.records) + len(rest.records), rest.next, rest.searched_to) == (5, None, None)


def in_time(records: SqlRecords, seconds: float) -> SqlLedger:
    return SqlLedger(records=records, limits=replace(LIMITS, read_seconds=seconds))


async def test_a_question_without_an_answer_in_time_is_an_error(records: SqlRecords) -> None:
    await records.append(a_record())
    ledger = SqlLedger(records=records, limits=replace(LIMITS, read_seconds=0.0))
    for question in (ledger.page(RecordFilter()), ledger.extent(), ledger.images()):
        with pytest.raises(RecordsError, match=r"limits\.readSeconds"):
            await question


async def test_a_statement_is_cut_short(records: SqlRecords) -> None:
    endless = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")

    def read(connection: Connection) -> object:
        return connection.execute(endless).scalar_one()

    ledger = SqlLedger(records=records, limits=replace(LIMITS, read_seconds=0.1))
    begun = time.monotonic()
    with pytest.raises(RecordsError, match=r"limits\.readSeconds"):
        await ledger._read(read)
    assert time.monotonic() - begun < 30
    assert await SqlLedger(records=records, limits=LIMITS).extent() == Extent(0, None, None)
