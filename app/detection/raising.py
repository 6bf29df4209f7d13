"""What an alarm causes: its row, the alert of its incident by policy, and an event in the city's log."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.found import raise_on
from app.core.database import among
from app.core.ids import new_id
from app.detection.lookout import Finding
from app.detection.models import Alarm
from app.detection.views import alarm_view
from app.drills import service as drills
from app.feed import service as feed
from app.feed.service import Event
from app.hazards.policy import Policy
from app.incidents.models import Incident

TOPIC = "alarm"


async def raise_alarms(
    conn: AsyncConnection, city_id: str, findings: Sequence[Finding], policy: Policy, now: datetime
) -> None:
    """Store the alarms, raise by policy what they concern, and tell of them in the log."""
    if not findings:
        return
    level = policy.detection.raises
    alerts: dict[str, UUID] = {}
    operations: list[list[Event]] = []
    if level is not None:
        await _lock_incidents(conn, city_id, findings)
        running = {
            drill_id: await drills.find(conn, city_id=city_id, drill_id=drill_id)
            for drill_id in {one.seen.drill_id for one in findings}
            if drill_id is not None
        }
        for one in findings:
            drill = running.get(one.seen.drill_id) if one.seen.drill_id is not None else None
            if drill is not None and drill.ended_at is not None:
                continue
            raised = await raise_on(
                conn,
                incident_id=one.seen.incident_id,
                city_id=city_id,
                level=level,
                reasons=[{"rule": one.rule, "text": one.sentence, "text_zh": one.sentence_zh}],
                origin="detection",
                drill=drill,
                policy=policy,
                now=now,
            )
            alerts[one.key] = raised.alert_id
            if raised.events:
                operations.append(raised.events)
    rows = [_row(city_id, one, alerts.get(one.key), str(level) if level else None, now) for one in findings]
    await conn.execute(insert(Alarm), rows)
    operations += [
        [
            Event(
                "alarm.raised",
                TOPIC,
                row["id"],
                1,
                row["node_code"],
                alarm_view(row).model_dump(mode="json"),
                drill_id=row["drill_id"],
            )
        ]
        for row in rows
    ]
    await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def _lock_incidents(conn: AsyncConnection, city_id: str, findings: Sequence[Finding]) -> None:
    # All at once and in the order of every writer, before the first of them takes the log's head row.
    incidents = sorted({one.seen.incident_id for one in findings})
    await conn.execute(
        select(Incident.id)
        .where(Incident.city_id == city_id, among(conn.dialect.name, Incident.id, "ids"))
        .order_by(Incident.id)
        .with_for_update(),
        {"ids": incidents},
    )


def _row(city_id: str, one: Finding, alert_id: UUID | None, level: str | None, now: datetime) -> dict[str, Any]:
    sighting = one.seen.sighting
    return {
        "city_id": city_id,
        "id": new_id(),
        "key": one.key,
        "rule": one.rule,
        "family": one.family,
        "hazard": one.hazard,
        "node_code": one.node,
        "day": one.day,
        "observed": one.observed,
        "expected": one.expected,
        "limit": one.limit,
        "sentence": one.sentence,
        "sentence_zh": one.sentence_zh,
        "report_id": sighting.id,
        "reports": [str(report) for report in one.reports],
        "seen_at": sighting.at,
        "lat": sighting.lat,
        "lon": sighting.lon,
        "incident_id": one.seen.incident_id,
        "alert_id": alert_id,
        "level": level if alert_id else None,
        "raised_at": now,
        "drill_id": one.seen.drill_id,
    }
