"""A report's way through the offices: each step is kept for good, and told to all that hold it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.core.ids import new_id
from app.feed.service import Event
from app.reports.events import event
from app.reports.models import Custody, Report, ReportStep

Row = Mapping[str, Any]

# So few at a time that every database takes them in one statement.
AT_ONCE = 500


async def rows_of(conn: AsyncConnection, *, city_id: str, ids: Sequence[UUID]) -> list[Row]:
    """The rows of these reports, by id."""
    found: list[Row] = []
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        query = select(*Report.__table__.columns).where(Report.city_id == city_id, Report.id.in_(some))
        found += [row._asdict() for row in await conn.execute(query.order_by(Report.id))]
    return found


def step(
    *,
    city_id: str,
    report_id: UUID,
    type: str,
    at: datetime,
    node: str | None,
    tier: str | None,
    to: str | None,
    due_at: datetime | None,
    note: str = "",
) -> dict[str, Any]:
    """A row of a report's way."""
    return {
        "city_id": city_id,
        "id": new_id(),
        "report_id": report_id,
        "at": at,
        "type": type,
        "node_code": node,
        "tier": tier,
        "to_node": to,
        "due_at": due_at,
        "note": note,
    }


def received(custody: Row) -> dict[str, Any]:
    """The step that an office's custody tells, which it had by the rules and not from another office."""
    return step(
        city_id=custody["city_id"],
        report_id=custody["report_id"],
        type="report.received",
        at=custody["since"],
        node=None,
        tier=None,
        to=custody["node_code"],
        due_at=custody["due_at"],
    )


async def keep(conn: AsyncConnection, steps: Sequence[dict[str, Any]]) -> None:
    """Store steps; none is fine."""
    if steps:
        await conn.execute(insert(ReportStep), list(steps))


async def take(
    conn: AsyncConnection,
    reports: Sequence[Row],
    *,
    type: str,
    caller: Caller,
    now: datetime,
    to: str | None = None,
    due: Mapping[UUID, datetime] | None = None,
    note: str = "",
) -> list[Event]:
    """Keep one step of each of these reports, taken by the caller's office; the events that tell of it.

    `to` is who holds it since, `due` until when by report. The caller appends the events, last.
    """
    if not reports:
        return []
    due = due or {}
    steps = [
        step(
            city_id=row["city_id"],
            report_id=row["id"],
            type=type,
            at=now,
            node=caller.node,
            tier=caller.tier,
            to=to,
            due_at=due.get(row["id"]),
            note=note,
        )
        for row in reports
    ]
    await keep(conn, steps)
    holders = await _holders(conn, reports)
    events = []
    for row in reports:
        what: dict[str, Any] = {"office": caller.node}
        if to is not None:
            what["to"] = to
        if row["id"] in due:
            what["due_at"] = due[row["id"]].isoformat()
        if note:
            what["note"] = note
        also = tuple(sorted(holders[row["id"]] - {row["node_code"], row["city_id"]}))
        events.append(event(type, row, also=also, **what))
    return events


async def _holders(conn: AsyncConnection, reports: Sequence[Row]) -> dict[UUID, set[str]]:
    found: dict[UUID, set[str]] = {row["id"]: set() for row in reports}
    ids = list(found)
    for first in range(0, len(ids), AT_ONCE):
        query = select(Custody.report_id, Custody.node_code).where(
            Custody.city_id == reports[0]["city_id"], Custody.report_id.in_(ids[first : first + AT_ONCE])
        )
        for row in await conn.execute(query):
            found[row.report_id].add(row.node_code)
    return found
