from typing import Any

import pytest
from sqlalchemy import event

from app.core.database import Database
from app.nodes.lookup import Place, places
from tests.builders import CITY, FAR_VILLAGE, OTHER_TOWN, TOWN, VILLAGE
from tests.conftest import OPENED

pytestmark = pytest.mark.anyio


async def test_each_tier_is_found_with_its_path(database: Database) -> None:
    async with database.reading() as conn:
        found = await places(conn, {CITY, TOWN, VILLAGE, "no-such"})

    assert found == {
        CITY: Place(CITY, "寿光市", "city", CITY, None, (CITY,), ("city",), OPENED, None),
        TOWN: Place(TOWN, "上口镇", "town", CITY, TOWN, (CITY, TOWN), ("city", "town"), OPENED, None),
        VILLAGE: Place(
            VILLAGE,
            "口子村",
            "village",
            CITY,
            TOWN,
            (CITY, TOWN, VILLAGE),
            ("city", "town", "village"),
            OPENED,
            None,
        ),
    }


async def test_many_places_take_one_statement(database: Database) -> None:
    statements: list[str] = []
    engine = database.engines[-1].sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "nodes" in statement:
            statements.append(statement)

    async with database.reading() as conn:
        found = await places(conn, [VILLAGE, FAR_VILLAGE, VILLAGE])
    event.remove(engine, "before_cursor_execute", count)

    assert {place.town_code for place in found.values()} == {TOWN, OTHER_TOWN}
    assert len(statements) == 1


async def test_no_codes_find_no_places(database: Database) -> None:
    async with database.reading() as conn:
        assert await places(conn, []) == {}
