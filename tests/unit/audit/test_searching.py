"""How decisions are found: along indexes, in steps of any size, always the same ones."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from fakes.records import NOON, InMemoryRecords, a_decision, a_record
from portcullis.audit import searching
from portcullis.audit.ledger import SqlLedger
from portcullis.audit.query import EVERYTHING, ways
from portcullis.audit.sql import SqlRecords
from portcullis.limits import Limits
from portcullis.model.decision import Because, Verdict
from portcullis.model.record import AuditRecord, RecordFilter
from portcullis.model.request import Caller

pytestmark = pytest.mark.anyio

LIMITS = Limits(append_seconds=30.0, read_seconds=300.0, store_seconds=60.0)
NAMESPACES = [f"n{number}" for number in range(24)]
USERS = ("ann", "ben", "cleo")
IMAGES = (("reg/web:1", "sha256:a"), ("reg/web:2", "sha256:b"), ("reg/db@sha256:c", "sha256:c"))
POLICIES = ("image-user", "image-shell", "scan-required")


@pytest.fixture
async def store(audit_url: str) -> AsyncIterator[SqlRecords]:
    records = SqlRecords(url=audit_url, limits=LIMITS)
    await records.start()
    yield records
    await records.aclose()


def drawn(chance: random.Random) -> AuditRecord:
    """Of a small world, in which everything meets everything; the clock goes back now and then."""
    verdict = chance.choice((Verdict.ADMITTED, Verdict.ADMITTED, Verdict.REFUSED, Verdict.UNDECIDED))
    decision = a_decision(
        verdict=verdict,
        images=chance.sample(IMAGES, chance.randrange(4)),
        denied=chance.sample(POLICIES, chance.randrange(3)),
        undecided=chance.sample(POLICIES, chance.randrange(2)),
        decided_at=NOON + timedelta(minutes=chance.randrange(60 * 30)),
    )
    because = chance.choice((Because.JUDGED, Because.JUDGED, Because.BREAK_GLASS, Because.EXCEPTION))
    violations = tuple(replace(one, exception="EX-1") if chance.random() < 0.3 else one for one in decision.violations)
    record = a_record(
        replace(decision, because=because, violations=violations),
        namespace=chance.choice((*NAMESPACES, "n0", "n0", "")),
        kind=chance.choice(("Pod", "Job")),
        name=chance.choice(("web", "db")),
        username=chance.choice(USERS),
        dry_run=chance.random() < 0.2,
    )
    return replace(record, caller=chance.choice((Caller.CERTIFICATE, Caller.UNVERIFIED)))


def asked(chance: random.Random) -> RecordFilter:
    """One to five conditions."""
    conditions: dict[str, Any] = {
        "since": NOON + timedelta(minutes=chance.randrange(60 * 30)),
        "until": NOON + timedelta(minutes=chance.randrange(60 * 30)),
        "namespace": chance.choice(("n0", "n1", "nowhere")),
        "kind": "Job",
        "name": "web",
        "username": chance.choice(USERS),
        "image": chance.choice(("reg/web", "reg/web:1", "reg/db@sha256:c", "reg")),
        "digest": chance.choice(("sha256:a", "sha256:c")),
        "policy": chance.choice(POLICIES),
        "exception": "EX-1",
        "verdict": chance.choice(("admitted", "refused")),
        "mode": chance.choice(("deny", "warn")),
        "reason": "registry-unreachable",
        "because": chance.choice(("judged", "break-glass")),
        "caller": chance.choice(("certificate", "unverified")),
        "text": chance.choice(("root", "runs root", "no route", "nothing of it")),
        "dry_run": chance.random() < 0.5,
        "visible": frozenset(chance.sample(NAMESPACES, chance.choice((0, 2, 20)))),
    }
    chosen = chance.sample(sorted(conditions), chance.randrange(1, 6))
    return RecordFilter(**{name: conditions[name] for name in chosen})


@pytest.mark.timeout(300)
async def test_whatever_is_asked_is_found_in_steps_of_any_size(
    store: SqlRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page by page, the same as a plain loop over all records finds."""
    chance = random.Random(7)
    plain = InMemoryRecords(limits=LIMITS)
    records = [drawn(chance) for _ in range(150)]
    await store.append_many(records)
    for record in records:
        await plain.append(record)
    ledger = SqlLedger(records=store, limits=LIMITS)
    for _ in range(80):
        monkeypatch.setattr(searching, "FIRST_STEP", chance.choice((1, 3, 40, 400)))
        query = asked(chance)
        expected = [one.decision.id for one in await plain.search(replace(query, limit=1000))]
        found: list[str] = []
        page = await ledger.page(replace(query, limit=chance.choice((3, 20, 1000))))
        found += [one.decision.id for one in page.records]
        while page.next is not None:
            page = await ledger.page(replace(query, limit=20, before=page.next))
            found += [one.decision.id for one in page.records]
        assert found == expected, query
        assert await ledger.newer(query, 0) == len(expected), query


QUESTIONS = [
    RecordFilter(namespace="n0"),
    RecordFilter(kind="Pod"),
    RecordFilter(name="web"),
    RecordFilter(username="ann"),
    RecordFilter(verdict="refused"),
    RecordFilter(because="break-glass"),
    RecordFilter(caller="unverified"),
    RecordFilter(dry_run=True),
    RecordFilter(image="reg/web"),
    RecordFilter(image="reg/web:1"),
    RecordFilter(digest="sha256:a"),
    RecordFilter(policy="image-user"),
    RecordFilter(exception="EX-1"),
    RecordFilter(reason="registry-unreachable"),
    RecordFilter(text="root"),
    RecordFilter(namespace="n0", kind="Pod", name="web"),
    RecordFilter(visible=frozenset({"n0", "n1"})),
]


async def test_every_way_is_an_index_read_in_its_order(tmp_path: Path) -> None:
    """What keeps a page of millions of records fast; the plan is SQLite's own word for it. PostgreSQL's depend on what
    it knows of the rows."""
    store = SqlRecords(url=f"sqlite:///{tmp_path}/audit.db", limits=LIMITS)
    await store.start()

    def read(connection: Connection) -> list[tuple[RecordFilter, str]]:
        plans = []
        for query in QUESTIONS:
            for way in ways(query):
                options = {"literal_binds": True, "render_postcompile": True}
                statement = way.newest(1, 1000, 10).compile(connection, compile_kwargs=options)
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
                plans.append((query, "\n".join(row.detail for row in rows)))
        return plans

    for query, plan in await store.read(read):
        assert ("VIRTUAL TABLE INDEX" if query.text else "INDEX ix_") in plan, (query, plan)
        assert query.visible is not None or "TEMP B-TREE" not in plan, (query, plan)
    await store.aclose()


def test_what_no_index_holds_is_looked_for_in_the_whole_log() -> None:
    for query in (
        RecordFilter(),
        RecordFilter(verdict="admitted"),
        RecordFilter(mode="deny"),
        RecordFilter(since=NOON),
    ):
        assert ways(query) == (EVERYTHING,)
