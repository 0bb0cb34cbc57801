"""Each exchange names its owner, by whom it is searched; an index for temporary conversations.

The full-text index knew no sessions: every search went through all sessions' hits. It takes minutes for millions.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SIGNS = "!\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~“”‘’«»…–—¿¡、。"
DOCUMENT = (
    "to_tsvector('simple', translate(left(message, 65536) || ' ' || left(coalesce(reply, ''), 65536), "
    f"'{SIGNS}', repeat(' ', {len(SIGNS) - 1})))"
)
TERMS_POSTGRESQL = f"""
    CREATE FUNCTION exchange_terms(owner text, message text, reply text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000 AS $$
        SELECT array_to_tsvector(array_append(
            ARRAY(SELECT left(owner, 2) || left(lexeme, 200) FROM unnest(tsvector_to_array({DOCUMENT})) AS lexeme),
            '#' || owner
        ))
    $$
"""

INDEX_SQLITE = (
    """
    CREATE VIRTUAL TABLE exchanges_search USING fts5(
        owner, message, reply, content='exchanges', content_rowid='id', prefix='1 2 3',
        tokenize='unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO exchanges_search(exchanges_search) VALUES ('rebuild')",
    """
    CREATE TRIGGER exchanges_search_insert AFTER INSERT ON exchanges BEGIN
        INSERT INTO exchanges_search(rowid, owner, message, reply)
        VALUES (new.id, new.owner, new.message, new.reply);
    END
    """,
    """
    CREATE TRIGGER exchanges_search_delete AFTER DELETE ON exchanges BEGIN
        INSERT INTO exchanges_search(exchanges_search, rowid, owner, message, reply)
        VALUES ('delete', old.id, old.owner, old.message, old.reply);
    END
    """,
    """
    CREATE TRIGGER exchanges_search_update AFTER UPDATE OF id, owner, message, reply ON exchanges BEGIN
        INSERT INTO exchanges_search(exchanges_search, rowid, owner, message, reply)
        VALUES ('delete', old.id, old.owner, old.message, old.reply);
        INSERT INTO exchanges_search(rowid, owner, message, reply)
        VALUES (new.id, new.owner, new.message, new.reply);
    END
    """,
)
OWNERS = (
    "UPDATE exchanges SET owner = md5(conversations.session_id) FROM conversations "
    "WHERE conversations.id = exchanges.conversation_id"
)


def upgrade() -> None:
    """Apply."""
    if op.get_bind().dialect.name == "sqlite":
        _search_sqlite()
    else:
        _search_postgresql()
    op.create_index("ix_exchanges_owner", "exchanges", ["owner", "id"])
    op.create_index(
        "ix_conversations_temporary",
        "conversations",
        ["last_used_at"],
        postgresql_where=sa.text("temporary"),
        sqlite_where=sa.text("temporary = 1"),
    )


def _search_postgresql() -> None:
    op.drop_index("ix_exchanges_search", "exchanges")
    op.add_column("exchanges", sa.Column("owner", sa.String(32), nullable=False, server_default=""))
    op.execute(OWNERS)
    connection = op.get_bind()
    # As a driver's own SQL: a colon in it is no parameter.
    connection.exec_driver_sql(TERMS_POSTGRESQL.replace("%", "%%"))
    connection.exec_driver_sql(
        "CREATE INDEX ix_exchanges_search ON exchanges USING gin (exchange_terms(owner, message, reply))"
    )


def _search_sqlite() -> None:
    for trigger in ("insert", "delete", "update"):
        op.execute(f"DROP TRIGGER exchanges_search_{trigger}")
    op.execute("DROP TABLE exchanges_search")
    op.add_column("exchanges", sa.Column("owner", sa.String(32), nullable=False, server_default=""))
    connection = op.get_bind()
    connection.connection.create_function("md5", 1, _md5, deterministic=True)
    op.execute(OWNERS)
    for statement in INDEX_SQLITE:
        op.execute(statement)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
