from collections.abc import AsyncIterable
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.alerts import service, streaming
from app.alerts.views import AlertChanges, AlertList, AlertView, CloseAlert
from app.core.caller import Caller, may
from app.core.database import Reading, Snapshot, Writing, database_of
from app.core.paging import Cursor, Limit
from app.core.texts import clean
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
        Literal["raised", "acknowledged", "closed"] | None, Query(description="Without it: all that are not closed.")
    ] = None,
    level: Level | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AlertList:
    """Alerts of the caller's subtree, the last raised first. Poll it with If-None-Match, or follow the changes."""
    found = await service.list_alerts(conn, caller=caller, state=state, level=level, limit=limit, cursor=cursor)
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
) -> AlertChanges:
    """What happened to alerts after a cursor, in order, at least once."""
    response.headers["Cache-Control"] = "private, no-store"
    return await streaming.changes(
        database_of(request), heads_of(request), caller=caller, since=since, limit=limit, wait=wait
    )


async def _first_changes(
    request: Request,
    caller: Reader,
    since: Since = None,
    last_event_id: Annotated[str | None, Header(max_length=512, description="Overrides `since`.")] = None,
) -> AlertChanges:
    # Before the answer begins, so that a wrong or expired cursor still gets its status.
    return await streaming.changes(
        database_of(request),
        heads_of(request),
        caller=caller,
        since=last_event_id or since,
        limit=streaming.STREAM_LIMIT,
        wait=0,
    )


@router.get("/stream", response_class=EventSourceResponse)
async def stream_changes(
    request: Request,
    caller: Reader,
    first: Annotated[AlertChanges, Depends(_first_changes)],
) -> AsyncIterable[ServerSentEvent]:
    """The same as server-sent events; a `heartbeat` event tells that nothing happened."""
    async for sent in streaming.stream(request, caller=caller, first=first):
        yield sent


@router.get("/{alert_id}")
async def get_alert(caller: Reader, conn: Reading, alert_id: UUID) -> AlertView:
    """One alert."""
    return await service.get(conn, caller=caller, alert_id=alert_id)


@router.post("/{alert_id}/acknowledge")
async def acknowledge_alert(request: Request, caller: Actor, conn: Writing, alert_id: UUID) -> AlertView:
    """Take the alert on: 409 tells who was first; a closed alert stays as it is."""
    return await service.acknowledge(conn, caller=caller, alert_id=alert_id, now=request.app.state.clock.now())


@router.post("/{alert_id}/close")
async def close_alert(request: Request, caller: Actor, conn: Writing, alert_id: UUID, body: CloseAlert) -> AlertView:
    """End the alert, with the reason; a closed alert stays as it is."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return await service.close(conn, caller=caller, alert_id=alert_id, reason=reason, now=request.app.state.clock.now())
