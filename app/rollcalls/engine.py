"""What time makes of roll calls: opened by the calendar, closed when due, silence found, weighed again and ended.

Each step is one transaction of one city, and one process at a time does them: killed anywhere, nothing of the step
has happened and it is due again.
"""

from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert
from app.core.clock import ZONE, Clock, day_of
from app.core.database import Database
from app.drills import service as drills
from app.feed import service as feed
from app.hazards.policy import Policy
from app.hazards.silence import ScheduledRollCall
from app.nodes import lookup
from app.nodes.models import City
from app.rollcalls import ending, finding, service, silence
from app.rollcalls.models import RollCall, RollCallAnswer
from app.rollcalls.service import COLUMNS, Asking
from app.rollcalls.silence import Silent, standing_of

# Silence found longer ago than this is weighed no more: only an answer or a report ends it.
WEIGHED_FOR = timedelta(hours=24)


async def run_due(database: Database, *, policy: Policy, clock: Clock) -> datetime | None:
    """Do all that is due in every city; when something is due next."""
    async with database.reading() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
    found: list[datetime] = []
    for city_id in cities:
        await _open_scheduled(database, city_id, policy, clock.now())
        # First who was heard from: what they miss next is counted anew.
        await _end_silence(database, city_id, clock.now())
        while await _close_next(database, city_id, policy, clock.now()):
            pass
        await _weigh_again(database, city_id, policy, clock.now())
        async with database.reading() as conn:
            due = await conn.execute(
                select(func.min(RollCall.due_at)).where(RollCall.city_id == city_id, RollCall.closed_at.is_(None))
            )
            if (at := due.scalar_one_or_none()) is not None:
                found.append(at)
    now = clock.now()
    for one in policy.rollcalls.scheduled:
        opens = (_times(one, policy, day_of(now) + timedelta(days=days))[0] for days in (0, 1))
        found.append(next(at for at in opens if at > now))
    return min(found, default=None)


def _times(schedule: ScheduledRollCall, policy: Policy, day: date) -> tuple[datetime, datetime]:
    """When the schedule's roll call of a day is opened, and until when it is to be answered."""
    opens = datetime.combine(day, schedule.opens, ZONE)
    due = datetime.combine(day, schedule.due, ZONE)
    return opens, opens + (due - opens) * policy.tempo(day)


async def _claim(conn: AsyncConnection, city_id: str) -> bool:
    """One process at a time, and nobody moves or closes a node meanwhile; False: another one is at it."""
    # Beside this lock others may still refer to the city.
    query = select(City.city_id).where(City.city_id == city_id).with_for_update(key_share=True, skip_locked=True)
    return (await conn.execute(query)).one_or_none() is not None


async def _open_scheduled(database: Database, city_id: str, policy: Policy, now: datetime) -> None:
    day = day_of(now)
    wanted = {}
    for one in policy.rollcalls.scheduled:
        opens, due = _times(one, policy, day)
        # One that was slept through is not opened any more: nobody could have answered it.
        if opens <= now < due and one.asks_on(day, in_duty=policy.in_duty(day)):
            wanted[one.name] = (one, due)
    if not wanted:
        return
    async with database.reading() as conn:
        known = await conn.execute(
            select(RollCall.schedule).where(
                RollCall.city_id == city_id, RollCall.day == day, RollCall.schedule.in_(sorted(wanted))
            )
        )
        missing = sorted(wanted.keys() - set(known.scalars()))
    for name in missing:
        schedule, due = wanted[name]
        async with database.writing() as conn:
            place = (await lookup.places(conn, {city_id}))[city_id]
            asking = Asking(schedule.zh, schedule.en, place, schedule.tiers, now, due, schedule=name, day=day)
            made = await service.open_call(conn, asking)
            if made is not None:
                await feed.append(conn, city_id=city_id, operations=[[made.event]], now=now)


