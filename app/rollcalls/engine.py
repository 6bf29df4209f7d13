"""What time makes of roll calls: opened by the calendar, closed when due, silence found, weighed and ended.

Each step is one transaction of one city: killed anywhere, nothing of it has happened and it is due again.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.found import end_found, raise_found
from app.alerts.models import Alert
from app.core.clock import ZONE, Clock, day_of
from app.core.database import Database
from app.drills import service as drills
from app.drills.scope import of_drill
from app.drills.service import DrillRow
from app.feed import service as feed
from app.feed.service import Event
from app.hazards.policy import Policy
from app.hazards.silence import ScheduledRollCall
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.models import City, Node
from app.reports.models import Report
from app.rollcalls import service, silence
from app.rollcalls.models import RollCall, RollCallAnswer
from app.rollcalls.service import COLUMNS, TOPIC, Asking
from app.rollcalls.weighing import Weight, together

HAZARD = "contact.lost"
# Silence found longer ago than this is weighed no more: only an answer or a report ends it.
WEIGHED_FOR = timedelta(hours=24)


async def run_due(database: Database, *, policy: Policy, clock: Clock) -> datetime | None:
    """Do all that is due in every city; when something is due next."""
    async with database.reading() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
    found: list[datetime] = []
    for city_id in cities:
        await _open_scheduled(database, city_id, policy, clock.now())
        while await _close_next(database, city_id, policy, clock.now()):
            pass
        await _end_silence(database, city_id, clock.now())
        await _weigh_again(database, city_id, policy, clock.now())
        async with database.reading() as conn:
            due = await conn.execute(
                select(func.min(RollCall.due_at)).where(RollCall.city_id == city_id, RollCall.closed_at.is_(None))
            )
            if (at := due.scalar_one_or_none()) is not None:
                found.append(at)
    found += [_times(one, policy, day_of(clock.now()) + timedelta(days=1))[0] for one in policy.rollcalls.scheduled]
    return min(found, default=None)


def _times(schedule: ScheduledRollCall, policy: Policy, day: date) -> tuple[datetime, datetime]:
    """When the schedule's roll call of a day is opened, and until when it is to be answered."""
    opens = datetime.combine(day, schedule.opens, ZONE)
    due = datetime.combine(day, schedule.due, ZONE)
    return opens, opens + (due - opens) * policy.tempo(day)


async def _open_scheduled(database: Database, city_id: str, policy: Policy, now: datetime) -> None:
    day = day_of(now)
    wanted = {}
    for one in policy.rollcalls.scheduled:
        opens, due = _times(one, policy, day)
        # One that was slept through is not opened any more: nobody could have answered it.
        if opens <= now < due and (not one.only_in_duty or policy.in_duty(day)):
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
            made = await service.open_call(conn, asking, now=now)
            if made is not None:
                await feed.append(conn, city_id=city_id, operations=[[service.opened(made)]], now=now)


async def _close_next(database: Database, city_id: str, policy: Policy, now: datetime) -> bool:
    """Close one roll call that is due and find who is silent; whether there was one."""
    due = (
        select(*COLUMNS)
        .where(RollCall.city_id == city_id, RollCall.closed_at.is_(None), RollCall.due_at <= now)
        .order_by(RollCall.due_at, RollCall.id)
        .limit(1)
    )
    async with database.reading() as conn:
        if (await conn.execute(due)).first() is None:
            return False
    async with database.writing() as conn:
        row = (await conn.execute(due.with_for_update(skip_locked=True))).one_or_none()
        if row is None:
            return False
        call = row._asdict()
        waiting = await _waiting(conn, call)
        closed = {one.node_code for one in waiting if one.closed_on is not None and one.closed_on <= day_of(now)}
        heard = await silence.last_heard(
            conn, city_id=city_id, nodes=[one.node_code for one in waiting], drill_id=call["drill_id"]
        )
        missed = await silence.missed_in_a_row(
            conn,
            city_id=city_id,
            nodes=[one.node_code for one in waiting],
            drill_id=call["drill_id"],
            before=call["due_at"],
        )
        silent = []
        for one in waiting:
            at = heard[one.node_code].at
            # A report from the node says that it is there, whatever it was asked.
            if one.node_code not in closed and not (at is not None and at >= call["opened_at"]):
                missed_now = missed.get(one.node_code, 0) + 1
                silent.append(_Silent(one.node_code, one.town_code, one.lat, one.lon, missed_now, at))
        if closed:
            await _write(conn, call, [{"held": code, "state": "excused"} for code in sorted(closed)])
        if silent:
            await _write(
                conn,
                call,
                [
                    {
                        "held": one.node_code,
                        "silent_since": now,
                        "last_heard_at": one.last_heard_at,
                        "missed": one.missed,
                    }
                    for one in silent
                ],
            )
        await conn.execute(
            update(RollCall).where(RollCall.city_id == city_id, RollCall.id == call["id"]).values(closed_at=now)
        )
        operations = await _raise(conn, call, silent, policy, now)
        counts = await conn.execute(
            select(RollCallAnswer.state, func.count())
            .where(RollCallAnswer.city_id == city_id, RollCallAnswer.roll_call_id == call["id"])
            .group_by(RollCallAnswer.state)
        )
        told = service.due(call, {one.state: one[1] for one in counts}, [one.node_code for one in silent])
        await feed.append(conn, city_id=city_id, operations=[[told], *operations], now=now)
    return True


