"""The city log as a reader of alerts sees it: by polling, or as an open stream."""

from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import Request
from fastapi.sse import ServerSentEvent

from app.alerts.service import TOPIC
from app.alerts.sightings import Sightings
from app.alerts.views import AlertChange, AlertChanges, alert_told
from app.core.caller import Caller, current_caller
from app.core.clock import Clock
from app.core.database import Database, DatabaseAway, database_of
from app.core.errors import Problem, language_of
from app.feed import cursors
from app.feed import service as feed
from app.feed.following import follow
from app.feed.heads import Heads, heads_of

STREAM_LIMIT = 100
RETRY_MS = 3000


async def changes(
    database: Database,
    heads: Heads,
    sightings: Sightings,
    clock: Clock,
    *,
    caller: Caller,
    since: str | None,
    limit: int,
    wait: float,
    drill_id: UUID | None = None,
) -> AlertChanges:
    """What happened to the caller's alerts after `since`; Problems for a wrong (400) or old (410) cursor.

    A Problem (401) when the sign-in ends meanwhile.
    """
    found = await follow(
        database,
        heads,
        clock=clock,
        caller=caller,
        topic=TOPIC,
        within=feed.within(caller),
        since=cursors.decode(since) if since else cursors.START,
        limit=limit,
        wait=wait,
        drill_id=drill_id,
    )
    sightings.carried(caller, ((UUID(entry.body["id"]), entry.body["version"]) for entry in found.entries))
    return AlertChanges(
        results=[
            AlertChange(
                cursor=cursors.encode(entry.position),
                type=entry.type,
                at=entry.at,
                alert=alert_told(entry.body, caller),
            )
            for entry in found.entries
        ],
        cursor=cursors.encode(found.position),
        pending=found.pending,
    )


async def stream(
    request: Request, *, caller: Caller, first: AlertChanges, drill_id: UUID | None
) -> AsyncIterator[ServerSentEvent]:
    """Events from `first` on, until the client goes, the server stops, or the sign-in or the cursor expires.

    Every event's id is the cursor to go on from.
    """
    database, heads = database_of(request), heads_of(request)
    state = request.app.state
    found = first
    while True:
        for change in found.results:
            yield ServerSentEvent(event=change.type, id=change.cursor, data=change, retry=RETRY_MS)
        if not found.results:
            beat = {"cursor": found.cursor, "server_time": state.clock.now()}
            yield ServerSentEvent(event="heartbeat", id=found.cursor, data=beat, retry=RETRY_MS)
        if heads.stopping:
            return
        try:
            caller = await current_caller(request)
            found = await changes(
                database,
                heads,
                state.sightings,
                state.clock,
                caller=caller,
                since=found.cursor,
                limit=STREAM_LIMIT,
                drill_id=drill_id,
                wait=0 if found.pending else state.settings.stream_ping_seconds,
            )
        except Problem as problem:
            # The answer has begun: what would have been its status goes out as an event, and the stream ends.
            yield ServerSentEvent(event="problem", data=problem.body(language_of(request)))
            return
        except DatabaseAway:
            # The client comes back after `retry`.
            return
