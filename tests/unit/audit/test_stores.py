"""The store, whichever database it is in: what is not about a file or a server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from fakes.postgres import sqlalchemy_url
from fakes.records import a_decision, a_record
from portcullis.audit.sql import SqlRecords, open_records
from portcullis.audit.store import RecordRefused
from portcullis.errors import RecordsError
from portcullis.limits import Limits
from portcullis.model.decision import Verdict
from portcullis.model.record import RecordFilter

pytestmark = pytest.mark.anyio


def outside(url: str, statement: str, **values: object) -> list[Any]:
    """Asks or changes the database behind the program's back."""
    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection, connection.begin():
        answer = connection.execute(text(statement), values)
        rows = [*answer.all()] if answer.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
async def records(audit_url: str) -> AsyncIterator[SqlRecords]:
    records = SqlRecords(url=audit_url, limits=Limits(store_seconds=30))
    await records.start()
    yield records
    await records.aclose()


async def test_a_batch_is_kept_whole_or_not_at_all(records: SqlRecords) -> None:
    good, bad = a_record(), a_record(a_decision("bad", document=b"x"))
    await records.append(a_record())
    object.__setattr__(bad.decision, "code", None)
    with pytest.raises(RecordRefused):
        await records.append_many([good, bad])
    assert len(await records.search(RecordFilter())) == 1
    await records.append_many([good])
    assert len(await records.search(RecordFilter())) == 2


async def test_a_batch_is_stored_in_its_order(audit_url: str, records: SqlRecords) -> None:
    made = [a_record(a_decision(f"d-{number}", images=[("web", "sha256:aa")])) for number in range(200)]
    await records.append_many(made[:150])
    await records.append_many(made)
    rows = outside(audit_url, "SELECT id, position FROM decisions ORDER BY sequence")
    assert [tuple(row) for row in rows] == [(f"d-{number}", number + 1) for number in range(200)]
    assert outside(audit_url, "SELECT sum(count) FROM tallies WHERE width = 3600") == [(200,)]
    assert outside(audit_url, "SELECT decisions FROM image_uses") == [(200,)]


async def test_inputs_are_stored_once_and_compressed(audit_url: str, records: SqlRecords) -> None:
    document = b'{"same":"' + b"x" * 100_000 + b'"}'
    made = [a_record(a_decision(document=document)) for _ in range(5)]
    await records.append_many(made[:3])
    await records.append_many(made[3:])
    ((size,),) = outside(audit_url, "SELECT length(content) FROM inputs")
    assert size < 2000
    found = await records.get(made[4].decision.id)
    assert found is not None
    assert found.decision.document == document


async def test_a_document_that_was_changed_is_not_believed(audit_url: str, records: SqlRecords) -> None:
    decision = a_decision()
    await records.append(a_record(decision))
    outside(audit_url, "UPDATE inputs SET content = :content", content=bytes.fromhex("789c030000000001"))
    with pytest.raises(RecordsError, match="not the one that was judged"):
        await records.get(decision.id)


async def test_a_document_beyond_the_limit_is_not_inflated(audit_url: str) -> None:
    decision = a_decision(document=b"[" + b" " * 1000 + b"]")
    for limits in (Limits(), Limits(document_bytes=1001)):
        records = SqlRecords(url=audit_url, limits=limits)
        await records.start()
        await records.append(a_record(decision))
        if limits == Limits():
            assert await records.get(decision.id) is not None
        else:
            with pytest.raises(RecordsError, match="larger than 1001 bytes"):
                await records.get(decision.id)
        await records.aclose()


async def test_a_body_that_was_changed_is_an_error(audit_url: str, records: SqlRecords) -> None:
    await records.append(a_record())
    outside(audit_url, "UPDATE decisions SET body = '{}'")
    with pytest.raises(RecordsError):
        await records.search(RecordFilter())


@pytest.mark.parametrize(
    ("prefix", "found"),
    [("ab", ["ab-1", "ab-2", "abc"]), ("ab-", ["ab-1", "ab-2"]), ("abc", ["abc"]), ("%", []), ("x", []), ("", [])],
)
async def test_shortened_ids_are_completed(records: SqlRecords, prefix: str, found: list[str]) -> None:
    await records.append_many([a_record(a_decision(name)) for name in ("abc", "AB-3", "ab-2", "b", "ab-1", "aa")])
    assert list(await records.complete(prefix)) == found
    assert list(await records.complete(prefix, limit=1)) == found[:1]


async def test_what_is_said_is_indexed_as_words(audit_url: str, records: SqlRecords) -> None:
    decision = a_decision(verdict=Verdict.REFUSED, denied=["image-user"])
    await records.append_many([a_record(decision), a_record()])
    table, column = ("texts", "texts") if audit_url.startswith("sqlite") else ("texts", "words")
    condition = f"{column} MATCH 'root'" if audit_url.startswith("sqlite") else f"{column} @@ 'root'::tsquery"
    assert outside(audit_url, f"SELECT count(*) FROM {table} WHERE {condition}") == [(1,)]


async def test_a_closed_store_says_so(audit_url: str) -> None:
    records = SqlRecords(url=audit_url)
    await records.start()
    await records.aclose()
    await records.aclose()
    for call in (records.append(a_record()), records.get("x"), records.search(RecordFilter())):
        with pytest.raises(RecordsError, match="closed"):
            await call


async def test_a_command_reads_beside_the_server(audit_url: str, records: SqlRecords) -> None:
    decision = a_decision()
    await records.append(a_record(decision))
    async with open_records(audit_url) as reading:
        assert [record.decision.id for record in await reading.search(RecordFilter())] == [decision.id]
        await records.append(a_record())
        assert len(await reading.search(RecordFilter())) == 2
        found = await reading.get(decision.id)
        assert found is not None
        assert found.decision.document
        with pytest.raises(RecordsError, match="reading only"):
            await reading.append(a_record())
    await records.append(a_record())


async def test_a_command_reads_without_a_server(audit_url: str, records: SqlRecords) -> None:
    await records.append_many([a_record(), a_record()])
    await records.aclose()
    async with open_records(audit_url) as reading:
        assert len(await reading.search(RecordFilter())) == 2


async def test_a_start_opens_a_chain_of_its_own(audit_url: str, records: SqlRecords) -> None:
    """Two replicas of one name, at once."""
    other = SqlRecords(url=audit_url)
    await other.start()
    for number in range(3):
        await records.append(a_record(a_decision(f"here-{number}")))
        await other.append(a_record(a_decision(f"there-{number}")))
    await other.aclose()
    rows = outside(audit_url, "SELECT chain, position, id FROM decisions ORDER BY chain, position")
    here, there = (
        [row for row in rows if row.id.startswith("here")],
        [row for row in rows if row.id.startswith("there")],
    )
    assert [row.position for row in here] == [row.position for row in there] == [1, 2, 3]
    assert {row.chain for row in here} != {row.chain for row in there}
