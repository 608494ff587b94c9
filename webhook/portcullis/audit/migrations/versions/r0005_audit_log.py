"""Chains and checkpoints; full text, reasons, hours and tallies to find and count decisions by."""

import re
import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes
TEXTS = {
    "sqlite": ("CREATE VIRTUAL TABLE texts USING fts5(text, detail=none, tokenize='ascii')",),
    "postgresql": (
        """CREATE TABLE texts (
            rowid bigint PRIMARY KEY REFERENCES decisions (sequence) ON DELETE CASCADE,
            words tsvector NOT NULL
        )""",
        "CREATE INDEX ix_texts_words ON texts USING gin (words)",
    ),
}


def upgrade() -> None:
    _decisions()
    _indexes()
    _chains()
    _tallies()
    op.create_table(
        "reasons",
        sa.Column("decision", SEQUENCE, nullable=False),
        sa.Column("reason", KEY, nullable=False),
        sa.PrimaryKeyConstraint("decision", "reason", name="pk_reasons"),
        sa.ForeignKeyConstraint(["decision"], ["decisions.sequence"], name="fk_reasons_decision", ondelete="CASCADE"),
    )
    op.create_index("ix_reasons_reason_decision", "reasons", ["reason", "decision"])
    dialect = op.get_bind().dialect.name
    for statement in TEXTS[dialect]:
        op.execute(statement)
    if dialect == "sqlite":  # no older version wrote to PostgreSQL
        connection: Any = op.get_bind().connection.driver_connection
        connection.create_function("repository_of", 1, _repository, deterministic=True)
        connection.create_function("words_of", 1, _words, deterministic=True)
        for statement in _FILL:
            op.execute(sa.text(statement.replace(":", "\\:")))


def _decisions() -> None:
    op.add_column("decisions", sa.Column("chain", sa.BigInteger(), nullable=True))
    op.add_column("decisions", sa.Column("position", sa.BigInteger(), nullable=True))
    op.add_column("decisions", sa.Column("hash", sa.LargeBinary(), nullable=True))
    op.create_index("ix_decisions_workload_sequence", "decisions", ["namespace", "kind", "name", "sequence"])
    op.create_index("ix_decisions_chain_position", "decisions", ["chain", "position"], unique=True)


def _indexes() -> None:
    """Few rows are not admitted, not simply judged, excepted, tried only or from nobody who is known."""
    op.add_column("images", sa.Column("repository", KEY, nullable=False, server_default=""))
    op.create_index("ix_images_repository_decision", "images", ["repository", "decision"])
    op.drop_index("ix_decisions_verdict_sequence", "decisions")
    op.drop_index("ix_violations_exception_decision", "violations")
    for name, table, columns, only in (
        ("ix_decisions_verdict_sequence", "decisions", ["verdict", "sequence"], "verdict <> 'admitted'"),
        ("ix_decisions_because_sequence", "decisions", ["because", "sequence"], "because <> 'judged'"),
        ("ix_decisions_dry_run", "decisions", ["sequence"], "dry_run <> false"),
        ("ix_decisions_unverified", "decisions", ["sequence"], "caller = 'unverified'"),
        ("ix_violations_exception_decision", "violations", ["exception", "decision"], "exception <> ''"),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(only), postgresql_where=sa.text(only))


