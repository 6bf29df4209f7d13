"""What reports said at a moment: the version that was known then, under the incident that they belonged to then."""

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.figures.rollup import Statement
from app.incidents.models import IncidentMove
from app.nodes.scope import visible
from app.reports.models import Report, ReportVersion

# More than a year of a city; beyond it a period is asked for in parts.
MOST_INCIDENTS = 2_000
MOST_REPORTS = 20_000

# When a report's first version could be known: what was held in quarantine, only once it was released.
_KNOWN = func.coalesce(Report.released_at, Report.received_at)


async def of_incidents(
    conn: AsyncConnection, *, caller: Caller, wanted: Select[UUID], moment: datetime
) -> dict[UUID, list[Statement]]:
    """By incident: what the caller may see of the reports that belonged to the `wanted` incidents at `moment`.

    `wanted` is a query for their ids. Three statements, however many they are. A Problem (400) when they are more
    incidents or reports than are added up at once: nothing is cut.
    """
    city_id = caller.city_id
    moved_away = and_(IncidentMove.city_id == city_id, IncidentMove.at > moment, IncidentMove.from_incident.in_(wanted))
    reports = and_(
        visible(caller, Report),
        moment >= _KNOWN,
        or_(Report.incident_id.in_(wanted), Report.id.in_(select(IncidentMove.report_id).where(moved_away))),
    )
    present = (
        await conn.execute(
            select(
                Report.id,
                Report.version,
                Report.node_code,
                Report.kind,
                Report.observed_at,
                Report.submitted_at,
                Report.corrected_at,
                Report.figures,
                Report.incident_id,
                Report.incident_id.in_(wanted).label("inside"),
            )
            .where(reports)
            .limit(MOST_REPORTS + 1)
        )
    ).all()
    if len(present) > MOST_REPORTS:
        raise _too_many()
    before = await _versions_before(conn, city_id, reports, moment)
    moved = await _moved_since(conn, city_id, reports, wanted, moment)
    found: dict[UUID, list[Statement]] = defaultdict(list)
    for row in present:
        incident, inside = moved.get(row.id, (row.incident_id, row.inside))
        if not inside:
            continue
        said = before.get(row.id, row)
        found[incident].append(
            Statement(row.id, said.version, row.node_code, said.kind, said.observed_at, said.submitted_at, said.figures)
        )
    if len(found) > MOST_INCIDENTS:
        raise _too_many()
    return dict(found)


def _too_many() -> Problem:
    return Problem(problems.FIGURES_TOO_MANY, incidents=MOST_INCIDENTS, reports=MOST_REPORTS)


async def _versions_before(conn: AsyncConnection, city_id: str, reports: Any, moment: datetime) -> dict[UUID, Any]:
    """Of the reports that were corrected since: the version that held at the moment."""
    rows = await conn.execute(
        select(
            ReportVersion.report_id,
            ReportVersion.version,
            ReportVersion.kind,
            ReportVersion.observed_at,
            ReportVersion.submitted_at,
            ReportVersion.figures,
        )
        .join(Report, and_(Report.city_id == ReportVersion.city_id, Report.id == ReportVersion.report_id))
        .where(ReportVersion.city_id == city_id, ReportVersion.since <= moment, ReportVersion.until > moment, reports)
    )
    return {row.report_id: row for row in rows}


async def _moved_since(
    conn: AsyncConnection, city_id: str, reports: Any, wanted: Select[UUID], moment: datetime
) -> dict[UUID, tuple[UUID, bool]]:
    """Of the reports that were moved since: the incident that they were in at the moment, and whether it is wanted."""
    rows = await conn.execute(
        select(
            IncidentMove.report_id, IncidentMove.from_incident, IncidentMove.from_incident.in_(wanted).label("inside")
        )
        .join(Report, and_(Report.city_id == IncidentMove.city_id, Report.id == IncidentMove.report_id))
        .where(IncidentMove.city_id == city_id, IncidentMove.at > moment, reports)
        # The first move since then tells where it was.
        .order_by(IncidentMove.at.desc(), IncidentMove.id.desc())
    )
    return {row.report_id: (row.from_incident, bool(row.inside)) for row in rows}
