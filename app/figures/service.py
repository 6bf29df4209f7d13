"""Figures at a moment: what was known then, of the incidents that the reports then belonged to, rolled up the tree."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.figures import statements
from app.figures.offices import Borders, Office, Offices, offices
from app.figures.rollup import Cell, Statement, Total, add_up, roll_up
from app.hazards.catalogue import HAZARDS
from app.incidents import service as incidents
from app.incidents.models import Incident, IncidentMove

Value = TypeVar("Value", Cell, Total)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which incidents' figures: opened at or after `since` and before `until`, real or of one drill."""

    since: datetime
    until: datetime
    family: str | None = None
    hazard: str | None = None
    drill: UUID | None = None


@dataclass(frozen=True, slots=True)
class Row(Generic[Value]):
    """One office with its figures."""

    office: Office
    figures: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Rolled(Generic[Value]):
    """Figures of the caller's subtree: its own office first (the total), then towns, each before its villages."""

    as_of: datetime
    borders: Borders
    day: date
    incidents: int
    reports: int
    left_out: int
    rows: Sequence[Row[Value]]


async def of_incident(
    conn: AsyncConnection,
    *,
    caller: Caller,
    incident_id: UUID,
    as_of: datetime | None,
    borders: Borders,
    now: datetime,
) -> tuple[UUID, Rolled[Cell]]:
    """One incident's figures as they were known at `as_of`, and the incident that they are of.

    An alias answers for the incident that it was merged into, from the merge on. A Problem (404) for an incident that
    the caller may not see. `conn` must read one snapshot.
    """
    row = await incidents.find(conn, caller=caller, incident_id=incident_id)
    moment = _moment(as_of, now)
    asked = await _stands_for(conn, row, moment)
    wanted = select(Incident.id).where(Incident.city_id == caller.city_id, Incident.id == asked)
    found = await statements.of_incidents(conn, caller=caller, wanted=wanted, moment=moment)
    said = found.get(asked, [])
    day = day_of(now if borders == "today" else moment)
    places = await offices(conn, caller=caller, said=said, on=day, borders=borders)
    cells = roll_up(said, places.tree)
    return asked, _rolled(places, cells, borders=borders, day=day, moment=moment, said=[said])


async def of_period(
    conn: AsyncConnection,
    *,
    caller: Caller,
    wanted: Wanted,
    as_of: datetime | None,
    borders: Borders,
    now: datetime,
) -> Rolled[Total]:
    """The figures of all incidents of a period together, as they were known at `as_of`.

    Different incidents add; within one nothing does. A Problem (400) when the period is none or has more incidents or
    reports than are added up at once. `conn` must read one snapshot.
    """
    if wanted.since >= wanted.until:
        raise Problem(problems.PERIOD_WRONG)
    moment = _moment(as_of, now)
    found = await statements.of_incidents(conn, caller=caller, wanted=_of_period(caller, wanted), moment=moment)
    said = [one for group in found.values() for one in group]
    day = day_of(now if borders == "today" else moment)
    places = await offices(conn, caller=caller, said=said, on=day, borders=borders)
    groups = list(found.values())
    totals = await asyncio.to_thread(lambda: add_up([roll_up(group, places.tree) for group in groups]))
    return _rolled(places, totals, borders=borders, day=day, moment=moment, said=groups)


def _moment(as_of: datetime | None, now: datetime) -> datetime:
    # What will be known later is not known: a moment ahead is now.
    return now if as_of is None else min(as_of, now)


def _of_period(caller: Caller, wanted: Wanted) -> Select[UUID]:
    query = select(Incident.id).where(
        Incident.city_id == caller.city_id,
        Incident.opened_at >= wanted.since,
        Incident.opened_at < wanted.until,
        of_drill(Incident, wanted.drill),
    )
    if wanted.family is not None:
        query = query.where(Incident.hazard.in_(sorted(h.code for h in HAZARDS.values() if h.family == wanted.family)))
    if wanted.hazard is not None:
        query = query.where(Incident.hazard == wanted.hazard)
    return query


async def _stands_for(conn: AsyncConnection, row: Mapping[str, Any], moment: datetime) -> UUID:
    """The incident that had this one's reports at a moment: itself, or the one that it was merged into by then."""
    mine: UUID = row["id"]
    into: UUID | None = row["merged_into"]
    if into is None:
        return mine
    moves = select(func.max(IncidentMove.at)).where(
        IncidentMove.city_id == row["city_id"], IncidentMove.from_incident == mine, IncidentMove.to_incident == into
    )
    merged_at = (await conn.execute(moves)).scalar_one_or_none()
    return mine if merged_at is not None and merged_at > moment else into


def _rolled(
    places: Offices,
    figures: Mapping[str, Mapping[str, Value]],
    *,
    borders: Borders,
    day: date,
    moment: datetime,
    said: Sequence[Sequence[Statement]],
) -> Rolled[Value]:
    return Rolled(
        as_of=moment,
        borders=borders,
        day=day,
        incidents=sum(1 for group in said if group),
        reports=sum(map(len, said)),
        left_out=places.left_out,
        rows=[Row(office, figures.get(office.code, {})) for office in places.shown],
    )
