from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from app.core.database import Database


@pytest.fixture
def statements_of(database: Database) -> Iterator[Callable[[], list[str]]]:
    """The statements that the database was asked since the last time; not those of the waiters on the log."""
    asked: list[str] = []

    def note(*seen: Any) -> None:
        asked.append(seen[2])

    def since_last() -> list[str]:
        found = [one for one in asked if one.startswith("SELECT") and "feed_heads" not in one and "tokens" not in one]
        asked.clear()
        return found

    engines = [engine.sync_engine for engine in database.engines]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield since_last
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
