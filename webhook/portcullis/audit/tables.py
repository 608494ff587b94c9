"""The tables of the audit store, for SQLite and PostgreSQL alike.

``decisions.body`` holds the record; the columns beside it and the tables ``images`` and ``violations`` are what it
is found by. Every index ends in the sequence, so that a page of the newest matches is read without sorting.
The migrations make these tables; a test compares the two.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

SCHEMA = "0006"
"""The newest migration: these tables."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, kept in UTC: SQLite has no type for it and would drop the zone without converting."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


KEY_CHARS = 256
"""Longest text of a searched column; PostgreSQL refuses index entries above 2,704 bytes."""

_UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
"""NUL, which PostgreSQL refuses, and lone surrogates, which no database encodes."""


def key(text: str) -> str:
    """``text`` as searched columns hold it: storable, and at most KEY_CHARS long. What is longer ends in its hash,
    so that equal stays equal and different stays different. The record itself keeps the text as it was."""
    if len(text) > KEY_CHARS:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        text = f"{text[: KEY_CHARS - 72]}…sha256:{digest}"
    return text if text.isascii() and "\0" not in text else text.translate(_UNSTORABLE)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

NOT_ADMITTED = "verdict <> 'admitted'"
NOT_JUDGED = "because <> 'judged'"
DRY_RUN = "dry_run <> false"
UNVERIFIED = "caller = 'unverified'"
EXCEPTED = "exception <> ''"
"""Of which rows there are few: their indexes hold no others, and cost the others nothing. A query is read along such an
index only where it says the same words."""


def _partial(name: str, *columns: str, only: str) -> Index:
    return Index(name, *columns, sqlite_where=text(only), postgresql_where=text(only))


_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only where the type is exactly INTEGER."""

inputs = Table(
    "inputs",
    metadata,
    Column("hash", String(80), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""Judged inputs, zlib-compressed, once per ``sha256:<hex>`` of the plain bytes."""

