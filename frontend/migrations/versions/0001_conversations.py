"""Conversations and their exchanges."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("session_id", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_position", sa.Integer, nullable=False),
        sa.Column("claim_token", sa.String(32)),
        sa.Column("claim_expires_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_conversations_last_used_at", "conversations", ["last_used_at"])
    op.create_table(
        "exchanges",
        sa.Column(
            "conversation_id", sa.String(32), sa.ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reply", sa.Text),
        sa.Column("replied_at", sa.DateTime(timezone=True)),
        sa.Column("origin", sa.JSON),
        sa.Column("failure_type", sa.String(32)),
        sa.Column("failure_message", sa.Text),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("exchanges")
    op.drop_index("ix_conversations_last_used_at", "conversations")
    op.drop_table("conversations")