@dataclass(frozen=True, slots=True)
class _Silent:
    """A node that missed a roll call, as weighing looks at it."""

    node_code: str
    town_code: str | None
    lat: float | None
    lon: float | None
    missed: int
    last_heard_at: datetime | None


async def _waiting(conn: AsyncConnection, call: Any) -> Sequence[Any]:
    query = (
        select(RollCallAnswer.node_code, RollCallAnswer.town_code, Node.lat, Node.lon, Node.closed_on)
        .join(Node, Node.code == RollCallAnswer.node_code)
        .where(
            RollCallAnswer.city_id == call["city_id"],
            RollCallAnswer.roll_call_id == call["id"],
            RollCallAnswer.state == "waiting",
        )
        .order_by(RollCallAnswer.node_code)
        .with_for_update(of=RollCallAnswer)
    )
    return (await conn.execute(query)).all()


async def _write(conn: AsyncConnection, call: Any, rows: Sequence[dict[str, Any]]) -> None:
    changing: dict[str, Any] = {key: bindparam(f"new_{key}") for key in rows[0] if key != "held"}
    await conn.execute(
        update(RollCallAnswer)
        .where(
            RollCallAnswer.city_id == call["city_id"],
            RollCallAnswer.roll_call_id == call["id"],
            RollCallAnswer.node_code == bindparam("held"),
        )
        .values(**changing),
        [{"held": row["held"], **{f"new_{key}": row[key] for key in changing}} for row in rows],
    )


async def _raise(
    conn: AsyncConnection, call: Any, silent: Sequence[Any], policy: Policy, now: datetime
) -> list[list[Event]]:
    """Raise alerts for those whose silence weighs enough; the operations that tell of it."""
    city_id, drill_id = call["city_id"], call["drill_id"]
    drill = await drills.find(conn, city_id=city_id, drill_id=drill_id) if drill_id else None
    if not silent or (drill is not None and drill.ended_at is not None):
        return []
    weights = await silence.weighed(conn, city_id=city_id, rows=silent, drill_id=drill_id, policy=policy.silence)
    grave = {one.node_code: (one, level) for one in silent if (level := weights[one.node_code].level) is not None}
    if not grave:
        return []
    crowded = together(policy.silence, [(one.town_code, level) for one, level in grave.values()])
    groups: dict[str, list[str]] = defaultdict(list)
    for code, (one, _) in sorted(grave.items()):
        groups[one.town_code if one.town_code in crowded else code].append(code)
    places = await lookup.places(conn, {*groups, *grave})
    operations, rows = [], []
    for code, nodes in sorted(groups.items()):
        level = max((grave[node][1] for node in nodes), key=lambda one: one.rank)
        found = await raise_found(
            conn,
            place=places[code],
            hazard=HAZARD,
            level=level,
            reasons=_reasons(nodes, weights, places),
            headline=_headline(places[code], nodes, places, drill),
            origin="silence",
            drill=drill,
            policy=policy,
            now=now,
        )
        told = [_silence("silence.found", call, node, found.alert_id) for node in nodes]
        operations.append([*found.events, *told])
        rows += [{"held": node, "alert_id": found.alert_id} for node in nodes]
    await _write(conn, call, rows)
    return operations


def _reasons(nodes: Sequence[str], weights: dict[str, Weight], places: dict[str, Place]) -> list[dict[str, str]]:
    heaviest = max(nodes, key=lambda node: (weights[node].points, node))
    reasons = list(weights[heaviest].reasons)
    if len(nodes) > 1:
        names = "、".join(places[node].name for node in nodes[:20])
        reasons.insert(
            0,
            {
                "rule": "silence.together",
                "text": f"{len(nodes)} nodes are silent: {names}",
                "text_zh": f"{len(nodes)} 个单位失去联系：{names}",
            },
        )
    return reasons


def _headline(place: Place, nodes: Sequence[str], places: dict[str, Place], drill: DrillRow | None) -> str:
    mark = "【演练】" if drill else ""
    if len(nodes) > 1:
        return f"{mark}{place.name}：{len(nodes)} 个单位点名未应答 {len(nodes)} nodes do not answer"
    return f"{mark}{place.name}：点名未应答，失去联系 does not answer"


def _silence(kind: str, call: Any, node: str, alert_id: UUID) -> Event:
    body = {"id": str(call["id"]), "node": node, "alert_id": str(alert_id)}
    return Event(kind, TOPIC, call["id"], 2, node, body, drill_id=call["drill_id"])