def _chains() -> None:
    op.create_table(
        "chains",
        sa.Column("number", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("replica", KEY, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", KEY, nullable=False),
        sa.Column("genesis", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("pruned_position", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("pruned_hash", sa.LargeBinary(), nullable=True),
        sa.UniqueConstraint("id", name="uq_chains_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "checkpoints",
        sa.Column("number", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("key", KEY, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_checkpoints_chain_number", "checkpoints", ["chain", "number"])


def _tallies() -> None:
    span = ("width", "start", "chain", "namespace")
    op.create_table(
        "tallies",
        *_span(),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("because", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*span, "verdict", "code", "because", "dry_run", name="pk_tallies"),
    )
    op.create_table(
        "policy_tallies",
        *_span(),
        sa.Column("policy", KEY, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*span, "policy", "mode", "outcome", name="pk_policy_tallies"),
    )
    op.create_index("ix_policy_tallies_policy", "policy_tallies", ["policy", "width", "start"])
    op.create_table(
        "image_uses",
        sa.Column("digest", KEY, nullable=False),
        sa.Column("namespace", KEY, nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("written", KEY, nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "namespace", "chain", name="pk_image_uses"),
    )
    op.create_index("ix_image_uses_last_sequence", "image_uses", ["last_sequence"])

    op.create_table(
        "hours",
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("start", "chain", name="pk_hours"),
    )


def _span() -> list[sa.Column[int] | sa.Column[str]]:
    return [
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("namespace", KEY, nullable=False),
    ]


def _repository(written: str) -> str:
    """A reference without tag and digest."""
    name = written.partition("@")[0]
    return name[: name.rindex(":")] if ":" in name.rpartition("/")[2] else name


def _words(text: str) -> str:
    """The words of a text, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return " ".join(dict.fromkeys(word[:128] for word in re.findall(r"[^\W_]+", bare)))


# What older records are found and counted by. Bodies that are damaged are left out: a log with one must open.
_PROBLEMS = """
    SELECT sequence, json_extract(one.value, '$.reason') AS reason, json_extract(one.value, '$.msg') AS msg
    FROM decisions, json_each(body, '$.decision.problems') AS one WHERE json_valid(body)
    UNION
    SELECT sequence, json_extract(one.value, '$.reason'), json_extract(one.value, '$.msg')
    FROM decisions, json_each(body, '$.decision.undecided') AS policy, json_each(policy.value, '$.problems') AS one
    WHERE json_valid(body)
"""
_SAID = """
    SELECT sequence, json_extract(one.value, '$.policy') || ' ' || json_extract(one.value, '$.msg')
        || ' ' || json_extract(one.value, '$.fix') AS said
    FROM decisions, json_each(body, '$.decision.violations') AS one WHERE json_valid(body)
    UNION
    SELECT sequence, reason || ' ' || msg FROM ({problems})
"""
_VERDICTS = """
    INSERT INTO tallies
    SELECT {width}, CAST(strftime('%s', decided_at) AS INTEGER) / {width} * {width}, 0,
        namespace, verdict, code, because, dry_run, count(*)
    FROM decisions GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
_POLICIES = """
    INSERT INTO policy_tallies
    SELECT {width}, CAST(strftime('%s', decided_at) AS INTEGER) / {width} * {width}, 0, namespace, policy, mode,
        CASE WHEN undecided THEN 'undecided' WHEN exception <> '' THEN 'excepted' ELSE 'violation' END,
        count(DISTINCT sequence)
    FROM decisions JOIN violations ON decision = sequence WHERE NOT dry_run GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_TOGETHER = (
    """
    INSERT INTO tallies
    SELECT -width, start, chain, '', verdict, code, because, dry_run, sum(count) FROM tallies
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    """,
    """
    INSERT INTO policy_tallies
    SELECT -width, start, chain, '', policy, mode, outcome, sum(count) FROM policy_tallies
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    """,
)
_IMAGES = """
    INSERT INTO image_uses
    SELECT digest, namespace, 0, written,
        CAST(strftime('%s', min(decided_at)) AS INTEGER) * 1000,
        CAST(strftime('%s', max(decided_at)) AS INTEGER) * 1000,
        max(sequence), count(DISTINCT sequence), count(DISTINCT CASE verdict WHEN 'refused' THEN sequence END)
    FROM decisions JOIN images ON decision = sequence WHERE digest <> '' AND NOT dry_run GROUP BY digest, namespace
"""
_REASONS = """
    INSERT INTO reasons (decision, reason)
    SELECT DISTINCT sequence, substr(reason, 1, 256) FROM ({problems}) WHERE reason IS NOT NULL
"""
_TEXTS = """
    INSERT INTO texts (rowid, text)
    SELECT sequence, words_of(group_concat(said, ' ')) FROM ({said}) WHERE said IS NOT NULL GROUP BY sequence
"""
_HOURS = """
    INSERT INTO hours
    SELECT CAST(strftime('%s', decided_at) AS INTEGER) / 3600 * 3600, 0, min(sequence), max(sequence)
    FROM decisions GROUP BY 1
"""
_REPOSITORIES = "UPDATE images SET repository = repository_of(written)"
_FILL = (
    _HOURS,
    _REPOSITORIES,
    _REASONS.format(problems=_PROBLEMS),
    _TEXTS.format(said=_SAID.format(problems=_PROBLEMS)),
    *(statement.format(width=width) for statement in (_VERDICTS, _POLICIES) for width in (3600, 86_400)),
    *_TOGETHER,
    _IMAGES,
)
