from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import ColumnElement, bindparam, exists, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert, AlertStep
from app.alerts.views import AlertView, StepView, alert_body, alert_view, raised_step, step_view
from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import Database, among, upsert_versions
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.feed import service as feed
from app.feed.service import Event, Head
from app.hazards.policy import Policy
from app.incidents import service as incidents
from app.nodes.scope import visible
from app.nodes.service import TreeChange
from app.reports import custody
from app.reports import service as reports
from app.reports.models import Report

Row = Mapping[str, Any]

TOPIC = "alert"

COLUMNS = list(Alert.__table__.columns)
_CHANGING = (
    "hazard",
    "nodes",
    "version",
    "level",
    "state",
    "headline",
    "reasons",
    "reports",
    "due_at",
    "owner",
    "acknowledged_at",
    "until",
    "escalation_step",
    "escalation_next_at",
    "escalation_from",
    "policy",
    "urgent_offices",
    "covered",
    "rearmed_at",
    "gathered_until",
    "last_owner",
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of alerts with the end of the log it was read at."""

    items: list[AlertView]
    next: str | None
    head: Head


def event(kind: str, row: Row, *, node_code: str | None = None) -> Event:
    """The feed's event of an alert; `node_code` when another office than the alert's own is to see it."""
    return Event(
        type=kind,
        topic=TOPIC,
        subject_id=row["id"],
        version=row["version"],
        node_code=node_code or row["node_code"],
        also=() if node_code else tuple(node for node in row["nodes"] if node != row["node_code"]),
        body=alert_body(row),
        drill_id=row["drill_id"],
    )


async def active(conn: AsyncConnection, *, city_id: str, incidents: Collection[UUID]) -> dict[UUID, Row]:
    """By incident: its active alert."""
    rows = await conn.execute(_active(conn.dialect.name), {"city_id": city_id, "incidents": list(incidents)})
    return {row.incident_id: row._asdict() for row in rows}


@cache
def _active(dialect: str) -> Any:
    return select(*COLUMNS).where(
        Alert.city_id == bindparam("city_id"),
        among(dialect, Alert.incident_id, "incidents"),
        Alert.state != "closed",
    )


async def store(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Store new alerts and the next version of known ones; Contention when another writer was first."""
    await upsert_versions(conn, Alert, rows, _CHANGING)


async def list_alerts(
    conn: AsyncConnection,
    *,
    caller: Caller,
    states: Sequence[str] | None,
    levels: Sequence[str] | None,
    drill_id: UUID | None,
    limit: int,
    cursor: str | None,
) -> Listed:
    """Alerts of the caller's subtree, the last raised first; without `states`, those that are not closed.

    Real ones, or one drill's. `conn` must read one snapshot.
    """
    head = await feed.head(conn, city_id=caller.city_id)
    query = select(*COLUMNS).where(readable(caller), of_drill(Alert, drill_id))
    query = query.where(Alert.state.in_(states)) if states else query.where(Alert.state != "closed")
    if levels:
        query = query.where(Alert.level.in_(levels))
    if cursor is not None:
        query = query.where(tuple_(Alert.raised_at, Alert.id) < paging.decode_moment("alerts", cursor))
    rows = (await conn.execute(query.order_by(Alert.raised_at.desc(), Alert.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("alerts", rows[-1].raised_at, rows[-1].id)
    return Listed([alert_view(row._asdict(), caller) for row in rows], after, head)


async def get(conn: AsyncConnection, *, caller: Caller, alert_id: UUID) -> AlertView:
    """One alert the caller may see; a Problem (404) otherwise."""
    row = (await conn.execute(select(*COLUMNS).where(readable(caller), Alert.id == alert_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return alert_view(row._asdict(), caller)


async def open_alert(database: Database, *, policy: Policy, caller: Caller, alert_id: UUID, now: datetime) -> AlertView:
    """`get`; and where a person at a desk reads it that holds its reports unopened, they are opened there."""
    async with database.reading() as conn:
        found = await get(conn, caller=caller, alert_id=alert_id)
        is_news = custody.opens(caller) and await custody.unopened(
            conn, city_id=caller.city_id, node_code=caller.node, alert_id=alert_id
        )
    if is_news:
        async with database.writing() as conn:
            events = await custody.open_alert(conn, caller=caller, alert_id=alert_id, policy=policy, now=now)
            if events:
                await feed.append(conn, city_id=caller.city_id, operations=[[one] for one in events], now=now)
    return found


async def timeline(conn: AsyncConnection, *, caller: Caller, alert_id: UUID) -> list[StepView]:
    """What happened to an alert, from its raising on; a Problem (404) when the caller may not see it."""
    alert = await get(conn, caller=caller, alert_id=alert_id)
    rows = await conn.execute(
        select(*AlertStep.__table__.columns)
        .where(AlertStep.city_id == caller.city_id, AlertStep.alert_id == alert_id)
        .order_by(AlertStep.version)
    )
    return [raised_step(alert), *(step_view(row._asdict()) for row in rows)]


async def follow_tree(conn: AsyncConnection, changes: Sequence[TreeChange], now: datetime) -> None:
    """The tree listener: what a node that changed hands has, its incidents and active alerts and reports, does too.

    Incidents, alerts and reports are locked in this order, and the log after all of them, as by everybody else.
    """
    await incidents.follow_tree(conn, changes)
    moved = [change for change in changes if change.kind in ("moved", "merged", "reopened")]
    operations = [*await _moved(conn, moved), *await reports.follow_tree(conn, changes, now)]
    if operations:
        await feed.append(conn, city_id=changes[0].city_id, operations=operations, now=now)


async def _moved(conn: AsyncConnection, moved: Sequence[TreeChange]) -> list[list[Event]]:
    if not moved:
        return []
    rows = (
        await conn.execute(
            select(*COLUMNS)
            .where(
                Alert.city_id == moved[0].city_id,
                Alert.node_code.in_(sorted(change.code for change in moved)),
                Alert.state != "closed",
            )
            .order_by(Alert.id)
            .with_for_update()
        )
    ).all()
    operations = []
    for change in moved:
        body = {"code": change.code, "old_parent": change.old_parent, "new_parent": change.new_parent}
        # Also where no active alert is concerned: what the offices see has changed, and with it every ETag.
        node_id = uuid5(NAMESPACE_OID, change.code)
        operations.append([Event(f"node.{change.kind}", "node", node_id, 1, change.code, body)])
        # Of a node that was merged its old town sees what it saw.
        left = None if change.kind == "merged" else change.old_parent
        for row in rows:
            if row.node_code == change.code:
                operations.append(
                    [
                        event(f"alert.{word}_scope", row._asdict(), node_code=office)
                        for word, office in (("left", left), ("entered", change.new_parent))
                        if office is not None
                    ]
                )
    return operations


def readable(caller: Caller) -> ColumnElement[bool]:
    """An alert is seen where it was raised, and wherever a report came from that it tells of, or its incident has."""
    own = visible(caller, Alert)
    if caller.tier == "city":
        return own
    told = exists().where(
        Report.city_id == Alert.city_id,
        or_(Report.incident_id == Alert.incident_id, Report.alert_id == Alert.id),
        visible(caller, Report),
    )
    return or_(own, told)
