"""The chain of records that one running program writes: each record's hash covers the one before it.

    hash 0 = sha256("portcullis audit chain 1\\n" + genesis)
    hash n = sha256("portcullis audit record 1\\n" + hash n-1 + body n)

The body holds the hash of the judged input. The genesis names the program, and the heads of those chains that no
genesis before it names as they are: so each chain that there was before is named, with its end, by one that came
after it, and one that vanishes is missed, as is an end that was cut off.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select

from portcullis.audit.codec import API_VERSION
from portcullis.audit.tables import chains, decisions, key
from portcullis.times import rfc3339

KIND = "AuditChain"

GENESIS_HEADS = 1000
"""Heads that a genesis names at most, the newest. There are as many as replicas that ran at once, or a few more."""

_CHAIN = b"portcullis audit chain 1\n"
_RECORD = b"portcullis audit record 1\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: ``number`` is its row, ``position`` 0 that of its genesis."""

    number: int
    position: int
    hash: bytes

    def after(self, body: bytes) -> "Head":
        """The head once a record with that body has been added."""
        return Head(self.number, self.position + 1, record_hash(self.hash, body))


@dataclass(frozen=True, slots=True)
class KnownHead:
    """The same of a chain by its id, as a genesis names it; ``hash`` in hexadecimal."""

    chain: str
    position: int
    hash: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The first record of a chain; ``hash``, in hexadecimal, is that of its genesis."""

    chain: str
    replica: str
    started_at: datetime
    hash: str


def genesis_hash(genesis: bytes) -> bytes:
    return hashlib.sha256(_CHAIN + genesis).digest()


def record_hash(previous: bytes, body: bytes) -> bytes:
    return hashlib.sha256(_RECORD + previous + body).digest()


class OwnChain:
    """The chain that this program writes. Used in the thread that writes; ``opened`` and ``position`` may be read from
    anywhere.

    Why it never gets a hole or a fork:

    1. A head is kept in memory only after a commit that is known to have succeeded; after any other outcome it is read
       from the store, in the transaction that goes on from it.
    2. The store has each position of a chain once (a unique index): a commit that comes late, on a connection that was
       given up, makes the next one fail, and then the head is read again.
    3. A chain that does not stand in the store as this program knows it (another file, a backup that was restored, an
       end that was cut off, records of somebody else) is not gone on with as if nothing had happened: a new chain
       begins, whose genesis says where the old one was left (``left``).
    """

    def __init__(self, *, replica: str, version: str) -> None:
        self._id = str(uuid.uuid4())
        self._replica = replica
        self._version = version
        self._head: Head | None = None
        self._known: Head | None = None
        """The last one that was committed for sure."""
        self._leaving: tuple[KnownHead, ...] = ()
        self._foreign = False
        self._opening: Opened | None = None
        self.opened: Opened | None = None
        """Of the chain that is written, once it is in the store."""
        self.position = 0
        """Of the last record that is in the store for sure."""
        self.left = 0
        """Chains that were left because the store was no longer as they had left it."""

    def head(self, connection: Connection) -> Head:
        """Where the chain ends; it is begun where it is not there yet. Inside a transaction whose outcome is to be
        told by :meth:`committed` or :meth:`doubt`."""
        if self._head is not None:
            return self._head  # (1)
        found = connection.execute(_chain_rows().where(chains.c.id == self._id)).one_or_none()
        if found is not None:
            head = _head_of(found)
            if self._known is None or (not self._foreign and _goes_on(connection, found, self._known)):
                return head
        if self._known is not None:  # (3)
            log.error("the audit store is not as the chain %s had left it; a new chain begins", self._id)
            self._leaving = (*self._leaving, KnownHead(self._id, self._known.position, self._known.hash.hex()))
            self._id, self._known, self._foreign = str(uuid.uuid4()), None, False
            self.left += 1
        return self._open(connection)

    def committed(self, head: Head) -> None:
        """The transaction that made ``head`` the end is durable."""
        self._head = self._known = head
        if self._opening is not None and self._opening.chain == self._id:
            self.opened, self._opening, self._leaving = self._opening, None, ()
        self.position = head.position

    def doubt(self) -> None:
        """Nobody knows what became of the transaction."""
        self._head = None

    def check(self, connection: Connection) -> None:
        """Compares a head that is known for sure with the store's. Where they differ somebody else wrote to the chain,
        or took from it, and :meth:`head` begins a new one."""
        if self._head is None:
            return
        found = connection.execute(_chain_rows().where(chains.c.id == self._id)).one_or_none()
        if found is None or _head_of(found) != self._head:
            self._head, self._foreign = None, True

    def _open(self, connection: Connection) -> Head:
        started_at = datetime.now(UTC)
        genesis = json.dumps(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "chain": self._id,
                "replica": key(self._replica),
                "startedAt": rfc3339(started_at),
                "webhookVersion": key(self._version),
                "unchained": _unchained(connection),
                "heads": _trees(_unnamed_heads(connection)),
                "left": _trees(self._leaving),
            },
            separators=(",", ":"),
        )
        digest = genesis_hash(genesis.encode("ascii"))
        row = {
            "id": self._id,
            "replica": key(self._replica),
            "started_at": started_at,
            "version": key(self._version),
            "genesis": genesis,
            "hash": digest,
        }
        number = connection.execute(insert(chains).returning(chains.c.number), row).scalar_one()
        self._opening = Opened(self._id, key(self._replica), started_at, digest.hex())
        return Head(number, 0, digest)


def head_of(connection: Connection, number: int) -> Head:
    """Where the chain of that row ends now."""
    return _head_of(connection.execute(_chain_rows().where(chains.c.number == number)).one())


def _chain_rows() -> Select[Any]:
    """Chains with the last record of each."""
    last = (
        select(decisions.c.position)
        .where(decisions.c.chain == chains.c.number)
        .order_by(decisions.c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    last_hash = (
        select(decisions.c.hash)
        .where(decisions.c.chain == chains.c.number)
        .order_by(decisions.c.position.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(
        chains.c.number,
        chains.c.id,
        chains.c.genesis,
        chains.c.hash,
        chains.c.pruned_position,
        chains.c.pruned_hash,
        last.label("last_position"),
        last_hash.label("last_hash"),
    )


def _head_of(row: Any) -> Head:
    if row.last_position is not None:
        return Head(row.number, row.last_position, row.last_hash)
    if row.pruned_position:
        return Head(row.number, row.pruned_position, row.pruned_hash)
    return Head(row.number, 0, row.hash)


def _goes_on(connection: Connection, found: Any, known: Head) -> bool:
    """Whether the chain in the store is the one that had the head ``known``, or that with more behind it."""
    if known.position == 0:
        return bool(found.hash == known.hash)
    if known.position <= found.pruned_position:
        return True
    there = select(decisions.c.hash).where(decisions.c.chain == found.number, decisions.c.position == known.position)
    return connection.execute(there).scalar_one_or_none() == known.hash


def _unnamed_heads(connection: Connection) -> Sequence[KnownHead]:
    """Heads that no genesis names yet."""
    rows = connection.execute(_chain_rows().order_by(chains.c.number.desc())).all()
    named = {one for row in rows for one in heads_in(row.genesis)}
    heads = ((row, _head_of(row)) for row in rows)
    known = (KnownHead(row.id, head.position, head.hash.hex()) for row, head in heads)
    return [one for one in known if one not in named][:GENESIS_HEADS]


def _trees(heads: Iterable[KnownHead]) -> list[dict[str, object]]:
    return [{"chain": one.chain, "position": one.position, "hash": one.hash} for one in heads]


def heads_in(genesis: str, member: str = "heads") -> Iterator[KnownHead]:
    """The heads that a genesis names under ``member``, ``heads`` or ``left``; none where it is no genesis."""
    try:
        heads: Iterable[Any] = json.loads(genesis)[member]
        found = [(str(one["chain"]), int(one["position"]), bytes.fromhex(one["hash"]).hex()) for one in heads]
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return
    yield from (KnownHead(*one) for one in found)


def _unchained(connection: Connection) -> dict[str, int]:
    """Records from before there were chains."""
    old = select(func.count(), func.max(decisions.c.sequence)).where(decisions.c.chain.is_(None))
    records, through = connection.execute(old).one()
    return {"records": records, "through": through or 0}
