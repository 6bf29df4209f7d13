from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from app.core.caller import Caller, may
from app.core.database import Snapshot, database_of
from app.core.paging import Cursor, Limit, Page
from app.core.times import Time
from app.drills.scope import DrillId
from app.hazards.cap import Level
from app.nodes.models import CODE_PATTERN
from app.reports import service
from app.reports.views import ReportView

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
) -> Page[ReportView]:
    """Reports of the caller's subtree, the last received first."""
    filters = service.Filters(node, level, hazard, since, until, incident, drill)
    items, after = await service.list_reports(conn, caller=caller, filters=filters, limit=limit, cursor=cursor)
    return Page(items=items, next=after)


@router.get("/{report_id}")
async def get_report(request: Request, caller: Reader, report_id: UUID) -> ReportView:
    """One report. Read by a person at a desk that holds it, it is opened there."""
    return await service.open_report(
        database_of(request), caller=caller, report_id=report_id, now=request.app.state.clock.now()
    )
