from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core import paging, problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.nodes.models import CODE, Node, NodeChange, NodeSpan
from app.nodes.scope import visible
from app.nodes.spans import Row

_COLUMNS = list(Node.__table__.columns)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of nodes is narrowed by; `on` asks for the tree of that day."""

    parent: str | None = None
    tier: str | None = None
    q: str | None = None
    on: date | None = None


async def list_nodes(
    conn: AsyncConnection, *, caller: Caller, filters: Filters, limit: int, cursor: str | None, today: date
) -> tuple[list[Row], str | None]:
    """The nodes of the caller's subtree that exist, today or on a day, by code, and the cursor of the next page."""
    query, parent, name = _as_of(filters.on)
    if filters.on is None:
        query = query.where(_exists(today))
    query = query.where(visible(caller, Node, Node.code))
    if filters.parent is not None:
        query = query.where(parent == filters.parent)
    if filters.tier is not None:
        query = query.where(Node.tier == filters.tier)
    if filters.q is not None:
        query = query.where(
            or_(name.icontains(filters.q, autoescape=True), Node.code.istartswith(filters.q, autoescape=True))
        )
    if cursor is not None:
        (last,) = paging.decode("nodes", cursor, str)
        if not CODE.fullmatch(last):
            raise Problem(problems.CURSOR_INVALID)
        query = query.where(Node.code > last)
    rows = [dict(row) for row in (await conn.execute(query.order_by(Node.code).limit(limit + 1))).mappings()]
    after = paging.encode("nodes", rows[limit - 1]["code"]) if len(rows) > limit else None
    return rows[:limit], after


async def get_node(conn: AsyncConnection, *, caller: Caller, code: str, on: date | None = None) -> Row:
    """One node of the caller's subtree, or one above it; a Problem (404) for any other."""
    query, _, _ = _as_of(on)
    row = (await conn.execute(query.where(Node.code == code, _visible_or_above(caller)))).mappings().one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return dict(row)


async def subtree(
    conn: AsyncConnection, *, caller: Caller, code: str, today: date, on: date | None = None
) -> list[Row]:
    """A node of the caller's subtree and all under it that exist, today or on a day; the node first, then by code."""
    query, parent, _ = _as_of(on)
    query = query.where(visible(caller, Node, Node.code))
    top = (await conn.execute(query.where(Node.code == code))).mappings().one_or_none()
    if top is None:
        raise Problem(problems.NOT_FOUND)
    if on is None:
        query = query.where(_exists(today))
    found, level = [dict(top)], [code]
    while level:
        below = query.where(parent.in_(level)).order_by(Node.code)
        rows = [dict(row) for row in (await conn.execute(below)).mappings()]
        found += rows
        level = [row["code"] for row in rows if row["tier"] != "village"]
    return found


async def history(conn: AsyncConnection, *, caller: Caller, code: str) -> list[Row]:
    """What the node was called and whose child it was, from its first day on."""
    await get_node(conn, caller=caller, code=code)
    rows = await conn.execute(
        select(NodeSpan.since, NodeSpan.until, NodeSpan.name, NodeSpan.parent_code)
        .where(NodeSpan.code == code)
        .order_by(NodeSpan.since)
    )
    return [dict(row) for row in rows.mappings()]


async def changes(
    conn: AsyncConnection, *, caller: Caller, ahead: bool | None, limit: int, cursor: str | None, today: date
) -> tuple[list[Row], str | None]:
    """The recorded changes of the caller's subtree, the last first, and the next page's cursor.

    With `ahead` only those whose day has not come and that still hold; without it none of those, None: all.
    """
    last = aliased(NodeChange)
    latest = select(func.max(last.at)).where(last.code == NodeChange.code).scalar_subquery()
    is_ahead = and_(
        NodeChange.kind == "closed", Node.closed_on > today, NodeChange.on == Node.closed_on, NodeChange.at == latest
    )
    query = (
        select(*NodeChange.__table__.columns, Node.name, is_ahead.label("ahead"))
        .join(Node, Node.code == NodeChange.code)
        .where(visible(caller, NodeChange, NodeChange.code))
    )
    if ahead is not None:
        query = query.where(is_ahead if ahead else ~func.coalesce(is_ahead, false()))
    order = (NodeChange.at, NodeChange.id)
    if cursor is not None:
        query = query.where(tuple_(*order) < paging.decode_moment("node_changes", cursor))
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
    rows = [dict(row) for row in (await conn.execute(query)).mappings()]
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("node_changes", rows[-1]["at"], rows[-1]["id"])
    return rows, after


def _exists(today: date) -> ColumnElement[bool]:
    return or_(Node.closed_on.is_(None), Node.closed_on > today)


def _as_of(on: date | None) -> tuple[Any, Any, Any]:
    """The query of nodes as they are, or were on a day; the columns of the parent and the name then."""
    if on is None:
        return select(*_COLUMNS), Node.parent_code, Node.name
    kept = [column for column in _COLUMNS if column.name not in ("name", "parent_code")]
    query = (
        select(*kept, NodeSpan.name, NodeSpan.parent_code)
        .join(NodeSpan, NodeSpan.code == Node.code)
        .where(NodeSpan.since <= on, or_(NodeSpan.until.is_(None), NodeSpan.until > on))
    )
    return query, NodeSpan.parent_code, NodeSpan.name


def _visible_or_above(caller: Caller) -> ColumnElement[bool]:
    town = select(Node.parent_code).where(Node.code == caller.node).scalar_subquery()
    above = or_(Node.code == caller.city_id, Node.code == town) if caller.tier != "city" else false()
    return or_(visible(caller, Node, Node.code), and_(Node.city_id == caller.city_id, above))
