"""What a merge or a split writes: the incidents, their steps, the moves of their reports, the log."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.ids import new_id
from app.feed import service as feed
from app.feed.service import Event
from app.incidents.events import event
from app.incidents.models import Incident, IncidentMove, IncidentStep
from app.nodes.lookup import Place
from app.reports.events import event as report_event
from app.reports.models import Report

Row = dict[str, Any]


@dataclass(slots=True)
class Log:
    """What has happened so far in this transaction: appended once, last."""

    place: Place
    now: datetime
    events: list[Event] = field(default_factory=list)
    moved: list[Event] = field(default_factory=list)

    async def append(self, conn: AsyncConnection, *, city_id: str) -> None:
        """Append it: what happened to incidents and alerts as one operation, then each report that was moved."""
        await feed.append(conn, city_id=city_id, operations=[self.events, *([one] for one in self.moved)], now=self.now)


async def change(conn: AsyncConnection, row: Row, **changes: Any) -> Row:
    """Write the next version of an incident that is held; its row."""
    changed = {**row, **changes, "version": row["version"] + 1}
    await conn.execute(
        update(Incident)
        .where(Incident.city_id == row["city_id"], Incident.id == row["id"])
        .values({key: value for key, value in changed.items() if value is not row[key]})
    )
    return changed


async def note(
    conn: AsyncConnection,
    log: Log,
    row: Row,
    *,
    kind: str,
    text: str,
    text_zh: str,
    other: UUID | None = None,
    kept: dict[str, Any] | None = None,
    **what: Any,
) -> None:
    """Note a step of an incident in its timeline, and what the log will tell of it."""
    step = {
        "city_id": row["city_id"],
        "id": new_id(),
        "incident_id": row["id"],
        "at": log.now,
        "type": kind,
        "node_code": log.place.code,
        "tier": log.place.tier,
        "other_id": other,
        "text": text,
        "text_zh": text_zh,
        "kept": kept,
    }
    await conn.execute(insert(IncidentStep), step)
    told = {"other": str(other)} if other else {}
    log.events.append(event(kind, row, office=log.place.code, text=text, text_zh=text_zh, **told, **what))


async def move(conn: AsyncConnection, log: Log, reports: Sequence[Row], *, to: UUID, reason: str) -> None:
    """Move these reports to another incident; what they said and the alert that told of them stay as they are."""
    if not reports:
        return
    city_id = reports[0]["city_id"]
    ids = [row["id"] for row in reports]
    for some in _slices(ids):
        await conn.execute(update(Report).where(Report.city_id == city_id, Report.id.in_(some)).values(incident_id=to))
    await conn.execute(
        insert(IncidentMove),
        [
            {
                "city_id": city_id,
                "id": new_id(),
                "report_id": row["id"],
                "from_incident": row["incident_id"],
                "to_incident": to,
                "at": log.now,
            }
            for row in reports
        ],
    )
    for row in reports:
        went: dict[str, Any] = {"from": str(row["incident_id"]), "to": str(to)}
        log.moved.append(
            report_event("report.moved", {**row, "incident_id": to}, office=log.place.code, reason=reason, **went)
        )


def _slices(ids: Sequence[UUID], most: int = 500) -> list[Collection[UUID]]:
    """So few at a time that every database takes them in one statement."""
    return [ids[at : at + most] for at in range(0, len(ids), most)]
