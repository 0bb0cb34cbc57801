"""A conversation may have a knowledge text of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply."""
    op.add_column("conversations", sa.Column("knowledge", sa.Text))
    op.add_column("conversations", sa.Column("knowledge_name", sa.String(100)))
    op.add_column("conversations", sa.Column("knowledge_chars", sa.Integer))
