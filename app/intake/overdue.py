"""What an office left undecided past its time, and what is urgent of it: the city decides."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import Clock
from app.core.database import Database
from app.drills.models import Drill
from app.feed import service as feed
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.intake import holding
from app.intake.models import Quarantined
from app.nodes.models import City, Node

MOST_AT_ONCE = 100


async def run_due(database: Database, *, policy: Policy, clock: Clock) -> datetime | None:
    """Pass what is held, urgent and past its time on to the city; when the next is due.

    Which offices are bypassed is policy, as for reports that nobody opens. What it is killed amid is due again.
    """
    async with database.reading() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
    found: list[datetime] = []
    for city_id in cities:
        due = await _next_due(database, city_id, policy)
        while due is not None and due <= clock.now():
            async with database.writing() as conn:
                done = await _pass_on(conn, city_id=city_id, policy=policy, now=clock.now())
            # What another process is at is found at the next poll.
            due = await _next_due(database, city_id, policy) if done else None
        if due is not None:
            found.append(due)
    return min(found, default=None)


async def _next_due(database: Database, city_id: str, policy: Policy) -> datetime | None:
    async with database.reading() as conn:
        due: datetime | None = (
            await conn.execute(select(func.min(Quarantined.due_at)).where(_waits(city_id, policy)))
        ).scalar_one()
    return due


async def _pass_on(conn: AsyncConnection, *, city_id: str, policy: Policy, now: datetime) -> int:
    query = (
        select(*holding.COLUMNS)
        .where(_waits(city_id, policy), Quarantined.due_at <= now)
        .order_by(Quarantined.due_at, Quarantined.id)
        .limit(MOST_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    operations = []
    for row in (await conn.execute(query)).all():
        changed: dict[str, Any] = {
            "desk_code": city_id,
            "bypassed": row.desk_code,
            "due_at": now + policy.custody.due("city", Level(row.level)),
        }
        await conn.execute(
            update(Quarantined).where(Quarantined.city_id == city_id, Quarantined.id == row.id).values(changed)
        )
        operations.append([holding.event("report.quarantine_bypassed", {**row._asdict(), **changed})])
    if operations:
        await feed.append(conn, city_id=city_id, operations=operations, now=now)
    return len(operations)


def _waits(city_id: str, policy: Policy) -> ColumnElement[bool]:
    """What is passed on when its time comes; of a drill that has ended nothing is."""
    ended = exists().where(
        Drill.city_id == Quarantined.city_id, Drill.id == Quarantined.drill_id, Drill.ended_at.is_not(None)
    )
    return and_(
        Quarantined.city_id == city_id,
        Quarantined.state == "held",
        Quarantined.level.in_([str(level) for level in policy.alerts.levels]),
        Quarantined.desk_code.in_(select(Node.code).where(Node.tier.in_(policy.escalation.bypass))),
        or_(Quarantined.drill_id.is_(None), ~ended),
    )
