import asyncio
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller, SignedIn, may
from app.core.clock import day_of
from app.core.database import Reading, Snapshot, Writing
from app.core.errors import Problem
from app.core.paging import Cursor, Limit, Page
from app.core.tags import IfMatch, located, tagged
from app.core.texts import clean
from app.nodes import csvfile, importing, listing, merging, reopening, service
from app.nodes.csvfile import Parsed
from app.nodes.models import CODE_PATTERN, NAME_LENGTH
from app.nodes.schemas import (
    Day,
    History,
    ImportResult,
    MergeIn,
    NodeNew,
    NodePatch,
    NodeView,
    RecordedChange,
    ReopenIn,
    Span,
    SplitIn,
    Tier,
    Tree,
    TreeChanges,
    import_result,
    node_view,
    recorded_change,
    tree_changes,
    tree_view,
)

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])


def _now(request: Request) -> datetime:
    now: datetime = request.app.state.clock.now()
    return now


def _today(request: Request) -> date:
    return day_of(_now(request))


async def _csv(request: Request) -> Parsed:
    if not request.headers.get("content-type", "").startswith("text/csv"):
        raise Problem(problems.MEDIA_TYPE, wanted="text/csv")
    # Tens of thousands of lines take a while: not on the event loop.
    return await asyncio.to_thread(csvfile.parse, await request.body())


Admin = Annotated[Caller, Depends(may("nodes:admin"))]
Code = Annotated[str, Path(pattern=CODE_PATTERN)]
On = Annotated[Day | None, Query(description="The tree as it was on this day; as it is without.")]


