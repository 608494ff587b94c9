"""Rounds over what runs, and what they found."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes


def upgrade() -> None:
    op.create_table(
        "rounds",
        sa.Column("number", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("id", KEY, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.UniqueConstraint("id", name="uq_rounds_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "findings",
        sa.Column("number", SEQUENCE, primary_key=True, autoincrement=True),
        sa.Column("round", SEQUENCE, nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        *(sa.Column(name, KEY, nullable=False) for name in ("namespace", "kind", "name", "key")),
        sa.Column("pods", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Boolean(), nullable=False),
        sa.Column("break_glass", KEY, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name="fk_findings_round", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_findings_order", "findings", ["round", "rank", "namespace", "kind", "name", "key"])
    op.create_index("ix_findings_round_key", "findings", ["round", "key"], unique=True)
    op.create_table(
        "finding_images",
        sa.Column("finding", SEQUENCE, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("written", KEY, nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.PrimaryKeyConstraint("finding", "position", name="pk_finding_images"),
        _of_a_finding("finding_images"),
    )
    op.create_index("ix_finding_images_digest_finding", "finding_images", ["digest", "finding"])
    op.create_table(
        "finding_policies",
        sa.Column("finding", SEQUENCE, nullable=False),
        sa.Column("policy", KEY, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("finding", "policy", "mode", "outcome", name="pk_finding_policies"),
        _of_a_finding("finding_policies"),
    )


def _of_a_finding(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["finding"], ["findings.number"], name=f"fk_{table}_finding", ondelete="CASCADE")
