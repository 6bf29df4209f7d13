"""The incidents that an office acts on, with all that belongs to them, held until the transaction ends.

Locks are taken in everybody's order: the drill, the activity of the towns and families (so that intake waits its turn),
the incidents by id, their alerts by id, their reports by id.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert
from app.core import problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.drills import service as drills
from app.drills.service import DrillRow
from app.hazards.cap import Level
from app.hazards.catalogue import HAZARDS
from app.incidents import service as incidents
from app.incidents.models import Incident, IncidentMove, IncidentStep
from app.matters.recount import Telling
from app.matters.returning import Moved
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.models import Node
from app.nodes.scope import visible
from app.reports import service as reports
from app.reports.models import Report, ReportVersion

HEADLINE = 140
NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """The incidents that were named and their aliases, by id; the caller's office; the drill they belong to."""

    rows: dict[UUID, Row]
    aliases: dict[UUID, list[UUID]]
    place: Place
    drill: DrillRow | None


async def hold(conn: AsyncConnection, *, caller: Caller, incident_id: UUID, **others: UUID) -> Held:
    """Hold an incident that the caller may see, and others, each named by the field that it came in.

    A Problem (404) for the incident, (422) for the others; (422) when the drill that they belong to has ended.
    """
    ids = {incident_id, *others.values()}
    seen = {row.id: row for row in await conn.execute(incidents.readable(caller).where(Incident.id.in_(ids)))}
    if incident_id not in seen:
        raise Problem(problems.NOT_FOUND)
    for field, other in others.items():
        if other not in seen:
            raise Problem(problems.INCIDENT_UNKNOWN, pointer=f"/{field}", incident=other)
    drill = await _running(conn, caller.city_id, seen[incident_id].drill_id)
    await _take_turn(conn, caller.city_id, list(seen.values()))
    rows = await conn.execute(
        select(*incidents.COLUMNS)
        .where(Incident.city_id == caller.city_id, or_(Incident.id.in_(ids), Incident.merged_into.in_(ids)))
        .order_by(Incident.id)
        .with_for_update()
    )
    held = {row.id: row._asdict() for row in rows}
    aliases: dict[UUID, list[UUID]] = defaultdict(list)
    for row in held.values():
        if row["merged_into"] is not None:
            aliases[row["merged_into"]].append(row["id"])
    return Held(held, aliases, (await lookup.places(conn, {caller.node}))[caller.node], drill)


async def must_stand_above(conn: AsyncConnection, *, caller: Caller, rows: Sequence[Row]) -> None:
    """A Problem (403) unless all of it lies in the caller's subtree, and the caller is no village."""
    if caller.tier == "city":
        return
    nodes = {node for row in rows for node in (*row["nodes"], row["node_code"])}
    mine = await conn.execute(select(Node.code).where(Node.code.in_(sorted(nodes)), visible(caller, Node, Node.code)))
    beyond = nodes - set(mine.scalars())
    if beyond:
        raise Problem(problems.INCIDENT_BEYOND, node=min(beyond))
    if caller.tier == "village":
        raise Problem(problems.DESK_ABOVE)


def must_stand(row: Row) -> None:
    """A Problem (409) when the incident is part of another one."""
    if row["merged_into"] is not None:
        raise Problem(
            problems.INCIDENT_MERGED,
            incident=row["id"],
            into=row["merged_into"],
            extra={"merged_into": str(row["merged_into"])},
        )


