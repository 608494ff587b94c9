"""The chain of records that one running program writes: each record's hash covers the one before it.

    hash 0 = sha256("portcullis audit chain 1\\n" + genesis)
    hash n = sha256("portcullis audit record 1\\n" + hash n-1 + body n)

The genesis names the program and the heads of all chains that were there when it began, so that a chain that vanishes
is missed by those that came after it. The body holds the hash of the judged input.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from portcullis.audit.codec import API_VERSION
from portcullis.audit.tables import chains, decisions, key
from portcullis.times import rfc3339

GENESIS_HEADS = 1000
"""Chains that a genesis names, the newest."""

_CHAIN = b"portcullis audit chain 1\n"
_RECORD = b"portcullis audit record 1\n"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: ``chain`` is an id that is new with each start."""

    chain: str
    replica: str
    version: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: ``number`` is its row, ``position`` 0 that of its genesis."""

    number: int
    position: int
    hash: bytes

    def after(self, body: bytes) -> "Head":
        """The head once a record with that body has been added."""
        return Head(self.number, self.position + 1, record_hash(self.hash, body))


def genesis_hash(genesis: bytes) -> bytes:
    return hashlib.sha256(_CHAIN + genesis).digest()


def record_hash(previous: bytes, body: bytes) -> bytes:
    return hashlib.sha256(_RECORD + previous + body).digest()


def open_chain(connection: Connection, writer: Writer) -> Head:
    """The head of the writer's chain, read from the store; the chain is begun where it is not there yet."""
    found = connection.execute(select(chains.c.number, chains.c.hash).where(chains.c.id == writer.chain)).one_or_none()
    if found is not None:
        return _head(connection, found.number, found.hash)
    genesis = json.dumps(
        {
            "apiVersion": API_VERSION,
            "kind": "AuditChain",
            "chain": writer.chain,
            "replica": writer.replica,
            "startedAt": rfc3339(writer.started_at),
            "webhookVersion": writer.version,
            "unchained": _unchained(connection),
            "heads": _heads(connection),
        },
        separators=(",", ":"),
    )
    digest = genesis_hash(genesis.encode("ascii"))
    row = {
        "id": writer.chain,
        "replica": key(writer.replica),
        "started_at": writer.started_at,
        "version": key(writer.version),
        "genesis": genesis,
        "hash": digest,
    }
    number = connection.execute(insert(chains).returning(chains.c.number), row).scalar_one()
    return Head(number, 0, digest)


def _head(connection: Connection, number: int, genesis: bytes) -> Head:
    last = connection.execute(
        select(decisions.c.position, decisions.c.hash)
        .where(decisions.c.chain == number)
        .order_by(decisions.c.position.desc())
        .limit(1)
    ).one_or_none()
    if last is not None:
        return Head(number, last.position, last.hash)
    pruned = connection.execute(
        select(chains.c.pruned_position, chains.c.pruned_hash).where(chains.c.number == number)
    ).one()
    if pruned.pruned_position:
        return Head(number, pruned.pruned_position, pruned.pruned_hash)
    return Head(number, 0, genesis)


def _heads(connection: Connection) -> Sequence[dict[str, object]]:
    rows = connection.execute(
        select(chains.c.number, chains.c.id, chains.c.hash).order_by(chains.c.number.desc()).limit(GENESIS_HEADS)
    ).all()
    heads = []
    for row in rows:
        head = _head(connection, row.number, row.hash)
        heads.append({"chain": row.id, "position": head.position, "hash": head.hash.hex()})
    return heads


def _unchained(connection: Connection) -> dict[str, int]:
    """Records from before there were chains."""
    old = select(func.count(), func.max(decisions.c.sequence)).where(decisions.c.chain.is_(None))
    records, through = connection.execute(old).one()
    return {"records": records, "through": through or 0}
