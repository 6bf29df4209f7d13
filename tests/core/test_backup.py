import asyncio
import os
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import migrate
from app.core.backup import BackupError, backup, restore
from app.core.database import Database
from app.core.ids import new_id
from app.tables import feed, nodes
from tests.bed import postgres
from tests.builders import NOON

Found = TypeVar("Found")
FeedHead, City = feed.FeedHead, nodes.City


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database of each kind, with one city in it."""
    url = another(request, tmp_path)
    if request.param == "postgresql":
        server: postgres.Server = request.getfixturevalue("postgres_server")
        monkeypatch.setenv("PATH", f"{server.bin}{os.pathsep}{os.environ['PATH']}")
    migrate.upgrade(url)
    on(url, lambda conn: add_city(conn, "370783000000"))
    return url


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> str:
    """A database of the same kind as `url`, without tables."""
    return another(request, tmp_path, url)


def another(request: pytest.FixtureRequest, tmp_path: Path, like: str | None = None) -> str:
    kind = like.partition("+")[0] if like else request.param
    name = f"b{new_id().hex}"
    if kind == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / f'{name}.db'}"
    server: postgres.Server = request.getfixturevalue("postgres_server")
    server.create(name)
    request.addfinalizer(lambda: server.drop(name))
    return server.url(name)


def on(url: str, work: Callable[[AsyncConnection], Awaitable[Found]]) -> Found:
    async def run() -> Found:
        database = Database(url, pool=1)
        try:
            async with database.writing() as conn:
                return await work(conn)
        finally:
            await database.close()

    return asyncio.run(run())


async def add_city(conn: AsyncConnection, code: str) -> None:
    await conn.execute(insert(City).values(city_id=code, created_at=NOON))
    await conn.execute(insert(FeedHead).values(city_id=code, epoch=new_id(), last_seq=7, kept_from=1))


async def heads(conn: AsyncConnection) -> list[tuple[object, ...]]:
    rows = await conn.execute(select(FeedHead.city_id, FeedHead.epoch, FeedHead.last_seq).order_by(FeedHead.city_id))
    return [tuple(row) for row in rows]


async def cities(conn: AsyncConnection) -> int:
    return (await conn.execute(select(func.count()).select_from(City))).scalar_one()


async def nothing(_conn: AsyncConnection) -> None:
    pass


def test_what_was_backed_up_comes_back(url: str, empty_url: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.beacon"

    backup(url, file)
    restore(empty_url, file, after=nothing)

    assert on(empty_url, heads) == on(url, heads)
    assert migrate.check(empty_url) == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_what_is_to_follow_a_restore_is_done_in_the_restored_database(url: str, empty_url: str, tmp_path: Path) -> None:
    epoch = new_id()

    async def after(conn: AsyncConnection) -> None:
        await conn.execute(update(FeedHead).values(epoch=epoch))

    backup(url, tmp_path / "copy")
    restore(empty_url, tmp_path / "copy", after=after)

    assert on(empty_url, heads) == [("370783000000", epoch, 7)]
    assert on(url, heads) != [("370783000000", epoch, 7)]


@pytest.mark.anyio
async def test_a_backup_taken_while_a_writer_writes_is_of_one_moment(url: str, empty_url: str, tmp_path: Path) -> None:
    database = Database(url, pool=2)
    started, enough = asyncio.Event(), threading.Event()

    async def write() -> int:
        count = 1
        while not enough.is_set():
            async with database.writing() as conn:
                await add_city(conn, f"c{count:06d}")
            count += 1
            if count > 20:
                started.set()
        return count

    writer = asyncio.create_task(write())
    await started.wait()
    await asyncio.to_thread(backup, url, tmp_path / "copy")
    enough.set()
    written = await writer
    await database.close()
    await asyncio.to_thread(restore, empty_url, tmp_path / "copy", after=nothing)

    copied = await asyncio.to_thread(on, empty_url, cities)
    assert 21 <= copied <= written
    assert len(await asyncio.to_thread(on, empty_url, heads)) == copied


def test_a_backup_never_takes_the_place_of_a_file(url: str, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("precious")

    with pytest.raises(BackupError, match="exists"):
        backup(url, file)

    assert file.read_text() == "precious"


@pytest.mark.parametrize("damage", ["cut", "overwritten", "other"])
def test_a_damaged_file_is_refused_and_nothing_changes(url: str, empty_url: str, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "copy"
    backup(url, file)
    content = file.read_bytes()
    half = len(content) // 2
    file.write_bytes(
        {
            "cut": content[:half],
            "overwritten": content[:half] + b"\xff" * (half // 2) + content[half + half // 2 :],
            "other": b"no backup at all" * 100,
        }[damage]
    )
    before = on(url, heads)

    with pytest.raises(BackupError, match=r"damaged|sound"):
        restore(url, file, after=nothing, force=True)
    with pytest.raises(BackupError):
        restore(empty_url, file, after=nothing)

    assert on(url, heads) == before


def test_a_database_that_holds_something_is_replaced_only_by_force(url: str, tmp_path: Path) -> None:
    backup(url, tmp_path / "copy")
    on(url, lambda conn: add_city(conn, "370784000000"))

    with pytest.raises(BackupError, match="--force"):
        restore(url, tmp_path / "copy", after=nothing)
    assert on(url, cities) == 2

    restore(url, tmp_path / "copy", after=nothing, force=True)
    assert on(url, cities) == 1
    assert migrate.check(url) == []


@pytest.mark.anyio
async def test_a_database_in_use_is_not_replaced_even_by_force(url: str, tmp_path: Path) -> None:
    await asyncio.to_thread(backup, url, tmp_path / "copy")
    database = Database(url)
    async with database.reading() as conn:
        await cities(conn)
        with pytest.raises(BackupError, match="in use"):
            await asyncio.to_thread(restore, url, tmp_path / "copy", after=nothing, force=True)
    await database.close()


def test_a_backup_of_a_newer_beacon_is_refused(url: str, empty_url: str, tmp_path: Path) -> None:
    on(url, lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    backup(url, tmp_path / "copy")

    with pytest.raises(BackupError, match="newer Beacon"):
        restore(empty_url, tmp_path / "copy", after=nothing)

    assert migrate.current(empty_url) is None


def test_missing_programs_are_named(
    postgres_server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackupError, match="pg_dump is not installed"):
        backup(postgres_server.url("postgres"), tmp_path / "copy")

    assert list(tmp_path.iterdir()) == []


def test_the_password_is_not_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/line\necho "$PGPASSWORD" > {tmp_path}/password\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(BackupError, match="pg_dump failed"):
        backup("postgresql+asyncpg://beacon:s%20cret@127.0.0.1:9/beacon", tmp_path / "copy")

    assert (tmp_path / "password").read_text() == "s cret\n"
    assert "cret" not in (tmp_path / "line").read_text()