async def _close_next(database: Database, city_id: str, policy: Policy, now: datetime) -> bool:
    """Close one roll call that is due and find who is silent; whether there was one."""
    due = (
        select(*COLUMNS)
        .where(RollCall.city_id == city_id, RollCall.closed_at.is_(None), RollCall.due_at <= now)
        .order_by(RollCall.due_at, RollCall.id)
        .limit(1)
    )
    async with database.reading() as conn:
        next_due = (await conn.execute(due)).one_or_none()
    if next_due is None:
        return False
    async with database.writing() as conn:
        if not await _claim(conn, city_id):
            return False
        drill = None
        if next_due.drill_id is not None:
            # Before the roll call: in this order the end of a drill takes them, too.
            drill = await drills.find(conn, city_id=city_id, drill_id=next_due.drill_id, hold=True)
        row = (
            await conn.execute(due.where(RollCall.id == next_due.id).with_for_update(skip_locked=True))
        ).one_or_none()
        if row is None:
            return False
        call = row._asdict()
        silent = await finding.find(conn, call, now=now)
        await conn.execute(
            update(RollCall).where(RollCall.city_id == city_id, RollCall.id == call["id"]).values(closed_at=now)
        )
        operations = await finding.raise_alerts(
            conn, silent, city_id=city_id, drill=drill, policy=policy, now=now, anew=True
        )
        counts = await conn.execute(
            select(RollCallAnswer.state, func.count())
            .where(RollCallAnswer.city_id == city_id, RollCallAnswer.roll_call_id == call["id"])
            .group_by(RollCallAnswer.state)
        )
        told = service.due(call, {one.state: one[1] for one in counts}, [one.node_code for one in silent])
        await feed.append(conn, city_id=city_id, operations=[[told], *operations], now=now)
    return True


async def _end_silence(database: Database, city_id: str, now: datetime) -> None:
    """Note who has been heard again, by a late answer or by any report, and end the alerts of those."""
    query = ending.ended(city_id, day_of(now))
    async with database.reading() as conn:
        if (await conn.execute(query.limit(1))).first() is None:
            return
    async with database.writing() as conn:
        if not await _claim(conn, city_id):
            return
        rows = (await conn.execute(query)).all()
        if not rows:
            return
        operations = await ending.end(conn, rows, city_id=city_id, now=now)
        if operations:
            await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def _weigh_again(database: Database, city_id: str, policy: Policy, now: datetime) -> None:
    """Silence found lately weighs more once a hazard has opened beside it."""
    endangered = (
        select(Alert.drill_id)
        .where(Alert.city_id == city_id, Alert.state != "closed", Alert.origin != "silence")
        .distinct()
    )
    worse: list[UUID | None] = []
    async with database.reading() as conn:
        for drill_id in (await conn.execute(endangered)).scalars().all():
            rows = await _lately(conn, city_id, drill_id, policy, now)
            around = await silence.dangers(conn, city_id=city_id, drill_id=drill_id) if rows else []
            weights = silence.weighed(policy.silence, rows, around)
            if any(finding.is_worse(one, weights[one.node_code].level, anew=False) for one in rows):
                worse.append(drill_id)
    for drill_id in worse:
        async with database.writing() as conn:
            if not await _claim(conn, city_id):
                return
            drill = None
            if drill_id is not None:
                drill = await drills.find(conn, city_id=city_id, drill_id=drill_id, hold=True)
            rows = await _lately(conn, city_id, drill_id, policy, now)
            nodes = [one.node_code for one in rows]
            heard = await silence.last_heard(conn, city_id=city_id, nodes=nodes, drill_id=drill_id)
            unheard = [one for one in rows if not heard[one.node_code].since(one.opened_at)]
            operations = await finding.raise_alerts(
                conn, unheard, city_id=city_id, drill=drill, policy=policy, now=now, anew=False
            )
            if operations:
                await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def _lately(
    conn: AsyncConnection, city_id: str, drill_id: UUID | None, policy: Policy, now: datetime
) -> list[Silent]:
    """Those found silent lately whose alert could still be graver."""
    gravest = max(policy.silence.levels, key=lambda level: level.rank, default=None)
    if gravest is None:
        return []
    query = silence.still_silent(city_id, drill_id).where(
        RollCallAnswer.silent_since >= now - WEIGHED_FOR, or_(Alert.id.is_(None), Alert.level != str(gravest))
    )
    found = {row.node_code: row for row in await conn.execute(query)}
    return [
        Silent(
            roll_call_id=row.roll_call_id,
            opened_at=row.opened_at,
            node_code=code,
            town_code=row.town_code,
            lat=row.lat,
            lon=row.lon,
            missed=row.missed,
            last_heard_at=row.last_heard_at,
            version=row.version,
            standing=standing_of(row),
        )
        for code, row in found.items()
    ]
