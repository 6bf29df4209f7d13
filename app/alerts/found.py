"""Alerts that no report asked for: what a machine found, by silence or by counting.

Each answers the events it causes instead of appending them: the log's numbers are taken once and last, however many
alerts one transaction raises.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import raising
from app.alerts import service as alerts
from app.alerts.acting import Done, closing, step_row, write
from app.alerts.models import Alert, AlertStep
from app.alerts.raising import Change, Said
from app.core.clock import day_of
from app.core.ids import new_id
from app.drills.service import DrillRow
from app.feed.service import Event
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.incidents import service as incidents
from app.nodes import lookup
from app.nodes.lookup import Place
from app.reports import custody

HEADLINE = 140
Reasons = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Found:
    """The alert that stands, and the events to append as one operation; none when it stood already."""

    alert_id: UUID
    events: list[Event]


async def raise_found(
    conn: AsyncConnection,
    *,
    place: Place,
    hazard: str,
    level: Level,
    reasons: Reasons,
    headline: str,
    origin: str,
    drill: DrillRow | None,
    policy: Policy,
    now: datetime,
) -> Found:
    """Raise an alert on an incident that nobody has reported, opening it when it is not open yet."""
    incident, is_new = await incidents.find_or_open(
        conn, place=place, hazard=hazard, level=level, headline=headline[:HEADLINE], origin=origin, drill=drill, now=now
    )
    before = [incidents.opened(incident)] if is_new else []
    return await _raise(
        conn, incident, place, Said(level, list(reasons), headline[:HEADLINE]), origin, drill, policy, now, before
    )


async def raise_on(
    conn: AsyncConnection,
    *,
    incident_id: UUID,
    city_id: str,
    level: Level,
    reasons: Reasons,
    origin: str,
    drill: DrillRow | None = None,
    policy: Policy,
    now: datetime,
) -> Found:
    """Raise the alert of a known incident, or its level; one that is as grave already stays as it is.

    Of an incident that was merged meanwhile it is the alert of what that is part of.
    """
    incident = await incidents.locked(conn, city_id=city_id, incident_id=incident_id)
    if incident["merged_into"] is not None:
        incident = await incidents.locked(conn, city_id=city_id, incident_id=incident["merged_into"])
    place = (await lookup.places(conn, {incident["node_code"]}))[incident["node_code"]]
    said = Said(level, list(reasons), incident["headline"])
    return await _raise(conn, incident, place, said, origin, drill, policy, now, [])


async def end_found(
    conn: AsyncConnection, *, city_id: str, alert_id: UUID, text: str, text_zh: str, now: datetime
) -> list[Event]:
    """Close an alert, since what was found is over; the events. On a closed alert nothing happens."""
    found = select(*alerts.COLUMNS).where(Alert.city_id == city_id, Alert.id == alert_id).with_for_update()
    row = (await conn.execute(found)).one()._asdict()
    if row["state"] == "closed":
        return []
    await custody.spare(conn, city_id=city_id, alerts=[alert_id])
    done = Done("alert.closed", closing(text_zh, now), text, text_zh)
    _, events = await write(conn, row, [done], place=None, now=now)
    return events


async def _raise(
    conn: AsyncConnection,
    incident: Any,
    place: Place,
    said: Said,
    origin: str,
    drill: DrillRow | None,
    policy: Policy,
    now: datetime,
    before: Sequence[Event],
) -> Found:
    current = (await alerts.active(conn, city_id=place.city_id, incidents=[incident["id"]])).get(incident["id"])
    if current is not None and said.level.rank <= Level(current["level"]).rank:
        return Found(current["id"], list(before))
    tempo = policy.tempo(day_of(now)) / (drill.pace if drill else 1.0)
    change = raising.next_alert(
        current,
        [said],
        alert_id=new_id(),
        incident_id=incident["id"],
        hazard=incident["hazard"],
        place=raising.Place(place.city_id, place.code, place.name, place.path, incident["nodes"]),
        reports=incident["reports"],
        # What a machine found is an alert at any level.
        rules=replace(raising.Rules.of(policy, tempo), levels=frozenset(Level)),
        now=now,
        drill_id=incident["drill_id"],
        origin=origin,
    )
    assert change is not None
    await alerts.store(conn, [change.row])
    await store_steps(conn, [change], now=now)
    return Found(change.row["id"], [*before, alerts.event(change.event, change.row)])


async def store_steps(conn: AsyncConnection, changes: Sequence[Change], *, now: datetime) -> None:
    """Note in their timelines that these alerts were raised again, or higher."""
    rows = [
        step_row(change.row, Done(change.event, {}, reason["text"], reason["text_zh"]), place=None, at=now)
        for change in changes
        if change.event in ("alert.rearmed", "alert.upgraded")
        for reason in change.row["reasons"][:1]
    ]
    if rows:
        await conn.execute(insert(AlertStep), rows)
