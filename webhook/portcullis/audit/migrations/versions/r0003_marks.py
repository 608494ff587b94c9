"""Instants that only move forward: the newest scans that were ever seen."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("key", KEY, nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("advanced_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_marks"),
    )
    op.create_index("ix_marks_advanced_at", "marks", ["advanced_at"])
