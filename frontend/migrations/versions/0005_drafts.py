"""A reply that is being written may have its draft in the database, for readers at other processes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.add_column("exchanges", sa.Column("draft", sa.JSON))