decisions = Table(
    "decisions",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String(KEY_CHARS), nullable=False, unique=True),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("uid", String(KEY_CHARS), nullable=False),
    Column("username", String(KEY_CHARS), nullable=False),
    Column("operation", String(KEY_CHARS), nullable=False),
    Column("kind", String(KEY_CHARS), nullable=False),
    Column("namespace", String(KEY_CHARS), nullable=False),
    Column("name", String(KEY_CHARS), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("because", String(16), nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("caller", String(16), nullable=False),
    Column("policy_revision", String(KEY_CHARS), nullable=False),
    Column("config_revision", String(KEY_CHARS), nullable=False),
    Column("elapsed_ms", Float, nullable=False),
    Column("input_hash", String(80), ForeignKey(inputs.c.hash), nullable=True),
    Column("body", Text, nullable=False),
    Column("chain", BigInteger, nullable=True),
    Column("position", BigInteger, nullable=True),
    Column("hash", LargeBinary, nullable=True),
    Index(None, "decided_at", "sequence"),
    Index(None, "username", "sequence"),
    Index(None, "kind", "sequence"),
    Index(None, "namespace", "sequence"),
    Index(None, "name", "sequence"),
    Index(None, "input_hash"),
    _partial("ix_decisions_verdict_sequence", "verdict", "sequence", only=NOT_ADMITTED),
    _partial("ix_decisions_because_sequence", "because", "sequence", only=NOT_JUDGED),
    _partial("ix_decisions_dry_run", "sequence", only=DRY_RUN),
    _partial("ix_decisions_unverified", "sequence", only=UNVERIFIED),
    Index("ix_decisions_workload_sequence", "namespace", "kind", "name", "sequence"),
    Index("ix_decisions_chain_position", "chain", "position", unique=True),
    sqlite_autoincrement=True,
)
"""One row per record. AUTOINCREMENT: a sequence is never given twice, even after the newest rows are gone.
``chain``, ``position`` and ``hash`` are NULL in records from before schema 0005."""

images = Table(
    "images",
    metadata,
    Column("decision", _SEQUENCE, ForeignKey(decisions.c.sequence, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("written", String(KEY_CHARS), nullable=False),
    Column("digest", String(KEY_CHARS), nullable=False),
    Column("repository", String(KEY_CHARS), nullable=False, server_default=""),
    Index(None, "written", "decision"),
    Index(None, "digest", "decision"),
    Index(None, "repository", "decision"),
)
"""``repository`` is what was written, without tag and digest."""

violations = Table(
    "violations",
    metadata,
    Column("decision", _SEQUENCE, ForeignKey(decisions.c.sequence, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("policy", String(KEY_CHARS), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("severity", String(KEY_CHARS), nullable=False),
    Column("undecided", Boolean, nullable=False),
    Column("exception", String(KEY_CHARS), nullable=False, server_default=""),
    Index(None, "policy", "decision"),
    _partial("ix_violations_exception_decision", "exception", "decision", only=EXCEPTED),
)
"""Violated policies, and undecided ones with ``undecided`` set: both are what a policy did to a request.
``exception`` is the id of what covers it, "" for none."""

reasons = Table(
    "reasons",
    metadata,
    Column("decision", _SEQUENCE, ForeignKey(decisions.c.sequence, ondelete="CASCADE"), primary_key=True),
    Column("reason", String(KEY_CHARS), primary_key=True),
    Index(None, "reason", "decision"),
)
"""Reason codes of the problems of a decision, each once."""

chains = Table(
    "chains",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("replica", String(KEY_CHARS), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("version", String(KEY_CHARS), nullable=False),
    Column("genesis", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("pruned_position", BigInteger, nullable=False, server_default="0"),
    Column("pruned_hash", LargeBinary, nullable=True),
    sqlite_autoincrement=True,
)
"""One row per start of a program that writes. ``hash`` is that of the genesis; what was pruned ends with
``pruned_position``."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("chain", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("signature", LargeBinary, nullable=True),
    Column("key", String(KEY_CHARS), nullable=False),
    Index(None, "chain", "number"),
    sqlite_autoincrement=True,
)
"""What was said of a chain at a moment; ``key`` names the key of ``signature``, "" where there is none."""

tallies = Table(
    "tallies",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    Column("namespace", String(KEY_CHARS), primary_key=True),
    Column("verdict", String(16), primary_key=True),
    Column("code", SmallInteger, primary_key=True, autoincrement=False),
    Column("because", String(16), primary_key=True),
    Column("dry_run", Boolean, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""How many decisions there were, by hour and by day: ``width`` is 3,600 or 86,400 seconds, ``start`` in seconds since
1970. Rows of a negative width are of all namespaces together; their namespace is "". One row per chain, so that
replicas never wait for each other's."""

policy_tallies = Table(
    "policy_tallies",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    Column("namespace", String(KEY_CHARS), primary_key=True),
    Column("policy", String(KEY_CHARS), primary_key=True),
    Column("mode", String(16), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("ix_policy_tallies_policy", "policy", "width", "start"),
)
"""The same by policy; ``outcome`` is violation, excepted or undecided. A decision counts once for each. Dry runs do
not count."""

image_uses = Table(
    "image_uses",
    metadata,
    Column("digest", String(KEY_CHARS), primary_key=True),
    Column("namespace", String(KEY_CHARS), primary_key=True),
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    Column("written", String(KEY_CHARS), nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("decisions", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Index("ix_image_uses_last_sequence", "last_sequence"),
)
"""Which image was judged where; ``first_at`` and ``last_at`` in milliseconds since 1970, ``written`` the reference of
the last decision. Dry runs do not count."""

hours = Table(
    "hours",
    metadata,
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
)
"""Between which sequences all decisions of an hour lie, by chain; ``start`` in seconds since 1970. Times and sequences
do not rise together: a journal is replayed late, a clock goes back."""

bundles = Table(
    "bundles",
    metadata,
    Column("revision", String(KEY_CHARS), primary_key=True),
    Column("kind", String(KEY_CHARS), nullable=False),
    Column("content", LargeBinary, nullable=False),
)
"""Policy sets and configurations by revision, zlib-compressed."""

facts = Table(
    "facts",
    metadata,
    Column("id", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("key", String(KEY_CHARS), nullable=True, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("checksum", String(80), nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Index(None, "used_at", "size"),
    sqlite_autoincrement=True,
)
"""Facts derived from images. ``key`` is NULL while the pieces of one are being written or removed; ``size`` is that of
the content, ``checksum`` its ``sha256:<hex>``, ``used_at`` in milliseconds since 1970. AUTOINCREMENT: whoever writes
pieces for an id that was evicted must not add them to another fact."""

fact_pieces = Table(
    "fact_pieces",
    metadata,
    Column("fact", _SEQUENCE, ForeignKey(facts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
"""Contents of facts in pieces, each of which is written and removed in a commit of its own: records wait for no more
than one."""

marks = Table(
    "marks",
    metadata,
    Column("key", String(KEY_CHARS), primary_key=True),
    Column("moment", BigInteger, nullable=False),
    Column("advanced_at", BigInteger, nullable=False),
    Index(None, "advanced_at"),
)
"""Instants that only move forward: ``moment`` in microseconds since 1970, so that two of them compare as numbers in any
database; ``advanced_at``, when it was last moved, in milliseconds."""

rounds = Table(
    "rounds",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String(KEY_CHARS), nullable=False, unique=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Rounds over what runs: the newest that has ended, and the one under way; others are being removed."""

findings = Table(
    "findings",
    metadata,
    Column("number", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("round", _SEQUENCE, ForeignKey(rounds.c.number, ondelete="CASCADE"), nullable=False),
    Column("rank", SmallInteger, nullable=False),
    Column("namespace", String(KEY_CHARS), nullable=False),
    Column("kind", String(KEY_CHARS), nullable=False),
    Column("name", String(KEY_CHARS), nullable=False),
    Column("key", String(KEY_CHARS), nullable=False),
    Column("pods", Integer, nullable=False),
    Column("moved", Boolean, nullable=False),
    Column("break_glass", String(KEY_CHARS), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_findings_order", "round", "rank", "namespace", "kind", "name", "key"),
    Index("ix_findings_round_key", "round", "key", unique=True),
    sqlite_autoincrement=True,
)
"""What came of judging a group of running pods again. ``rank`` is the place of its condition, the worst 0; ``body`` is
the result as zlib-compressed JSON. AUTOINCREMENT: rows of a round are removed while those of the next are written."""

finding_images = Table(
    "finding_images",
    metadata,
    Column("finding", _SEQUENCE, ForeignKey(findings.c.number, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("written", String(KEY_CHARS), nullable=False),
    Column("digest", String(KEY_CHARS), nullable=False),
    Index(None, "digest", "finding"),
)

finding_policies = Table(
    "finding_policies",
    metadata,
    Column("finding", _SEQUENCE, ForeignKey(findings.c.number, ondelete="CASCADE"), primary_key=True),
    Column("policy", String(KEY_CHARS), primary_key=True),
    Column("mode", String(16), primary_key=True),
    Column("outcome", String(16), primary_key=True),
)
"""What policies did to it; ``outcome`` is violation, excepted or undecided."""
