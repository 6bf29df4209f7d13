"""What time makes of alerts: steps that are due, acknowledgements that end, offices that are bypassed.

Each run of a city, in one transaction:
1. the alerts with anything due are claimed, those claimed by another process left out;
2. what is due for each is decided, in order (app/alerts/escalation.py, pure);
3. the alerts, their timelines, the custody and the city's log are written, and committed together.
Killed anywhere, nothing of it has happened and all of it is still due.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import escalation
from app.alerts.acting import Done, step_row
from app.alerts.models import Alert, AlertStep
from app.alerts.service import COLUMNS, event
from app.core.clock import Clock
from app.core.database import Database
from app.feed import service as feed
from app.feed.service import Event
from app.nodes import lookup
from app.nodes.models import City
from app.reports import custody
from app.reports.models import Custody, Report

BATCH = 100


async def run_due(database: Database, *, clock: Clock, batch: int = BATCH) -> datetime | None:
    """Do all that is due in every city; when something is due next."""
    async with database.reading() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
    found: list[datetime] = []
    for city_id in cities:
        while True:
            async with database.reading() as conn:
                due = await next_due(conn, city_id=city_id)
            if due is None or due > clock.now():
                break
            async with database.writing() as conn:
                done = await advance(conn, city_id=city_id, now=clock.now(), limit=batch)
            if not done:
                # Another process is at it: what it leaves is found at the next poll.
                due = None
                break
        if due is not None:
            found.append(due)
    return min(found, default=None)


async def next_due(conn: AsyncConnection, *, city_id: str) -> datetime | None:
    """When the city's next alert or custody is due."""
    times = union_all(
        select(func.min(Alert.escalation_next_at).label("at")).where(Alert.city_id == city_id),
        select(func.min(Alert.until)).where(Alert.city_id == city_id),
        select(func.min(Alert.gathered_until)).where(Alert.city_id == city_id),
        select(func.min(Custody.bypass_at)).where(Custody.city_id == city_id),
    ).subquery()
    due: datetime | None = (await conn.execute(select(func.min(times.c.at)))).scalar_one()
    return due


async def advance(conn: AsyncConnection, *, city_id: str, now: datetime, limit: int) -> int:
    """Do what is due for up to `limit` alerts of a city that no other process has claimed; how much that was."""
    late = (
        select(Report.alert_id)
        .join(Custody, (Custody.city_id == Report.city_id) & (Custody.report_id == Report.id))
        .where(Report.city_id == city_id, Custody.city_id == city_id, Custody.bypass_at <= now)
    )
    claim = (
        select(*COLUMNS)
        .where(
            Alert.city_id == city_id,
            or_(Alert.escalation_next_at <= now, Alert.until <= now, Alert.gathered_until <= now, Alert.id.in_(late)),
        )
        .order_by(Alert.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = {row.id: row._asdict() for row in await conn.execute(claim)}
    if not rows:
        return 0
    held = await custody.overdue(conn, city_id=city_id, alerts=rows, now=now)
    places = await lookup.places(conn, {one.node_code for one in held})
    by_alert: dict[UUID, list[Any]] = defaultdict(list)
    for one in held:
        by_alert[one.alert_id].append(one)

    updates: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    operations: list[list[Event]] = []
    for alert_id, row in rows.items():
        events = [_bypassed(one, now) for one in by_alert[alert_id]]
        changed = row
        for office in sorted({one.node_code for one in by_alert[alert_id]}):
            changed = _take(changed, escalation.bypass(changed, places[office].name, now), steps, events, now)
        for turn in escalation.turns(changed, now):
            changed = _take(changed, turn, steps, events, now)
        if changed["version"] != row["version"]:
            updates.append(changed)
        if events:
            operations.append(events)

    if held:
        await custody.bypass(conn, city_id=city_id, held=held, now=now)
    for changed in updates:
        await conn.execute(
            update(Alert)
            .where(Alert.city_id == city_id, Alert.id == changed["id"])
            .values({key: value for key, value in changed.items() if value is not rows[changed["id"]][key]})
        )
    if steps:
        await conn.execute(insert(AlertStep), steps)
    if operations:
        await feed.append(conn, city_id=city_id, operations=operations, now=now)
    return len(updates) + len(held)


def _take(
    row: dict[str, Any], turn: escalation.Turn, steps: list[dict[str, Any]], events: list[Event], now: datetime
) -> dict[str, Any]:
    """The alert's next version, noted in its timeline and in the operation's events."""
    changed = {**row, **escalation.with_reason(row, turn), "version": row["version"] + 1}
    steps.append(step_row(changed, Done(turn.type, {}, turn.text, turn.text_zh), place=None, at=now))
    events.append(event(turn.type, changed))
    return changed


def _bypassed(held: Any, now: datetime) -> Event:
    body = {
        "id": str(held.report_id),
        "node": held.report_node,
        "alert_id": str(held.alert_id),
        "bypassed": held.node_code,
        "tier": held.tier,
        "at": now.isoformat(),
    }
    return Event(
        "report.bypassed", "report", held.report_id, held.version, held.report_node, body, drill_id=held.drill_id
    )
