"""The job: look at each new report of a city's log once, and store what is unusual with all it causes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import Clock
from app.core.database import Database, insert_into
from app.detection import history
from app.detection.looking import Answered, findings, nobody_asked
from app.detection.lookout import (
    LATE,
)
from app.detection.models import DetectionCursor
from app.detection.raising import raise_alarms
from app.feed.cursors import START, Position
from app.feed.models import FeedEvent, FeedHead
from app.hazards.policy import Policy

BATCH = 2000


async def run_due(
    database: Database, *, policy: Policy, clock: Clock, answered: Answered = nobody_asked
) -> datetime | None:
    """Look at all that is new in every city's log. Nothing is due by time alone.

    A batch of reports is looked at in one transaction with the cursor's advance: killed anywhere, it is looked at
    again, and an alarm is stored once.
    """
    for city_id in await _with_news(database):
        while await _look(database, city_id, policy, clock, answered):
            pass
    return None


async def _with_news(database: Database) -> list[str]:
    beyond = or_(
        DetectionCursor.city_id.is_(None),
        DetectionCursor.epoch != FeedHead.epoch,
        DetectionCursor.seq != FeedHead.last_seq,
    )
    query = (
        select(FeedHead.city_id)
        .join(DetectionCursor, DetectionCursor.city_id == FeedHead.city_id, isouter=True)
        .where(beyond)
    )
    async with database.reading() as conn:
        return sorted((await conn.execute(query)).scalars())


async def _look(database: Database, city_id: str, policy: Policy, clock: Clock, answered: Answered) -> bool:
    """One batch; whether there may be more."""
    async with database.writing() as conn:
        since = await _claim(conn, city_id)
        if since is None:
            return False
        now = clock.now()
        head = (
            await conn.execute(
                select(FeedHead.epoch, FeedHead.last_seq, FeedHead.kept_from).where(FeedHead.city_id == city_id)
            )
        ).one()
        if since == START:
            expired = head.kept_from > 1
        else:
            expired = since.epoch != head.epoch or not head.kept_from - 1 <= since.seq <= head.last_seq
        more = False
        until = head.last_seq
        if expired:
            new = await history.received_since(conn, city_id=city_id, since=now - LATE)
        else:
            events = await _events(conn, city_id, since.seq, head.last_seq)
            if len(events) == BATCH:
                more, until = True, events[-1].seq
            ids = [event.subject_id for event in events]
            new = await history.by_id(conn, city_id=city_id, ids=ids) if ids else []
            if not new and since != START and until - since.seq < BATCH:
                # What else happens in a city need not be written down each time.
                return False
        found = await findings(conn, city_id, new, until, policy.detection, now, answered)
        # The cursor before the log's head row, for which every writer of the city waits.
        await conn.execute(
            update(DetectionCursor).where(DetectionCursor.city_id == city_id).values(epoch=head.epoch, seq=until)
        )
        await raise_alarms(conn, city_id, found, policy, now)
        return more


async def _claim(conn: AsyncConnection, city_id: str) -> Position | None:
    """The cursor, locked; None when another process holds it."""
    row = (
        await conn.execute(
            select(DetectionCursor.epoch, DetectionCursor.seq)
            .where(DetectionCursor.city_id == city_id)
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()
    if row is not None:
        return Position(row.epoch, row.seq)
    statement = insert_into(conn.dialect.name, DetectionCursor).on_conflict_do_nothing(index_elements=["city_id"])
    first = {"city_id": city_id, "epoch": START.epoch, "seq": START.seq}
    made = (await conn.execute(statement.returning(DetectionCursor.city_id), first)).scalar_one_or_none()
    return START if made is not None else None


async def _events(conn: AsyncConnection, city_id: str, since: int, until: int) -> Sequence[Any]:
    """The next reports of the log, real and of drills."""
    query = (
        select(FeedEvent.seq, FeedEvent.subject_id)
        .where(
            FeedEvent.city_id == city_id,
            FeedEvent.seq > since,
            FeedEvent.seq <= until,
            FeedEvent.type == history.RECEIVED,
        )
        .order_by(FeedEvent.seq)
        .limit(BATCH)
    )
    return (await conn.execute(query)).all()
