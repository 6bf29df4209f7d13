import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import true

from app.core.database import Database
from app.core.errors import Problem
from app.core.ids import new_id
from app.core.problems import CURSOR_INVALID
from app.feed import cursors, service
from app.feed.cursors import START, Position
from app.feed.service import Event
from tests.builders import CITY, NOON, VILLAGE


def events(count: int, topic: str = "alert") -> list[Event]:
    return [Event("alert.updated", topic, new_id(), 1, VILLAGE, {"n": number}) for number in range(count)]


async def add(database: Database, *sizes: int, topic: str = "alert", hours: int = 0) -> Position:
    async with database.writing() as conn:
        return await service.append(
            conn,
            city_id=CITY,
            operations=[events(size, topic) for size in sizes],
            now=NOON + timedelta(hours=hours),
        )


async def read(database: Database, since: Position, limit: int) -> service.Entries:
    async with database.reading() as conn:
        return await service.read(conn, city_id=CITY, topic="alert", within=true(), since=since, limit=limit)


@pytest.mark.anyio
async def test_an_operation_is_never_split_across_two_answers(database: Database) -> None:
    await add(database, 2, 3, 1)

    first = await read(database, START, 3)
    second = await read(database, first.position, 1)
    third = await read(database, second.position, 10)

    assert [entry.position.seq for entry in first.entries] == [1, 2]
    assert [entry.position.seq for entry in second.entries] == [3, 4, 5]
    assert [entry.position.seq for entry in third.entries] == [6]
    assert [first.pending, second.pending, third.pending] == [4, 1, 0]


@pytest.mark.anyio
async def test_the_position_moves_past_entries_of_other_topics(database: Database) -> None:
    await add(database, 1)
    end = await add(database, 4, topic="report")

    found = await read(database, START, 10)

    assert len(found.entries) == 1
    assert found.position == end


@pytest.mark.anyio
async def test_overlapping_transactions_commit_in_the_order_of_their_numbers(database: Database) -> None:
    """A sequence would let the second commit first; the counter row makes it wait."""
    order: list[str] = []
    holding = asyncio.Event()

    async def first() -> None:
        async with database.writing() as conn:
            await service.append(conn, city_id=CITY, operations=[events(1)], now=NOON)
            holding.set()
            # The second writer has every chance to overtake.
            for _ in range(50):
                await asyncio.sleep(0.002)
            order.append("first")

    async def second() -> None:
        await holding.wait()
        await add(database, 1)
        order.append("second")

    async def reader() -> list[int]:
        await holding.wait()
        seen: list[int] = []
        since = START
        while len(seen) < 2:
            found = await read(database, since, 10)
            seen += [entry.position.seq for entry in found.entries]
            since = found.position
            await asyncio.sleep(0.001)
        return seen

    _, _, seen = await asyncio.gather(first(), second(), reader())

    assert order == ["first", "second"]
    assert seen == [1, 2]


@pytest.mark.anyio
async def test_pruning_forgets_whole_operations_and_expires_their_cursors(database: Database) -> None:
    old = await add(database, 2, 1)
    await add(database, 1, hours=2)

    async with database.writing() as conn:
        assert await service.prune(conn, city_id=CITY, before=NOON + timedelta(hours=1)) == 3

    assert [entry.position.seq for entry in (await read(database, old, 10)).entries] == [4]
    for since in (START, Position(old.epoch, 2)):
        with pytest.raises(Problem) as refused:
            await read(database, since, 10)
        assert refused.value.kind.code == "cursor_expired"
    assert (await add(database, 1)).seq == 5


@pytest.mark.anyio
async def test_a_process_that_missed_the_wake_up_catches_up(app: FastAPI, database: Database) -> None:
    heads = app.state.heads
    start = await add(database, 1)
    other = Database(database.url.render_as_string(hide_password=False))
    waiting = asyncio.create_task(heads.wait(CITY, beyond=start, seconds=20))

    end = await add(other, 1)
    await other.close()
    await waiting

    assert heads.latest(CITY) == end


@given(st.uuids(), st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back_as_it_was(epoch: UUID, seq: int) -> None:
    position = Position(epoch, seq)

    assert cursors.decode(cursors.encode(position)) == position


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda raw: raw.decode("latin-1"))))
def test_a_cursor_that_was_never_given_is_a_problem_and_nothing_else(cursor: str) -> None:
    try:
        position = cursors.decode(cursor)
    except Problem as problem:
        assert problem.kind is CURSOR_INVALID
    else:
        assert cursors.decode(cursors.encode(position)) == position


@given(st.uuids(), st.integers(0, 10**9), st.integers(0, 80), st.characters(codec="ascii"))
def test_a_damaged_cursor_never_becomes_an_error(epoch: UUID, seq: int, at: int, character: str) -> None:
    cursor = cursors.encode(Position(epoch, seq))
    damaged = cursor[:at] + character + cursor[at + 1 :]

    try:
        cursors.decode(damaged)
    except Problem as problem:
        assert problem.kind is CURSOR_INVALID
