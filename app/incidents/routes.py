from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.core.caller import Caller, may
from app.core.database import Reading
from app.core.paging import Cursor, Limit, Page
from app.core.tags import tagged
from app.drills.scope import DrillId
from app.hazards.catalogue import HazardName
from app.incidents import service
from app.incidents.views import IncidentStepView, IncidentView

router = APIRouter(prefix="/v1/incidents", tags=["incidents"])

Reader = Annotated[Caller, Depends(may("reports:read"))]


@router.get("")
async def list_incidents(
    caller: Reader,
    conn: Reading,
    state: Annotated[list[Literal["open", "closed"]] | None, Query(description="Any of these.")] = None,
    hazard: Annotated[list[HazardName] | None, Query(max_length=50, description="Any of these.")] = None,
    proposed: Annotated[
        bool | None, Query(description="Only those that may be one with another (true), with these, or the rest.")
    ] = None,
    aliases: Annotated[bool, Query(description="Also those that were merged into others.")] = False,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[IncidentView]:
    """Incidents of the caller's subtree, the last opened first."""
    items, after = await service.list_incidents(
        conn,
        caller=caller,
        states=state,
        hazards=hazard,
        proposed=proposed,
        aliases=aliases,
        drill_id=drill,
        limit=limit,
        cursor=cursor,
    )
    return Page(items=items, next=after)


@router.get("/{incident_id}")
async def get_incident(response: Response, caller: Reader, conn: Reading, incident_id: UUID) -> IncidentView:
    """One incident; one that was merged names the incident that has its reports now."""
    return tagged(response, await service.get(conn, caller=caller, incident_id=incident_id))


@router.get("/{incident_id}/timeline")
async def get_timeline(
    caller: Reader, conn: Reading, incident_id: UUID, limit: Limit = 100, cursor: Cursor = None
) -> Page[IncidentStepView]:
    """What offices did with the incident, the first step first: merged, split, assigned, ended."""
    items, after = await service.timeline(conn, caller=caller, incident_id=incident_id, limit=limit, cursor=cursor)
    return Page(items=items, next=after)
