import asyncio

import pytest
from sqlalchemy import select, text, update

from app.core.database import Database, DatabaseAway, announce
from app.feed.models import FeedHead
from app.nodes.models import Node
from tests.builders import VILLAGE

pytestmark = pytest.mark.anyio


async def test_concurrent_writers_lose_no_update(database: Database) -> None:
    async def raise_version() -> None:
        async with database.writing() as conn:
            query = select(Node.version).where(Node.code == VILLAGE).with_for_update()
            version = (await conn.execute(query)).scalar_one()
            await conn.execute(update(Node).where(Node.code == VILLAGE).values(version=version + 1))

    await asyncio.gather(*(raise_version() for _ in range(40)))

    async with database.reading() as conn:
        assert (await conn.execute(select(Node.version).where(Node.code == VILLAGE))).scalar_one() == 41


async def test_announcements_are_made_after_commit_and_never_after_rollback(database: Database) -> None:
    heard: list[object] = []
    database.listeners.append(heard.append)

    async with database.writing() as conn:
        announce(conn, "kept")
        assert heard == []
    with pytest.raises(RuntimeError):
        async with database.writing() as conn:
            announce(conn, "lost")
            raise RuntimeError
    async with database.writing():
        pass

    assert heard == ["kept"]


async def test_a_snapshot_reads_one_moment(database: Database) -> None:
    async with database.snapshot() as conn:
        query = select(Node.name).where(Node.code == VILLAGE)
        before = (await conn.execute(query)).scalar_one()
        async with database.writing() as writer:
            await writer.execute(update(Node).where(Node.code == VILLAGE).values(name="改名村"))
        assert (await conn.execute(query)).scalar_one() == before


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_sqlite_syncs_every_commit_and_keeps_foreign_keys(database: Database) -> None:
    async with database.writing() as conn:
        found = [
            (await conn.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_full_disk_is_a_database_that_is_away(database: Database) -> None:
    async with database.writing() as conn:
        pages = (await conn.execute(text("PRAGMA page_count"))).scalar_one()
        await conn.execute(text(f"PRAGMA max_page_count = {pages}"))

    with pytest.raises(DatabaseAway):
        async with database.writing() as conn:
            await conn.execute(text("CREATE TABLE filler AS SELECT randomblob(1000000) AS ballast"))

    async with database.reading() as conn:
        assert (await conn.execute(select(FeedHead.city_id))).all() == []
