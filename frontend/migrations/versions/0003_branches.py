"""Exchanges as a tree: each names the one that it follows. And what the reader thinks of a reply.

Until now an exchange followed the one before it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column("exchanges", sa.Column("parent", sa.Integer, nullable=False, server_default="0"))
    op.add_column("exchanges", sa.Column("rating", sa.String(8)))
    op.execute(
        "UPDATE exchanges SET parent = coalesce((SELECT max(e.position) FROM exchanges e "
        "WHERE e.conversation_id = exchanges.conversation_id AND e.position < exchanges.position), 0)"
    )
