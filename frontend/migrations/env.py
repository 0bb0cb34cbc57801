"""Alembic's entry point. `frontend.database.migrate` hands in the connection; the command line opens its own."""

from alembic import context
from sqlalchemy import Connection

from frontend.database import open_engine
from frontend.models import Base, is_in_models
from frontend.settings import Settings


def run(connection: Connection) -> None:
    """Run the migrations inside the connection's transaction."""
    # SQLite cannot alter most of a table in place; batch mode copies it instead.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=is_in_models,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


handed_in = context.config.attributes.get("connection")
if handed_in is not None:
    run(handed_in)
else:
    with open_engine(Settings()).begin() as opened:
        run(opened)