async def _end_silence(database: Database, city_id: str, now: datetime) -> None:
    """Note who has been heard again, by a late answer or by any report, and end the alerts of those."""
    query = (
        select(
            RollCallAnswer.roll_call_id,
            RollCallAnswer.node_code,
            RollCallAnswer.alert_id,
            RollCall.drill_id,
            func.coalesce(RollCallAnswer.answered_at, func.max(Report.received_at)).label("at"),
        )
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .join(
            Report,
            and_(
                Report.city_id == RollCallAnswer.city_id,
                Report.node_code == RollCallAnswer.node_code,
                # As when it closed: a report that was being stored just then is seen now.
                Report.received_at >= RollCall.opened_at,
                Report.drill_id.is_not_distinct_from(RollCall.drill_id),
            ),
            isouter=True,
        )
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.silent_since.is_not(None),
            RollCallAnswer.heard_at.is_(None),
            or_(RollCallAnswer.answered_at.is_not(None), Report.id.is_not(None)),
        )
        .group_by(
            RollCallAnswer.roll_call_id,
            RollCallAnswer.node_code,
            RollCallAnswer.alert_id,
            RollCallAnswer.answered_at,
            RollCall.drill_id,
        )
        .order_by(RollCallAnswer.roll_call_id, RollCallAnswer.node_code)
    )
    async with database.reading() as conn:
        if (await conn.execute(query.limit(1))).first() is None:
            return
    async with database.writing() as conn:
        # One process at a time, without keeping anybody else waiting.
        locked = select(City.city_id).where(City.city_id == city_id).with_for_update(key_share=True, skip_locked=True)
        if (await conn.execute(locked)).one_or_none() is None:
            return
        heard = (await conn.execute(query)).all()
        if not heard:
            return
        operations = await _heard(conn, city_id, heard, now)
        if operations:
            await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def _heard(conn: AsyncConnection, city_id: str, heard: Sequence[Any], now: datetime) -> list[list[Event]]:
    await conn.execute(
        update(RollCallAnswer)
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.roll_call_id == bindparam("call"),
            RollCallAnswer.node_code == bindparam("node"),
        )
        .values(heard_at=now),
        [{"call": one.roll_call_id, "node": one.node_code} for one in heard],
    )
    alerts = sorted({one.alert_id for one in heard if one.alert_id is not None})
    still = await conn.execute(
        select(RollCallAnswer.alert_id).where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.alert_id.in_(alerts),
            RollCallAnswer.heard_at.is_(None),
        )
    )
    silent = set(still.scalars())
    operations = []
    for alert_id in alerts:
        nodes = [one for one in heard if one.alert_id == alert_id]
        events = []
        if alert_id not in silent:
            at = max(one.at for one in nodes).astimezone(ZONE).strftime("%H:%M")
            events = await end_found(
                conn,
                city_id=city_id,
                alert_id=alert_id,
                text=f"Heard from again at {at}.",
                text_zh=f"{at} 恢复联系。",
                now=now,
            )
        ended = [
            _silence("silence.ended", {"id": one.roll_call_id, "drill_id": one.drill_id}, one.node_code, alert_id)
            for one in nodes
        ]
        operations.append([*events, *ended])
    # Of those whose silence was no alert the log says nothing: it had not told of it either.
    return operations


async def _weigh_again(database: Database, city_id: str, policy: Policy, now: datetime) -> None:
    """Silence found lately weighs more once a hazard has opened beside it."""
    recent = and_(
        RollCallAnswer.city_id == city_id,
        RollCallAnswer.silent_since >= now - WEIGHED_FOR,
        RollCallAnswer.heard_at.is_(None),
        RollCallAnswer.alert_id.is_(None),
    )
    quiet = (
        select(
            RollCallAnswer.roll_call_id,
            RollCallAnswer.node_code,
            RollCallAnswer.town_code,
            RollCallAnswer.missed,
            RollCallAnswer.last_heard_at,
            Node.lat,
            Node.lon,
        )
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .join(Node, Node.code == RollCallAnswer.node_code)
        .where(recent, RollCallAnswer.last_heard_at.is_not(None))
        .order_by(RollCallAnswer.node_code)
    )
    async with database.reading() as conn:
        endangered = (
            await conn.execute(
                select(Alert.drill_id)
                .where(Alert.city_id == city_id, Alert.state != "closed", Alert.origin != "silence")
                .distinct()
            )
        ).scalars()
        calls: set[UUID] = set()
        for drill_id in endangered.all():
            rows = (await conn.execute(quiet.where(of_drill(RollCall, drill_id)))).all()
            weights = await silence.weighed(conn, city_id=city_id, rows=rows, drill_id=drill_id, policy=policy.silence)
            calls |= {row.roll_call_id for row in rows if weights[row.node_code].level is not None}
    for call_id in sorted(calls):
        async with database.writing() as conn:
            claim = select(*COLUMNS).where(RollCall.city_id == city_id, RollCall.id == call_id)
            call = (await conn.execute(claim.with_for_update(skip_locked=True))).one_or_none()
            if call is None:
                continue
            rows = (await conn.execute(quiet.where(RollCall.id == call_id))).all()
            operations = await _raise(conn, call._asdict(), rows, policy, now)
            if operations:
                await feed.append(conn, city_id=city_id, operations=operations, now=now)
