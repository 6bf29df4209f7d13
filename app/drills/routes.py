from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from app.core.caller import Caller, may
from app.core.database import Reading, Writing
from app.core.paging import Cursor, Limit, Page
from app.core.tags import located
from app.core.texts import clean
from app.drills import service
from app.drills.schemas import TITLE_LENGTH, DrillNew
from app.drills.views import DrillView, drill_view

router = APIRouter(prefix="/v1/drills", tags=["drills"])

Reader = Annotated[Caller, Depends(may("alerts:read"))]
Actor = Annotated[Caller, Depends(may("alerts:act"))]


@router.post("", status_code=201)
async def begin_drill(request: Request, response: Response, caller: Actor, conn: Writing, body: DrillNew) -> DrillView:
    """Begin a drill. Reports that name it as `drill_id`, and all they cause, stay apart from the real."""
    title, _ = clean(body.title, pointer="/title", multiline=False, required=True, most=TITLE_LENGTH)
    drill = await service.begin(
        conn,
        caller=caller,
        node=body.node or caller.node,
        title=title,
        pace=body.pace,
        now=request.app.state.clock.now(),
    )
    located(response, f"{router.prefix}/{drill.id}")
    return drill_view(drill)


@router.get("")
async def list_drills(caller: Reader, conn: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[DrillView]:
    """Drills of the caller's subtree, and those its office takes part in; the last begun first."""
    found, after = await service.list_drills(conn, caller=caller, limit=limit, cursor=cursor)
    return Page(items=[drill_view(drill) for drill in found], next=after)


@router.get("/{drill_id}")
async def get_drill(caller: Reader, conn: Reading, drill_id: UUID) -> DrillView:
    """One drill, running or ended."""
    return drill_view(await service.get(conn, caller=caller, drill_id=drill_id))
