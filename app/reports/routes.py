from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.caller import Caller, may
from app.core.database import Reading, Snapshot, Writing, database_of
from app.core.paging import Cursor, Limit, Page
from app.core.tags import IfMatch, tagged
from app.core.texts import clean
from app.core.times import Time
from app.drills.scope import DrillId
from app.feed import cursors
from app.feed import service as feed
from app.feed.heads import heads_of
from app.hazards.cap import Level
from app.hazards.catalogue import HazardName
from app.nodes.models import CODE_PATTERN
from app.reports import acting, holding, service, timeline, versions
from app.reports.schemas import Forward, Note, Question
from app.reports.versions import Versions
from app.reports.views import HeldView, ReportActed, ReportChanges, ReportList, ReportView, StepList

router = APIRouter(prefix="/v1/reports", tags=["reports"])

held = APIRouter(prefix="/v1/custody", tags=["reports"])

Reader = Annotated[Caller, Depends(may("reports:read"))]
Desk = Annotated[Caller, Depends(may("alerts:act"))]


@router.get("")
async def list_reports(
    caller: Reader,
    conn: Snapshot,
    node: Annotated[str | None, Query(pattern=CODE_PATTERN, description="This node and all under it.")] = None,
    level: Annotated[list[Level] | None, Query(description="Any of these.")] = None,
    hazard: Annotated[
        list[HazardName] | None, Query(max_length=50, description="Any of these hazards or families.")
    ] = None,
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
        request.app.state.clock,
        caller=caller,
        since=since,
        limit=limit,
        wait=wait,
        drill_id=drill,
    )


@router.get("/{report_id}")
async def get_report(request: Request, response: Response, caller: Reader, report_id: UUID) -> ReportView:
    """One report. Read by a person at a desk that holds it, it is opened there."""
    return tagged(
        response,
        await service.open_report(
            database_of(request),
            policy=request.app.state.policy,
            caller=caller,
            report_id=report_id,
            now=request.app.state.clock.now(),
        ),
    )


@router.get("/{report_id}/versions")
async def list_versions(caller: Reader, conn: Reading, report_id: UUID) -> Versions:
    """All that a report has said, the first version first; the last one stands."""
    return Versions(items=await versions.of_report(conn, caller=caller, report_id=report_id))


@router.get("/{report_id}/timeline")
async def get_timeline(caller: Reader, conn: Reading, report_id: UUID) -> StepList:
    """The report's way through the offices: who received, opened, took on, asked back, passed on, and until when."""
    return StepList(items=await timeline.of_report(conn, caller=caller, report_id=report_id))


@router.post("/{report_id}/acknowledge")
async def acknowledge_report(
    request: Request,
    response: Response,
    caller: Desk,
    conn: Writing,
    report_id: UUID,
    body: Note | None = None,
    version: IfMatch = None,
) -> ReportActed:
    """Take on a report that the caller's office holds."""
    note = _clean(body.note, "/note") if body else ""
    return tagged(
        response,
        await acting.acknowledge(
            conn, caller=caller, report_id=report_id, note=note, version=version, now=_now(request)
        ),
    )


@router.post("/{report_id}/return")
async def return_report(
    request: Request,
    response: Response,
    caller: Desk,
    conn: Writing,
    report_id: UUID,
    body: Question,
    version: IfMatch = None,
) -> ReportActed:
    """Ask back: the office that gave the report, or filed it, holds it with the question."""
    return tagged(
        response,
        await acting.give_back(
            conn,
            policy=request.app.state.policy,
            caller=caller,
            report_id=report_id,
            question=_clean(body.question, "/question", required=True),
            version=version,
            now=_now(request),
        ),
    )


@router.post("/{report_id}/forward")
async def forward_report(
    request: Request,
    response: Response,
    caller: Desk,
    conn: Writing,
    report_id: UUID,
    body: Forward,
    version: IfMatch = None,
) -> ReportActed:
    """Pass it on with a note: up, right below, or from the city to any of its offices, which may read it since."""
    return tagged(
        response,
        await acting.forward(
            conn,
            policy=request.app.state.policy,
            caller=caller,
            report_id=report_id,
            to=body.to,
            note=_clean(body.note, "/note"),
            version=version,
            now=_now(request),
        ),
    )


@held.get("")
async def list_held(
    request: Request,
    caller: Reader,
    conn: Reading,
    overdue: Annotated[bool | None, Query(description="Past its time: unopened, or opened and not taken on.")] = None,
    state: Literal["received", "opened", "acknowledged", "forwarded"] | None = None,
    node: Annotated[str | None, Query(pattern=CODE_PATTERN, description="What this office holds.")] = None,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[HeldView]:
    """What the offices of the caller's subtree hold; what was to be opened first comes first."""
    items, after = await holding.list_held(
        conn,
        caller=caller,
        overdue=overdue,
        state=state,
        node=node,
        drill_id=drill,
        limit=limit,
        cursor=cursor,
        now=_now(request),
    )
    return Page(items=items, next=after)


def _now(request: Request) -> datetime:
    now: datetime = request.app.state.clock.now()
    return now


def _clean(text: str, pointer: str, *, required: bool = False) -> str:
    return clean(text, pointer=pointer, required=required)[0]
