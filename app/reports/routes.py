from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.caller import Caller, may
from app.core.database import Reading, Snapshot, database_of
from app.core.paging import Cursor, Limit
from app.core.times import Time
from app.drills.scope import DrillId
from app.feed import cursors
from app.feed import service as feed
from app.feed.heads import heads_of
from app.hazards.cap import Level
from app.nodes.models import CODE_PATTERN
from app.reports import service, versions
from app.reports.versions import Versions
from app.reports.views import ReportChanges, ReportList, ReportView

router = APIRouter(prefix="/v1/reports", tags=["reports"])

Reader = Annotated[Caller, Depends(may("reports:read"))]


@router.get("")
async def list_reports(
    caller: Reader,
    conn: Snapshot,
    node: Annotated[str | None, Query(pattern=CODE_PATTERN, description="This node and all under it.")] = None,
    level: Level | None = None,
    hazard: Annotated[str | None, Query(pattern=r"^[a-z._]{1,40}$", description="A hazard or a family.")] = None,
    since: Annotated[Time | None, Query(description="Received at or after.")] = None,
    until: Annotated[Time | None, Query(description="Received before.")] = None,
    incident: UUID | None = None,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ReportList:
    """Reports of the caller's subtree, the last received first; `cursor` is where to follow the changes from."""
    head = await feed.head(conn, city_id=caller.city_id)
    filters = service.Filters(node, level, hazard, since, until, incident, drill)
    items, after = await service.list_reports(conn, caller=caller, filters=filters, limit=limit, cursor=cursor)
    return ReportList(items=items, next=after, cursor=cursors.encode(head.position))


@router.get("/changes")
async def follow_changes(
    request: Request,
    response: Response,
    caller: Reader,
    since: Annotated[str | None, Query(max_length=512, description="`cursor` of the answer before.")] = None,
    limit: Limit = 100,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for something to happen.")] = 0,
    drill: DrillId = None,
) -> ReportChanges:
    """What became of reports after a cursor, in order, at least once; without one, from the log's beginning."""
    response.headers["Cache-Control"] = "private, no-store"
    return await service.changes(
        database_of(request),
        heads_of(request),
        caller=caller,
        since=since,
        limit=limit,
        wait=wait,
        drill_id=drill,
    )


@router.get("/{report_id}")
async def get_report(request: Request, caller: Reader, report_id: UUID) -> ReportView:
    """One report. Read by a person at a desk that holds it, it is opened there."""
    return await service.open_report(
        database_of(request), caller=caller, report_id=report_id, now=request.app.state.clock.now()
    )


@router.get("/{report_id}/versions")
async def list_versions(caller: Reader, conn: Reading, report_id: UUID) -> Versions:
    """All that a report has said, the first version first; the last one stands."""
    return Versions(items=await versions.of_report(conn, caller=caller, report_id=report_id))
