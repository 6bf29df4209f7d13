from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.caller import Caller, may
from app.core.clock import day_of
from app.core.database import Snapshot, Writing
from app.core.paging import Cursor, Limit, Page
from app.core.tags import located
from app.core.texts import clean
from app.drills.scope import DrillId
from app.rollcalls import service
from app.rollcalls.schemas import (
    AnswerNew,
    AnswerView,
    RollCallDetail,
    RollCallNew,
    RollCallView,
    SilentView,
    answer_view,
    roll_call_detail,
    roll_call_view,
)
from app.rollcalls.silence import list_silent

router = APIRouter(prefix="/v1/rollcalls", tags=["roll calls"])
silence = APIRouter(prefix="/v1/silence", tags=["roll calls"])

Reader = Annotated[Caller, Depends(may("reports:read"))]
Writer = Annotated[Caller, Depends(may("reports:write"))]
Desk = Annotated[Caller, Depends(may("alerts:act"))]


@router.get("")
async def list_roll_calls(
    caller: Reader,
    conn: Snapshot,
    is_open: Annotated[bool | None, Query(alias="open", description="Only open ones, or only closed ones.")] = None,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[RollCallView]:
    """Roll calls that ask an office of the caller's subtree, the last opened first."""
    found, after = await service.list_calls(
        conn, caller=caller, is_open=is_open, drill_id=drill, limit=limit, cursor=cursor
    )
    return Page(items=[roll_call_view(row, counts) for row, counts in found], next=after)


@router.post("", status_code=201)
async def ask(request: Request, response: Response, caller: Desk, conn: Writing, body: RollCallNew) -> RollCallView:
    """Ask the offices of a subtree a question, to be answered by a time."""
    question, _ = clean(body.question, pointer="/question", multiline=False, required=True)
    row, counts = await service.ask(
        conn,
        caller=caller,
        question=question,
        node=body.node,
        tiers=body.tiers,
        due_at=body.due_at,
        due_minutes=body.due_minutes,
        drill_id=body.drill_id,
        now=request.app.state.clock.now(),
    )
    located(response, f"{router.prefix}/{row['id']}")
    return roll_call_view(row, counts)


@router.get("/{roll_call_id}")
async def get_roll_call(caller: Reader, conn: Snapshot, roll_call_id: UUID) -> RollCallDetail:
    """One roll call, with how many of the caller's subtree have answered what, and who is silent since."""
    row, counts, silent = await service.get_call(conn, caller=caller, roll_call_id=roll_call_id)
    return roll_call_detail(row, counts, silent)


@router.get("/{roll_call_id}/answers")
async def list_answers(
    caller: Reader,
    conn: Snapshot,
    roll_call_id: UUID,
    state: Literal["waiting", "nothing", "something", "unable", "excused"] | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[AnswerView]:
    """Every office of the caller's subtree that is asked, and its answer."""
    rows, after = await service.list_answers(
        conn, caller=caller, roll_call_id=roll_call_id, state=state, limit=limit, cursor=cursor
    )
    return Page(items=[answer_view(row) for row in rows], next=after)


@router.post("/{roll_call_id}/answers")
async def answer(request: Request, caller: Writer, conn: Writing, roll_call_id: UUID, body: AnswerNew) -> AnswerView:
    """Answer for an office of the caller's subtree; again, it replaces the answer before."""
    why, _ = clean(body.why, pointer="/why")
    row = await service.answer(
        conn,
        caller=caller,
        roll_call_id=roll_call_id,
        node=body.node,
        state=body.answer,
        why=why,
        reports=body.reports,
        now=request.app.state.clock.now(),
    )
    return answer_view(row)


@silence.get("")
async def list_silence(
    request: Request,
    caller: Reader,
    conn: Snapshot,
    drill: DrillId = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[SilentView]:
    """Who missed a roll call and has not been heard from since, the heaviest silence first, with its reasons."""
    state = request.app.state
    found, after = await list_silent(
        conn,
        caller=caller,
        drill_id=drill,
        policy=state.policy.silence,
        limit=limit,
        cursor=cursor,
        today=day_of(state.clock.now()),
    )
    return Page(items=[SilentView.model_validate(one) for one in found], next=after)
