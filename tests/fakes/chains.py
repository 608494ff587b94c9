"""Audit logs with chains, for tests that verify, prune, or tamper with them."""

import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fakes.records import NOON, a_decision, a_record
from portcullis.audit.chainreading import ChainReader
from portcullis.audit.checkpointproof import Keys
from portcullis.audit.checkpoints import Signed, Signer
from portcullis.audit.published import Published
from portcullis.audit.sql import SqlRecords
from portcullis.audit.verification import Verification
from portcullis.audit.verifying import Verifier
from portcullis.model.decision import Verdict
from portcullis.model.record import AuditRecord

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@asynccontextmanager
async def writing(url: str, replica: str = "gate-0") -> AsyncIterator[SqlRecords]:
    """A program that writes."""
    records = SqlRecords(url=url, replica=replica)
    await records.start()
    try:
        yield records
    finally:
        await records.aclose()


def made(number: int, *, name: str = "d", days: float = 0.0) -> AuditRecord:
    """A record with all that is kept beside one."""
    decision = a_decision(
        f"{name}-{number}",
        verdict=Verdict.REFUSED,
        code=403,
        images=[(f"{name}:{number}", "sha256:aa"), ("db", "")],
        denied=["image-user"],
        undecided=["scan-required"],
        decided_at=NOON + timedelta(days=days, seconds=number),
        document=f'{{"{name}":{number}}}'.encode(),
    )
    return a_record(decision, name=f"{name}-{number}")


async def written(
    url: str,
    number: int,
    *,
    name: str = "d",
    signer: Signer | None = None,
    every: int = 0,
    replica: str = "gate-0",
    days: float = 0.0,
) -> list[Signed]:
    """A chain of so many records, with a checkpoint at its beginning, after ``every`` records, and at its end."""
    signer = signer or Signer()
    async with writing(url, replica) as records:
        signed = [await records.checkpoint(signer, NOON)]
        for at in range(1, number + 1):
            await records.append(made(at, name=name, days=days))
            if at == number or (every and at % every == 0):
                signed.append(await records.checkpoint(signer, NOON + timedelta(seconds=at)))
    return signed


async def verified(
    url: str,
    *,
    keys: Iterable[Ed25519PublicKey] = (),
    published: Iterable[Signed] = (),
    lost: Iterable[str] = (),
) -> Verification:
    """What is found by who reads the log beside whatever writes it."""
    store = SqlRecords(url=url, read_only=True)
    await store.start()
    try:
        return await Verifier(
            ChainReader(store),
            keys=Keys(keys),
            published=[Published(f"line {at}", one) for at, one in enumerate(published, 1)],
            lost=lost,
        ).run()
    finally:
        await store.aclose()


def tamper(path: Path, *statements: str, values: Sequence[object] = ()) -> None:
    """Changes the file as whoever may write it can."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement, values)
