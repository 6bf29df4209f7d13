"""How a drill ends, and how timely its offices were."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import escalation
from app.alerts import service as alerts
from app.alerts.acting import Done, closing, step_row
from app.alerts.models import Alert, AlertStep
from app.core.caller import Caller
from app.core.database import Database, among
from app.drills import service as drills
from app.drills.service import DrillRow
from app.evaluation import ledger, scoring
from app.evaluation.ledger import Period
from app.evaluation.scoring import Asked, Part
from app.feed import service as feed
from app.feed.service import Event
from app.incidents.models import Incident
from app.nodes import lookup
from app.reports import custody
from app.rollcalls import service as rollcalls
from app.rollcalls.models import RollCall, RollCallAnswer

ENDED = "演练已结束。The drill has ended."


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation of a drill's offices, as known at `as_of`: when it ended, or now."""

    drill: DrillRow
    as_of: datetime
    reports: int
    total: float | None
    parts: list[Part]
    bypassed: list[str]


async def end(database: Database, *, caller: Caller, drill_id: UUID, now: datetime) -> Scored:
    """End a drill of the caller's subtree: nothing of it goes on. Its evaluation; a Problem (404) when not known.

    Ended again, the moment it ended stays; what came in after that is ended too.
    """
    async with database.writing() as conn:
        drill = await drills.get_own(conn, caller=caller, drill_id=drill_id, lock=True)
        operations: list[list[Event]] = []
        if drill.ended_at is None:
            drill = replace(drill, ended_at=now)
            await drills.mark_ended(conn, drill=drill, now=now)
            operations.append([drills.event("drill.ended", drill)])
        operations = [*await _close(conn, caller=caller, drill=drill, now=now), *operations]
        if operations:
            await feed.append(conn, city_id=drill.city_id, operations=operations, now=now)
    async with database.snapshot() as conn:
        return await score(conn, caller=caller, drill_id=drill_id, now=now)


async def score(conn: AsyncConnection, *, caller: Caller, drill_id: UUID, now: datetime) -> Scored:
    """How timely the offices of a drill of the caller's subtree were; a Problem (404) when not known.

    What happened after the drill's end does not count. `conn` must read one snapshot.
    """
    drill = await drills.get_own(conn, caller=caller, drill_id=drill_id)
    as_of = drill.ended_at or now
    found = await ledger.entries(conn, caller=caller, period=Period(drill=drill_id))
    policies = {
        row.id: row.policy
        for row in await conn.execute(
            select(Alert.id, Alert.policy).where(Alert.city_id == drill.city_id, Alert.drill_id == drill_id)
        )
    }
    due = {
        entry.report_id: plan.due
        for entry in found
        if entry.alert_id is not None and (plan := escalation.plan(policies[entry.alert_id], entry.level)) is not None
    }
    asked = [
        Asked(due_at=row.due_at, answered_at=row.answered_at)
        for row in await conn.execute(
            select(RollCall.due_at, RollCallAnswer.answered_at)
            .join(
                RollCallAnswer,
                and_(RollCallAnswer.city_id == RollCall.city_id, RollCallAnswer.roll_call_id == RollCall.id),
            )
            .where(RollCall.city_id == drill.city_id, RollCall.drill_id == drill_id, RollCallAnswer.state != "excused")
        )
    ]
    parts = scoring.parts(found, due, asked, as_of=as_of)
    return Scored(
        drill=drill,
        as_of=as_of,
        reports=len(found),
        total=scoring.total(parts),
        parts=parts,
        bypassed=scoring.bypassed(found, as_of=as_of),
    )


async def _close(conn: AsyncConnection, *, caller: Caller, drill: DrillRow, now: datetime) -> list[list[Event]]:
    """Close what is open of the drill; the events, an operation an incident."""
    office = (await lookup.places(conn, {caller.node}))[caller.node]
    # Locked in the order that others take them in: first what is asked, then the incidents, then their alerts.
    calls = await _open(conn, RollCall, drill, RollCall.closed_at.is_(None))
    incidents = await _open(conn, Incident, drill, Incident.state != "closed")
    active = await _open(conn, Alert, drill, Alert.state != "closed")
    events: dict[UUID, list[Event]] = {}

    if active:
        done = Done(
            "alert.closed", closing(ENDED, now), f"{office.name} ended the drill.", f"{office.name}已结束演练。"
        )
        closed = [{**row, **done.changes, "version": row["version"] + 1} for row in active]
        await custody.spare(conn, city_id=drill.city_id, alerts=[row["id"] for row in active])
        await _write(conn, Alert, drill, active, done.changes)
        await conn.execute(insert(AlertStep), [step_row(row, done, place=office, at=now) for row in closed])
        for row in closed:
            events.setdefault(row["incident_id"], []).append(alerts.event(done.type, row))
    if incidents:
        await _write(conn, Incident, drill, incidents, {"state": "closed"})
        for row in incidents:
            events.setdefault(row["id"], []).append(_incident_closed(row))
    return [*await _close_calls(conn, drill, calls, now), *events.values()]


async def _close_calls(
    conn: AsyncConnection, drill: DrillRow, calls: Sequence[dict[str, Any]], now: datetime
) -> list[list[Event]]:
    """Nobody is asked any more, and whoever has not answered is not silent for that."""
    if not calls:
        return []
    await conn.execute(
        update(RollCall)
        .where(RollCall.city_id == drill.city_id, RollCall.id.in_([row["id"] for row in calls]))
        .values(closed_at=now)
    )
    counted = await conn.execute(
        select(RollCallAnswer.roll_call_id, RollCallAnswer.state, func.count())
        .where(RollCallAnswer.city_id == drill.city_id, RollCallAnswer.roll_call_id.in_([row["id"] for row in calls]))
        .group_by(RollCallAnswer.roll_call_id, RollCallAnswer.state)
    )
    counts: dict[UUID, dict[str, int]] = {}
    for call_id, state, count in counted:
        counts.setdefault(call_id, {})[state] = count
    return [[rollcalls.due(row, counts.get(row["id"], {}), [])] for row in calls]


async def _open(conn: AsyncConnection, table: Any, drill: DrillRow, still: Any) -> Sequence[dict[str, Any]]:
    query = select(*table.__table__.columns).where(table.city_id == drill.city_id, table.drill_id == drill.id, still)
    return [row._asdict() for row in await conn.execute(query.order_by(table.id).with_for_update())]


async def _write(
    conn: AsyncConnection, table: Any, drill: DrillRow, rows: Sequence[dict[str, Any]], changes: dict[str, Any]
) -> None:
    """The next version of rows that are locked."""
    await conn.execute(
        update(table)
        .where(table.city_id == drill.city_id, among(conn.dialect.name, table.id, "locked"))
        .values({**changes, "version": table.version + 1}),
        {"locked": [row["id"] for row in rows]},
    )


def _incident_closed(row: dict[str, Any]) -> Event:
    body = {"id": str(row["id"]), "hazard": row["hazard"], "level": row["level"], "headline": row["headline"]}
    return Event(
        "incident.closed",
        "incident",
        row["id"],
        row["version"] + 1,
        row["node_code"],
        body,
        also=tuple(node for node in row["nodes"] if node != row["node_code"]),
        drill_id=row["drill_id"],
    )
