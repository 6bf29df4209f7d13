import asyncio
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from app.core.caller import Caller, may
from app.core.database import Snapshot, database_of
from app.core.paging import Cursor, Limit, Page
from app.core.times import Time
from app.drills.scope import DrillId
from app.evaluation import drills, ledger
from app.evaluation.ledger_figures import figures
from app.evaluation.schemas import (
    DrillScore,
    WarningLedger,
    WarningRow,
    drill_score,
    warning_ledger,
    warning_row,
)

router = APIRouter(prefix="/v1", tags=["evaluation"])

Reader = Annotated[Caller, Depends(may("alerts:read"))]
Actor = Annotated[Caller, Depends(may("alerts:act"))]
From = Annotated[Time, Query(alias="from", description="Received at or after.")]
To = Annotated[Time, Query(alias="to", description="Received before.")]
FigureName = Literal[
    "raised",
    "carried.village",
    "carried.town",
    "carried.city",
    "opened.town",
    "opened.city",
    "acknowledged.any",
    "acknowledged.village",
    "acknowledged.town",
    "acknowledged.city",
]


@router.get("/ledger/warnings")
async def get_warnings(
    caller: Reader,
    conn: Snapshot,
    since: From,
    until: To,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> WarningLedger:
    """Of all reports at orange or red of a period: how many had an alert, how fast each was warned of, and the rows."""
    period = ledger.period(since, until, drill)
    found = await ledger.entries(conn, caller=caller, period=period)
    rows, after = ledger.page(found, figure=None, order="received", limit=limit, cursor=cursor)
    return warning_ledger(period, found, await asyncio.to_thread(figures, found), rows, after)


@router.get("/ledger/warnings/rows")
async def list_warning_rows(
    caller: Reader,
    conn: Snapshot,
    since: From,
    until: To,
    figure: Annotated[FigureName, Query(description="Exactly the rows behind this figure.")],
    order: Annotated[
        Literal["received", "worst"], Query(description="`worst`: first those that still wait, then the slowest.")
    ] = "received",
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WarningRow]:
    """The rows behind one figure of the ledger of warning."""
    found = await ledger.entries(conn, caller=caller, period=ledger.period(since, until, drill))
    rows, after = await asyncio.to_thread(ledger.page, found, figure=figure, order=order, limit=limit, cursor=cursor)
    return Page(items=[warning_row(entry) for entry in rows], next=after)


@router.post("/drills/{drill_id}/end", tags=["drills"])
async def end_drill(request: Request, caller: Actor, drill_id: UUID) -> DrillScore:
    """End a drill: its alerts and incidents are closed, nobody is asked or bypassed any more. Its evaluation."""
    state = request.app.state
    # What answers have carried by now counts.
    await state.sightings.flush(database_of(request))
    return drill_score(await drills.end(database_of(request), caller=caller, drill_id=drill_id, now=state.clock.now()))


@router.get("/drills/{drill_id}/score", tags=["drills"])
async def get_score(request: Request, caller: Reader, conn: Snapshot, drill_id: UUID) -> DrillScore:
    """How timely the drill's offices are so far, or were when it ended."""
    return drill_score(await drills.score(conn, caller=caller, drill_id=drill_id, now=request.app.state.clock.now()))
