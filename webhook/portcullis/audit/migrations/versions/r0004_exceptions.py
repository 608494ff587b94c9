"""Which exception covers a violation."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.String(256).with_variant(sa.String(256, "C"), "postgresql")  # searched by ranges, too: in the order of bytes


def upgrade() -> None:
    op.add_column("violations", sa.Column("exception", KEY, nullable=False, server_default=""))
    op.create_index("ix_violations_exception_decision", "violations", ["exception", "decision"])
