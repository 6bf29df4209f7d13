from collections.abc import AsyncIterable
from datetime import timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.alerts import acting, service, streaming
from app.alerts.views import (
    AcknowledgeAlert,
    AlertActed,
    AlertChanges,
    AlertList,
    AlertView,
    CloseAlert,
    EscalateAlert,
    NoteAlert,
    Timeline,
)
from app.core.caller import Caller, may
from app.core.database import Snapshot, Writing, database_of
from app.core.paging import Cursor, Limit
from app.core.tags import IfMatch, tagged
from app.core.texts import clean
from app.drills.scope import DrillId
from app.feed import cursors
from app.feed.heads import heads_of
from app.feed.polled import CACHE, PolledRoute, etag_of
from app.hazards.cap import Level

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])
polled = APIRouter(prefix="/v1/alerts", tags=["alerts"], route_class=PolledRoute)

Reader = Annotated[Caller, Depends(may("alerts:read"))]
Actor = Annotated[Caller, Depends(may("alerts:act"))]
Since = Annotated[str | None, Query(max_length=512, description="A cursor; without it, from the beginning.")]


@polled.get("", responses={304: {"description": "Nothing happened since the ETag."}})
async def list_alerts(
    request: Request,
    response: Response,
    caller: Reader,
    conn: Snapshot,
    state: Annotated[
        list[Literal["raised", "acknowledged", "closed"]] | None,
        Query(description="Any of these; without it, all that are not closed."),
    ] = None,
    level: Annotated[list[Level] | None, Query(description="Any of these.")] = None,
    drill: DrillId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AlertList:
    """Alerts of the caller's subtree, the last raised first. Poll it with If-None-Match, or follow the changes."""
    found = await service.list_alerts(
        conn, caller=caller, states=state, levels=level, drill_id=drill, limit=limit, cursor=cursor
    )
    request.app.state.sightings.carried(caller, ((item.id, item.version) for item in found.items))
    response.headers.update({**CACHE, "ETag": etag_of(request, caller, found.head.position)})
    return AlertList(
        items=found.items,
        cursor=cursors.encode(found.head.position),
        next=found.next,
        server_time=request.app.state.clock.now(),
        last_event_at=found.head.last_at,
    )


@router.get("/changes")
async def follow_changes(
    request: Request,
    response: Response,
    caller: Reader,
    since: Since = None,
    limit: Limit = 100,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for something to happen.")] = 0,
    drill: DrillId = None,
) -> AlertChanges:
    """What happened to alerts after a cursor, in order, at least once."""
    response.headers["Cache-Control"] = "private, no-store"
    return await streaming.changes(
        database_of(request),
        heads_of(request),
        request.app.state.sightings,
        request.app.state.clock,
        caller=caller,
        since=since,
        limit=limit,
        wait=wait,
        drill_id=drill,
    )


async def _first_changes(
    request: Request,
    caller: Reader,
    since: Since = None,
    last_event_id: Annotated[str | None, Header(max_length=512, description="Overrides `since`.")] = None,
    drill: DrillId = None,
) -> AlertChanges:
    # Before the answer begins, so that a wrong or expired cursor still gets its status.
    return await streaming.changes(
        database_of(request),
        heads_of(request),
        request.app.state.sightings,
        request.app.state.clock,
        caller=caller,
        since=last_event_id or since,
        limit=streaming.STREAM_LIMIT,
        wait=0,
        drill_id=drill,
    )


@router.get("/stream", response_class=EventSourceResponse)
async def stream_changes(
    request: Request,
    caller: Reader,
    first: Annotated[AlertChanges, Depends(_first_changes)],
    drill: DrillId = None,
) -> AsyncIterable[ServerSentEvent]:
    """The same as server-sent events; a `heartbeat` event tells that nothing happened."""
    async for sent in streaming.stream(request, caller=caller, first=first, drill_id=drill):
        yield sent


@router.get("/{alert_id}")
async def get_alert(request: Request, response: Response, caller: Reader, alert_id: UUID) -> AlertView:
    """One alert. Read by a person at a desk that holds its reports, they are opened there."""
    return tagged(
        response,
        await service.open_alert(
            database_of(request),
            policy=request.app.state.policy,
            caller=caller,
            alert_id=alert_id,
            now=request.app.state.clock.now(),
        ),
    )


@router.get("/{alert_id}/timeline")
async def get_timeline(caller: Reader, conn: Snapshot, alert_id: UUID) -> Timeline:
    """What happened to the alert, step by step, each with its reason in words."""
    return Timeline(items=await service.timeline(conn, caller=caller, alert_id=alert_id))


@router.post("/{alert_id}/acknowledge")
async def acknowledge_alert(
    request: Request,
    response: Response,
    caller: Actor,
    conn: Writing,
    alert_id: UUID,
    body: AcknowledgeAlert | None = None,
    version: IfMatch = None,
) -> AlertActed:
    """Take the alert on, until it is closed or until a time: 409 tells who was first."""
    state = request.app.state
    return tagged(
        response,
        await acting.acknowledge(
            conn,
            caller=caller,
            alert_id=alert_id,
            until=body.until if body else None,
            longest=timedelta(hours=state.policy.escalation.longest_until_hours),
            version=version,
            now=state.clock.now(),
        ),
    )


@router.post("/{alert_id}/release")
async def release_alert(
    request: Request,
    response: Response,
    caller: Actor,
    conn: Writing,
    alert_id: UUID,
    body: NoteAlert | None = None,
    version: IfMatch = None,
) -> AlertActed:
    """Hand the alert back: it is raised again. Its owner's office may, and an office above it."""
    return tagged(
        response,
        await acting.release(
            conn,
            caller=caller,
            alert_id=alert_id,
            note=_note(body),
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{alert_id}/escalate")
async def escalate_alert(
    request: Request,
    response: Response,
    caller: Actor,
    conn: Writing,
    alert_id: UUID,
    body: EscalateAlert | None = None,
    version: IfMatch = None,
) -> AlertActed:
    """Send the alert one step up, at once: from `from_step`, or without it once a minute."""
    return tagged(
        response,
        await acting.escalate(
            conn,
            caller=caller,
            alert_id=alert_id,
            note=_note(body),
            from_step=body.from_step if body else None,
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{alert_id}/close")
async def close_alert(
    request: Request,
    response: Response,
    caller: Actor,
    conn: Writing,
    alert_id: UUID,
    body: CloseAlert,
    version: IfMatch = None,
) -> AlertActed:
    """End the alert, with the reason."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return tagged(
        response,
        await acting.close(
            conn,
            caller=caller,
            alert_id=alert_id,
            reason=reason,
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


def _note(body: NoteAlert | None) -> str:
    note, _ = clean(body.note if body else "", pointer="/note", multiline=False)
    return note
