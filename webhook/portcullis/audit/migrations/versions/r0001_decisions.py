"""The first tables: decisions with what they are found by, inputs, bundles."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types are spelled out and not taken from tables.py, which tells how the tables are now, not how they were then.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes


def upgrade() -> None:
    op.create_table(
        "inputs",
        sa.Column("hash", sa.String(80), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_inputs"),
    )
    op.create_table(
        "decisions",
        sa.Column("sequence", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", KEY, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uid", KEY, nullable=False),
        sa.Column("username", KEY, nullable=False),
        sa.Column("operation", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("namespace", KEY, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("code", sa.SmallInteger(), nullable=False),
        sa.Column("because", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("caller", sa.String(16), nullable=False),
        sa.Column("policy_revision", KEY, nullable=False),
        sa.Column("config_revision", KEY, nullable=False),
        sa.Column("elapsed_ms", sa.Float(), nullable=False),
        sa.Column("input_hash", sa.String(80), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.UniqueConstraint("id", name="uq_decisions_id"),
        sa.ForeignKeyConstraint(["input_hash"], ["inputs.hash"], name="fk_decisions_input_hash"),
        sqlite_autoincrement=True,
    )
    for column in ("decided_at", "username", "kind", "namespace", "name", "verdict"):
        op.create_index(f"ix_decisions_{column}_sequence", "decisions", [column, "sequence"])
    op.create_index("ix_decisions_input_hash", "decisions", ["input_hash"])
    _create_searched("images", sa.Column("written", KEY, nullable=False), sa.Column("digest", KEY, nullable=False))
    op.create_index("ix_images_written_decision", "images", ["written", "decision"])
    op.create_index("ix_images_digest_decision", "images", ["digest", "decision"])
    _create_searched(
        "violations",
        sa.Column("policy", KEY, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("severity", KEY, nullable=False),
        sa.Column("undecided", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_violations_policy_decision", "violations", ["policy", "decision"])
    op.create_table(
        "bundles",
        sa.Column("revision", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_bundles"),
    )


def _create_searched(table: str, *columns: sa.Column[str] | sa.Column[bool]) -> None:
    """A table of what decisions are found by: many rows for each."""
    op.create_table(
        table,
        sa.Column("decision", SEQUENCE, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("decision", "position", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(["decision"], ["decisions.sequence"], name=f"fk_{table}_decision", ondelete="CASCADE"),
    )
