"""Deletes conversations for good, few at a time: many would take longer than a statement may, and hold writers up."""

import time

from sqlalchemy import ColumnElement, CursorResult, Engine, delete, select

from frontend.database import transaction
from frontend.models import Conversation

BATCH = 100  # conversations that are deleted in one transaction, with their exchanges
PAUSE_SECONDS = 0.02  # between two of them, in which another writer of an SQLite file has its turn


def changed(result: object) -> int:
    """How many rows a statement changed."""
    if not isinstance(result, CursorResult):
        raise TypeError(f"{type(result).__name__} has no row count")
    return result.rowcount


def remove(engine: Engine, which: ColumnElement[bool]) -> int:
    """Delete the conversations for which `which` holds, and say how many it were. Raises StoreUnavailable.

    Those before stay deleted then. What another process is deleting at this moment is left to it.
    """
    some = select(Conversation.id).where(which).limit(BATCH).with_for_update(skip_locked=True)
    removed = 0
    while True:
        with transaction(engine) as db:
            batch = changed(db.execute(delete(Conversation).where(Conversation.id.in_(some))))
        removed += batch
        if batch < BATCH:
            return removed
        time.sleep(PAUSE_SECONDS)
