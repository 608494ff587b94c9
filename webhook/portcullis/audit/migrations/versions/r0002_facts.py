"""Facts of layers and images, kept beside the records."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("key", KEY, nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(80), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("key", name="uq_facts_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_facts_used_at_size", "facts", ["used_at", "size"])
    op.create_table(
        "fact_pieces",
        sa.Column("fact", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fact", "number", name="pk_fact_pieces"),
        sa.ForeignKeyConstraint(["fact"], ["facts.id"], name="fk_fact_pieces_fact", ondelete="CASCADE"),
    )
