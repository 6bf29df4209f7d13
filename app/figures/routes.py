import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.caller import Caller, may
from app.core.database import Snapshot
from app.core.times import Time
from app.drills.scope import DrillId
from app.figures import form, service
from app.figures.offices import Borders
from app.figures.schemas import IncidentFigures, PeriodFigures, incident_figures, period_figures
from app.hazards.catalogue import Family

router = APIRouter(prefix="/v1", tags=["incidents"])

Reader = Annotated[Caller, Depends(may("reports:read"))]
AsOf = Annotated[Time | None, Query(description="What was known at this moment; without it, now.")]
Under = Annotated[Borders, Query(description="The borders of today, or of `as_of`.")]


def _wanted(
    since: Annotated[Time, Query(alias="from", description="Incidents opened at or after.")],
    until: Annotated[Time, Query(alias="to", description="Incidents opened before.")],
    family: Family | None = None,
    hazard: Annotated[str | None, Query(pattern=r"^[a-z._]{1,40}$")] = None,
    drill: DrillId = None,
) -> service.Wanted:
    return service.Wanted(since, until, family, hazard, drill)


Wanted = Annotated[service.Wanted, Depends(_wanted)]


@router.get("/incidents/{incident_id}/figures")
async def get_incident_figures(
    request: Request, caller: Reader, conn: Snapshot, incident_id: UUID, as_of: AsOf = None, borders: Under = "today"
) -> IncidentFigures:
    """One incident's figures, rolled up the caller's subtree, as they were known at a moment."""
    now = request.app.state.clock.now()
    found = await service.of_incident(
        conn, caller=caller, incident_id=incident_id, as_of=as_of, borders=borders, now=now
    )
    return incident_figures(*found)


@router.get("/figures")
async def get_figures(
    request: Request, caller: Reader, conn: Snapshot, wanted: Wanted, as_of: AsOf = None, borders: Under = "today"
) -> PeriodFigures:
    """The figures of all incidents of a period, rolled up the caller's subtree, as they were known at a moment."""
    now = request.app.state.clock.now()
    found = await service.of_period(conn, caller=caller, wanted=wanted, as_of=as_of, borders=borders, now=now)
    return period_figures(wanted.since, wanted.until, found)


@router.get("/export/figures.csv", response_class=Response, responses={200: {"content": {form.CSV: {}}}})
async def export_csv(
    request: Request, caller: Reader, conn: Snapshot, wanted: Wanted, as_of: AsOf = None, borders: Under = "today"
) -> Response:
    """The same in the form of the statutory report, as CSV."""
    return await _export(request, caller, conn, wanted, as_of, borders, "csv")


@router.get("/export/figures.xlsx", response_class=Response, responses={200: {"content": {form.XLSX: {}}}})
async def export_xlsx(
    request: Request, caller: Reader, conn: Snapshot, wanted: Wanted, as_of: AsOf = None, borders: Under = "today"
) -> Response:
    """The same in the form of the statutory report, as XLSX."""
    return await _export(request, caller, conn, wanted, as_of, borders, "xlsx")


async def _export(
    request: Request,
    caller: Caller,
    conn: Snapshot,
    wanted: service.Wanted,
    as_of: Time | None,
    borders: Borders,
    kind: Literal["csv", "xlsx"],
) -> Response:
    now = request.app.state.clock.now()
    found = await service.of_period(conn, caller=caller, wanted=wanted, as_of=as_of, borders=borders, now=now)
    write = form.as_csv if kind == "csv" else form.as_xlsx
    body = await asyncio.to_thread(write, form.form(wanted, found))
    return Response(
        body,
        media_type=form.CSV if kind == "csv" else form.XLSX,
        headers={"Content-Disposition": form.disposition(found, kind)},
    )