async def alerts_of(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> dict[UUID, Row]:
    """By incident: its alert that is not closed."""
    rows = await conn.execute(
        select(*Alert.__table__.columns)
        .where(Alert.city_id == city_id, Alert.incident_id.in_(list(ids)), Alert.state != "closed")
        .order_by(Alert.id)
        .with_for_update()
    )
    return {row.incident_id: row._asdict() for row in rows}


async def reports_of(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> dict[UUID, list[Row]]:
    """By incident: the rows of its reports, by id."""
    # The lock lets pass those who open a report, who lock their custody only and keep a step of it.
    rows = await conn.execute(
        select(*Report.__table__.columns)
        .where(Report.city_id == city_id, Report.incident_id.in_(list(ids)))
        .order_by(Report.id)
        .with_for_update(key_share=True)
    )
    found: dict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.incident_id].append(row._asdict())
    return found


async def tellings_of(
    conn: AsyncConnection, *, city_id: str, found: dict[UUID, list[Row]]
) -> dict[UUID, list[Telling]]:
    """By report: all that it told, its earlier versions too."""
    reports = {row["id"]: row for rows in found.values() for row in rows}
    told = {key: [_telling(row, row["corrected_at"] or since(row), row)] for key, row in reports.items()}
    rows = await conn.execute(
        select(ReportVersion.report_id, ReportVersion.since, ReportVersion.level, ReportVersion.observed_at)
        .join(Report, and_(Report.city_id == ReportVersion.city_id, Report.id == ReportVersion.report_id))
        .where(ReportVersion.city_id == city_id, Report.city_id == city_id, Report.incident_id.in_(list(found)))
    )
    for before in rows:
        told[before.report_id].append(_telling(reports[before.report_id], before.since, before._asdict()))
    return told


def since(row: Row) -> datetime:
    """When a report became known."""
    known: datetime = row["released_at"] or row["received_at"]
    return known


async def moves_of(conn: AsyncConnection, *, city_id: str, incident_id: UUID) -> dict[UUID, list[Moved]]:
    """By report of the incident: every move that it has made, in order."""
    inside = select(Report.id).where(Report.city_id == city_id, Report.incident_id == incident_id)
    rows = await conn.execute(
        select(IncidentMove.report_id, IncidentMove.at, IncidentMove.from_incident, IncidentMove.to_incident)
        .where(IncidentMove.city_id == city_id, IncidentMove.report_id.in_(inside))
        .order_by(IncidentMove.id)
    )
    found: dict[UUID, list[Moved]] = defaultdict(list)
    for report_id, at, of, to in rows:
        found[report_id].append(Moved(at, of, to))
    return found


async def steps_of(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> list[Row]:
    """The steps of these incidents, in order."""
    rows = await conn.execute(
        select(*IncidentStep.__table__.columns)
        .where(IncidentStep.city_id == city_id, IncidentStep.incident_id.in_(list(ids)))
        .order_by(IncidentStep.id)
    )
    return [row._asdict() for row in rows]


async def _running(conn: AsyncConnection, city_id: str, drill_id: UUID | None) -> DrillRow | None:
    if drill_id is None:
        return None
    # Held: a drill that ends meanwhile would leave open what this transaction opens.
    drill = await drills.find(conn, city_id=city_id, drill_id=drill_id, hold=True)
    if drill is None or drill.ended_at is not None:
        raise Problem(problems.DRILL_ENDED, drill=drill_id)
    return drill


async def _take_turn(conn: AsyncConnection, city_id: str, rows: Sequence[Any]) -> None:
    """Wait for intake, and let it wait, in the towns of these incidents."""
    places = await lookup.places(conn, {node for row in rows for node in (*row.nodes, row.node_code)})
    families = {HAZARDS[row.hazard].family for row in rows if row.hazard in HAZARDS}
    turns = {(place.town_code or city_id, family) for place in places.values() for family in families}
    if turns:
        await reports.note_activity(
            conn,
            [
                {
                    "city_id": city_id,
                    "town_code": town,
                    "family": family,
                    "node_code": town,
                    "last_received_at": NEVER,
                }
                for town, family in turns
            ],
        )


def _telling(report: Row, at: datetime, said: Row) -> Telling:
    headline = report["summary"][:HEADLINE]
    return Telling(report["id"], report["node_code"], at, Level(said["level"]), said["observed_at"], headline)
