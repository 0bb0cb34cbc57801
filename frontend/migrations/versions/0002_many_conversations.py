"""Many conversations in a session, each with a title; some temporary, some deleted; a full-text index.

SQLite can neither drop a constraint nor change a key, so both tables are made anew there and every row is copied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TITLE_CHARS = 60
SIGNS = "!\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»…–—¿¡、。"
DOCUMENT = (
    "to_tsvector('simple', translate(left(message, 65536) || ' ' || left(coalesce(reply, ''), 65536), "
    f"'{SIGNS}', repeat(' ', {len(SIGNS) - 1})))"
)

INDEX_SQLITE = (
    """
    CREATE VIRTUAL TABLE exchanges_search USING fts5(
        message, reply, content='exchanges', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO exchanges_search(exchanges_search) VALUES ('rebuild')",
    """
    CREATE TRIGGER exchanges_search_insert AFTER INSERT ON exchanges BEGIN
        INSERT INTO exchanges_search(rowid, message, reply) VALUES (new.id, new.message, new.reply);
    END
    """,
    """
    CREATE TRIGGER exchanges_search_delete AFTER DELETE ON exchanges BEGIN
        INSERT INTO exchanges_search(exchanges_search, rowid, message, reply)
        VALUES ('delete', old.id, old.message, old.reply);
    END
    """,
    """
    CREATE TRIGGER exchanges_search_update AFTER UPDATE OF id, message, reply ON exchanges BEGIN
        INSERT INTO exchanges_search(exchanges_search, rowid, message, reply)
        VALUES ('delete', old.id, old.message, old.reply);
        INSERT INTO exchanges_search(rowid, message, reply) VALUES (new.id, new.message, new.reply);
    END
    """,
)


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_sqlite()
    else:
        _alter_postgresql()
    op.create_index("ix_conversations_session", "conversations", ["session_id", "last_used_at"])
    op.create_index("ix_conversations_deleted_at", "conversations", ["deleted_at"])
    _give_titles()
    if op.get_bind().dialect.name == "sqlite":
        for statement in INDEX_SQLITE:
            op.execute(statement)
    else:
        # As a driver's own SQL: a colon in it is no parameter.
        op.get_bind().exec_driver_sql(
            f"CREATE INDEX ix_exchanges_search ON exchanges USING gin ({DOCUMENT})".replace("%", "%%")
        )


def _alter_postgresql() -> None:
    op.drop_constraint("conversations_session_id_key", "conversations", type_="unique")
    op.add_column("conversations", sa.Column("title", sa.String(200), nullable=False, server_default=""))
    op.add_column("conversations", sa.Column("temporary", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("conversations", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    op.drop_constraint("exchanges_pkey", "exchanges", type_="primary")
    op.add_column("exchanges", sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False))
    op.create_primary_key("exchanges_pkey", "exchanges", ["id"])
    op.create_unique_constraint("uq_exchanges_position", "exchanges", ["conversation_id", "position"])


def _rebuild_sqlite() -> None:
    """The tables as PostgreSQL has them; `frontend.database.migrate` has switched foreign keys off meanwhile."""
    op.create_table(
        "conversations_new",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("session_id", sa.String(64), nullable=False),
        sa.Column("title", sa.String(200), nullable=False, server_default=""),
        sa.Column("temporary", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_position", sa.Integer, nullable=False),
        sa.Column("claim_token", sa.String(32)),
        sa.Column("claim_expires_at", sa.DateTime(timezone=True)),
    )
    kept = "id, session_id, created_at, last_used_at, next_position, claim_token, claim_expires_at"
    op.execute(f"INSERT INTO conversations_new ({kept}) SELECT {kept} FROM conversations")
    op.drop_table("conversations")
    op.rename_table("conversations_new", "conversations")
    op.create_index("ix_conversations_last_used_at", "conversations", ["last_used_at"])
    op.create_table(
        "exchanges_new",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("conversation_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reply", sa.Text),
        sa.Column("replied_at", sa.DateTime(timezone=True)),
        sa.Column("origin", sa.JSON),
        sa.Column("failure_type", sa.String(32)),
        sa.Column("failure_message", sa.Text),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("conversation_id", "position", name="uq_exchanges_position"),
    )
    kept = "conversation_id, position, message, sent_at, reply, replied_at, origin, failure_type, failure_message"
    op.execute(f"INSERT INTO exchanges_new ({kept}) SELECT {kept} FROM exchanges ORDER BY sent_at, position")
    op.drop_table("exchanges")
    op.rename_table("exchanges_new", "exchanges")


def _give_titles() -> None:
    """The beginning of the first message that is still there."""
    connection = op.get_bind()
    first_messages = sa.text(
        "SELECT e.conversation_id, substr(e.message, 1, 1000) FROM exchanges e JOIN (SELECT conversation_id, "
        "min(position) AS first FROM exchanges GROUP BY conversation_id) f "
        "ON f.conversation_id = e.conversation_id AND f.first = e.position"
    )
    titles = [
        {"id": conversation_id, "title": _title(message)}
        for conversation_id, message in connection.execute(first_messages)
    ]
    if titles:
        connection.execute(sa.text("UPDATE conversations SET title = :title WHERE id = :id"), titles)


def _title(message: str) -> str:
    words = " ".join(message.split())
    return (words if len(words) <= TITLE_CHARS else words[: TITLE_CHARS - 1].rstrip() + "…") or "Untitled"
