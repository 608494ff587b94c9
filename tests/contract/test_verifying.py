"""The proof of the audit log over each kind of store: proven as it was written, whatever the records hold."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from fakes.chains import KEY, made, verified, writing, written
from fakes.records import NOON, a_decision, a_record
from portcullis.audit.checkpoints import Signer
from portcullis.audit.verification import Verdict, Wrong
from portcullis.model.decision import JudgedImage, Problem, Stage, Violation
from portcullis.model.record import AuditRecord
from portcullis.model.ruling import Mode

pytestmark = pytest.mark.anyio

HOSTILE = (
    "'; DROP TABLE decisions; --",
    "a\0b",
    "\ud800 lone",
    "\u202eevil",
    "x" * 10_000,
    "é" * 300,
    "",
    "\u2028\\u0041",
)


def odd_records() -> list[AuditRecord]:
    """What the searched columns cannot hold as it is."""
    records = []
    for number, odd in enumerate(HOSTILE):
        violation = Violation(
            policy=odd or "p", mode=Mode.DENY, severity=odd, msg=odd, exception=odd, details={"a": [1e300, None, odd]}
        )
        decision = replace(
            a_decision(f"odd-{number}", undecided=["scan-required"], document=odd.encode("utf-8", "surrogatepass")),
            images=(JudgedImage(f"{odd}:1", odd), JudgedImage(odd, "")),
            violations=(violation, violation),
            problems=(Problem(Stage.REGISTRY, odd or "r", retryable=True, msg=odd),) * 2,
            policy_revision=odd,
            elapsed_ms=1 / 3,
            decided_at=datetime(2026, 3, 1, 1, number, 0, number, tzinfo=timezone(timedelta(hours=5))),
        )
        records.append(replace(a_record(decision, namespace=odd, kind=odd, name=odd, username=odd), uid=odd))
    return records


async def test_whatever_records_hold_they_are_proven(audit_url: str) -> None:
    """So what is computed again from bodies is what was written from the model."""
    async with writing(audit_url) as store:
        await store.append_many(odd_records())
        await store.append(replace(made(1), dry_run=True))
        await store.append(a_record(replace(a_decision("early"), decided_at=datetime(1969, 1, 1, tzinfo=UTC))))
        await store.append(a_record(replace(a_decision("whole"), elapsed_ms=12)))
    found = await verified(audit_url)
    assert found.findings == []
    assert found.records == len(HOSTILE) + 3


async def test_two_chains_with_signatures(audit_url: str) -> None:
    signed = await written(audit_url, 5, name="a", every=2, signer=Signer(KEY))
    signed += await written(audit_url, 3, name="b", signer=Signer(KEY), days=-3)
    found = await verified(audit_url, keys=[KEY.public_key()], published=signed)
    assert (found.verdict, found.records, [one.signed for one in found.chains]) == (Verdict.PROVEN, 8, [5, 3])


async def test_replicas_of_one_name_write_two_chains(audit_url: str) -> None:
    async with writing(audit_url, "gate") as one, writing(audit_url, "gate") as other:
        for number in range(6):
            await (one, other)[number % 2].append(made(number))
        signed = [await one.checkpoint(Signer(KEY), NOON), await other.checkpoint(Signer(KEY), NOON)]
    assert len({each.checkpoint.chain for each in signed}) == 2
    found = await verified(audit_url, keys=[KEY.public_key()], published=signed)
    assert (found.verdict, [(one.replica, one.records) for one in found.chains]) == (
        Verdict.PROVEN,
        [("gate", 3), ("gate", 3)],
    )


async def test_it_is_proven_while_programs_begin_write_and_sign(audit_url: str) -> None:
    async with writing(audit_url) as store:
        done = False

        async def write() -> None:
            number = 0
            while not done:
                number += 1
                await store.append(made(number))
                await store.checkpoint(Signer(KEY), NOON)
                if number % 10 == 0:
                    await written(audit_url, 1, name=f"n{number}", signer=Signer(KEY))

        writer = asyncio.create_task(write())
        try:
            for _ in range(8):
                assert (await verified(audit_url, keys=[KEY.public_key()])).findings == []
        finally:
            done = True
            await writer


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE decisions SET body = replace(body, 'runs as root', 'x') WHERE id = 'a-3'", Wrong.CHANGED),
        ("DELETE FROM decisions WHERE id = 'a-3'", Wrong.REMOVED),
        ("DELETE FROM decisions WHERE id = 'a-5'", Wrong.CUT_OFF),
        ("UPDATE decisions SET username = 'x' WHERE id = 'a-3'", Wrong.CHANGED),
        ("UPDATE checkpoints SET body = replace(body, 'gate', 'etag')", Wrong.CHECKPOINT),
        ("UPDATE chains SET genesis = replace(genesis, 'gate', 'etag')", Wrong.GENESIS),
    ],
)
async def test_what_was_changed_is_found(audit_url: str, statement: str, what: Wrong) -> None:
    await written(audit_url, 5, name="a", every=2)
    async with writing(audit_url) as store:
        await store.change(lambda connection: connection.execute(text(statement)))
    assert what in {one.what for one in (await verified(audit_url)).findings}