@router.get("")
async def list_nodes(
    request: Request,
    caller: SignedIn,
    conn: Reading,
    parent: Annotated[str | None, Query(pattern=CODE_PATTERN)] = None,
    tier: Tier | None = None,
    q: Annotated[
        str | None, Query(pattern="^[^\\x00]{1,80}$", description="Part of a name, or how a code begins.")
    ] = None,
    on: On = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[NodeView]:
    """The nodes of the caller's subtree that exist, by code."""
    filters = listing.Filters(parent, tier, q, on)
    rows, after = await listing.list_nodes(
        conn, caller=caller, filters=filters, limit=limit, cursor=cursor, today=_today(request)
    )
    return Page(items=[node_view(row) for row in rows], next=after)


@router.post("", status_code=201)
async def create_node(request: Request, response: Response, caller: Admin, conn: Writing, body: NodeNew) -> NodeView:
    """Open a town or a village under a node of the caller's subtree."""
    values = {
        "code": body.code,
        "name": _name(body.name),
        "tier": body.tier,
        "parent_code": body.parent,
        "lat": body.lat,
        "lon": body.lon,
        "population": body.population,
    }
    today = _today(request)
    row, told = await service.create(conn, caller=caller, values=values, on=body.effective_on or today, today=today)
    await service.tell(conn, request.app.state.tree_listeners, [told], now=_now(request))
    located(response, f"{router.prefix}/{body.code}")
    return tagged(response, node_view(row))


@router.post(
    "/import",
    openapi_extra={
        "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}},
    },
)
async def import_nodes(
    request: Request,
    caller: Admin,
    # Before the connection: a slow upload must not hold the one that writes.
    parsed: Annotated[Parsed, Depends(_csv)],
    conn: Writing,
    mode: Annotated[Literal["validate", "commit"], Query(description="validate stores nothing.")],
    on: Annotated[Day | None, Query(description="From when the changes hold; today by default.")] = None,
) -> ImportResult:
    """Import a CSV of nodes: `code,name,tier,parent_code[,lat,lon,population]`, all of it or nothing."""
    today = _today(request)
    made = await importing.plan(conn, parsed, on=on or today, today=today, caller=caller, lock=mode == "commit")
    if mode == "validate":
        return import_result(made, stored=False)
    if made.errors:
        shown = import_result(made, stored=False).model_dump(mode="json")
        raise Problem(problems.CSV_ROWS, count=len(made.errors), extra={"rows": shown["errors"]})
    told = await importing.carry_out(conn, made, now=_now(request))
    await service.tell(conn, request.app.state.tree_listeners, told, now=_now(request))
    return import_result(made, stored=True)


@router.get("/changes")
async def list_changes(
    request: Request,
    caller: SignedIn,
    conn: Reading,
    ahead: Annotated[bool | None, Query(description="Only what has still to come; false: only what holds.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[RecordedChange]:
    """What was recorded of the tree of the caller's subtree, the last first; with `ahead` what may be withdrawn."""
    rows, after = await listing.changes(
        conn, caller=caller, ahead=ahead, limit=limit, cursor=cursor, today=_today(request)
    )
    return Page(items=[recorded_change(row) for row in rows], next=after)


@router.get("/{code}")
async def get_node(response: Response, caller: SignedIn, conn: Reading, code: Code, on: On = None) -> NodeView:
    """One node of the caller's subtree, or one above the caller."""
    return tagged(response, node_view(await listing.get_node(conn, caller=caller, code=code, on=on)))


@router.get("/{code}/subtree")
async def get_subtree(request: Request, caller: SignedIn, conn: Snapshot, code: Code, on: On = None) -> Tree:
    """A node and all under it that exist."""
    return tree_view(await listing.subtree(conn, caller=caller, code=code, today=_today(request), on=on))


@router.get("/{code}/history")
async def get_history(caller: SignedIn, conn: Reading, code: Code) -> History:
    """What the node was called and whose child it was, from its first day on."""
    rows = await listing.history(conn, caller=caller, code=code)
    return History(
        items=[
            Span(since=row["since"], until=row["until"], name=row["name"], parent=row["parent_code"]) for row in rows
        ]
    )


@router.patch("/{code}")
async def change_node(
    request: Request,
    response: Response,
    caller: Admin,
    conn: Writing,
    code: Code,
    body: NodePatch,
    version: IfMatch = None,
) -> NodeView:
    """Rename, move or close a node, from today or from another day."""
    changes = body.model_dump(exclude_unset=True, exclude={"effective_on"})
    if "name" in changes:
        changes["name"] = _name(changes["name"])
    if "parent" in changes:
        changes["parent_code"] = changes.pop("parent")
    today = _today(request)
    row, told = await service.change(
        conn,
        caller=caller,
        code=code,
        changes=changes,
        on=body.effective_on or today,
        today=today,
        version=version,
    )
    await service.tell(conn, request.app.state.tree_listeners, told, now=_now(request))
    return tagged(response, node_view(row))


@router.post("/{code}/reopen")
async def reopen_node(
    request: Request,
    response: Response,
    caller: Admin,
    conn: Writing,
    code: Code,
    body: ReopenIn,
    version: IfMatch = None,
) -> NodeView:
    """Undo a closing that was a mistake, with the reason; one that lies ahead is withdrawn."""
    row, told = await reopening.reopen(
        conn,
        caller=caller,
        code=code,
        on=body.effective_on,
        reason=clean(body.reason, pointer="/reason", required=True)[0],
        today=_today(request),
        version=version,
    )
    await service.tell(conn, request.app.state.tree_listeners, told, now=_now(request))
    return tagged(response, node_view(row))


@router.post("/{code}/merge")
async def merge_node(
    request: Request, caller: Admin, conn: Writing, code: Code, body: MergeIn, version: IfMatch = None
) -> TreeChanges:
    """Make a village or town part of another; its reports stay what they were, and are seen there too."""
    today = _today(request)
    made = await merging.plan_merge(
        conn,
        caller=caller,
        code=code,
        into=body.into,
        on=body.effective_on or today,
        today=today,
        version=version,
    )
    return await _carry_out(request, conn, made, dry_run=body.dry_run)


@router.post("/{code}/split")
async def split_node(
    request: Request, caller: Admin, conn: Writing, code: Code, body: SplitIn, version: IfMatch = None
) -> TreeChanges:
    """Let parts of a village or town stand by themselves: what was merged into it, or new ones."""
    today = _today(request)
    parts = [
        merging.Part(part.code, _name(part.name) if part.name else None, tuple(part.children)) for part in body.parts
    ]
    made = await merging.plan_split(
        conn,
        caller=caller,
        code=code,
        parts=parts,
        on=body.effective_on or today,
        today=today,
        version=version,
    )
    return await _carry_out(request, conn, made, dry_run=body.dry_run)


async def _carry_out(request: Request, conn: AsyncConnection, made: merging.Plan, *, dry_run: bool) -> TreeChanges:
    if not dry_run:
        told = await merging.carry_out(conn, made)
        await service.tell(conn, request.app.state.tree_listeners, told, now=_now(request))
    return tree_changes(made, applied=not dry_run)


def _name(text: str) -> str:
    return clean(text, pointer="/name", multiline=False, required=True, most=NAME_LENGTH)[0]
