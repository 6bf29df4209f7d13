from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import ColumnElement, bindparam, exists, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert
from app.alerts.views import AlertView, alert_view
from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among, upsert_versions
from app.core.errors import Problem
from app.feed import service as feed
from app.feed.service import Event, Head
from app.nodes.scope import visible
from app.nodes.service import TreeChange
from app.reports.models import Report

Row = Mapping[str, Any]

TOPIC = "alert"

_COLUMNS = list(Alert.__table__.columns)
_CHANGING = (
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
        body=alert_view(row).model_dump(mode="json"),
    )


async def active(conn: AsyncConnection, *, city_id: str, incidents: Collection[UUID]) -> dict[UUID, Row]:
    """By incident: its active alert."""
    rows = await conn.execute(_active(conn.dialect.name), {"city_id": city_id, "incidents": list(incidents)})
    return {row.incident_id: row._asdict() for row in rows}


@cache
def _active(dialect: str) -> Any:
    return select(*_COLUMNS).where(
        Alert.city_id == bindparam("city_id"),
        among(dialect, Alert.incident_id, "incidents"),
        Alert.state != "closed",
    )


async def store(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Store new alerts and the next version of known ones; Contention when another writer was first."""
    await upsert_versions(conn, Alert, rows, _CHANGING)


async def list_alerts(
    conn: AsyncConnection, *, caller: Caller, state: str | None, level: str | None, limit: int, cursor: str | None
) -> Listed:
    """Alerts of the caller's subtree, the last raised first; without `state`, those that are not closed.

    `conn` must read one snapshot.
    """
    head = await feed.head(conn, city_id=caller.city_id)
    query = select(*_COLUMNS).where(_readable(caller))
    query = query.where(Alert.state == state) if state else query.where(Alert.state != "closed")
    if level:
        query = query.where(Alert.level == level)
    if cursor is not None:
        query = query.where(tuple_(Alert.raised_at, Alert.id) < paging.decode_moment("alerts", cursor))
    rows = (await conn.execute(query.order_by(Alert.raised_at.desc(), Alert.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("alerts", rows[-1].raised_at, rows[-1].id)
    return Listed([alert_view(row._asdict()) for row in rows], after, head)


async def get(conn: AsyncConnection, *, caller: Caller, alert_id: UUID) -> AlertView:
    """One alert the caller may see; a Problem (404) otherwise."""
    return alert_view(await _row(conn, caller=caller, alert_id=alert_id))


async def acknowledge(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, now: datetime) -> AlertView:
    """Take the alert on. Again by the same sign-in, or on a closed alert, it changes nothing and shows so.

    A Problem (409) tells who was first when another sign-in owns it.
    """
    row = await _row(conn, caller=caller, alert_id=alert_id, lock=True)
    owner = row["owner"]
    if row["state"] == "closed" or (owner and owner["by"] == _sign_in(caller)):
        return alert_view(row)
    if owner:
        raise Problem(
            problems.ALERT_OWNED,
            owner=f"{owner['label']} ({owner['node']})",
            at=owner["at"],
            extra={"owner": {key: value for key, value in owner.items() if key != "by"}},
        )
    taken = {"node": caller.node, "label": caller.label, "at": now.isoformat(), "by": _sign_in(caller)}
    return await _change(
        conn,
        row,
        {"state": "acknowledged", "owner": taken, "acknowledged_at": now, "due_at": None},
        kind="alert.acknowledged",
        now=now,
    )


async def close(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, reason: str, now: datetime) -> AlertView:
    """End the alert, with the reason. On a closed alert it changes nothing and shows so."""
    row = await _row(conn, caller=caller, alert_id=alert_id, lock=True)
    if row["state"] == "closed":
        return alert_view(row)
    return await _change(
        conn,
        row,
        {"state": "closed", "closed_at": now, "close_reason": reason, "due_at": None, "escalation_next_at": None},
        kind="alert.closed",
        now=now,
    )


async def change_scope(
    conn: AsyncConnection, *, city_id: str, node_code: str, old_parent: str, new_parent: str, now: datetime
) -> None:
    """A node moved: its old parent is told that the node's active alerts left its scope, the new one that they came."""
    rows = (
        await conn.execute(
            select(*_COLUMNS)
            .where(Alert.city_id == city_id, Alert.node_code == node_code, Alert.state != "closed")
            .order_by(Alert.id)
            .with_for_update()
        )
    ).all()
    operations = [
        [
            event("alert.left_scope", row._asdict(), node_code=old_parent),
            event("alert.entered_scope", row._asdict(), node_code=new_parent),
        ]
        for row in rows
    ]
    if operations:
        await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def follow_tree(conn: AsyncConnection, change: TreeChange, now: datetime) -> None:
    """A tree listener: the log tells that a node moved, and that its alerts change hands with it."""
    if change.kind != "moved" or change.old_parent is None or change.new_parent is None:
        return
    body = {"code": change.code, "old_parent": change.old_parent, "new_parent": change.new_parent}
    # Also where no active alert is concerned: what the two offices see has changed, and with it every ETag.
    happened = Event("node.moved", "node", uuid5(NAMESPACE_OID, change.code), 1, change.code, body)
    await feed.append(conn, city_id=change.city_id, operations=[[happened]], now=now)
    await change_scope(
        conn,
        city_id=change.city_id,
        node_code=change.code,
        old_parent=change.old_parent,
        new_parent=change.new_parent,
        now=now,
    )


def _readable(caller: Caller) -> ColumnElement[bool]:
    """An alert is seen where it was raised, and wherever one of its incident's reports came from."""
    own = visible(caller, Alert)
    if caller.tier == "city":
        return own
    told = exists().where(
        Report.city_id == Alert.city_id, Report.incident_id == Alert.incident_id, visible(caller, Report)
    )
    return or_(own, told)


def _sign_in(caller: Caller) -> str:
    # Two sign-ins of one node may be called alike.
    return str(caller.account_id or caller.key_id)


async def _row(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, lock: bool = False) -> Row:
    query = select(*_COLUMNS).where(_readable(caller), Alert.id == alert_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row._asdict()


async def _change(conn: AsyncConnection, row: Row, changes: dict[str, Any], *, kind: str, now: datetime) -> AlertView:
    changed = {**row, **changes, "version": row["version"] + 1}
    await conn.execute(
        update(Alert)
        .where(Alert.city_id == row["city_id"], Alert.id == row["id"])
        .values(**changes, version=changed["version"])
    )
    await feed.append(conn, city_id=row["city_id"], operations=[[event(kind, changed)]], now=now)
    return alert_view(changed)
