from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, false, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.nodes.models import Node, NodeSpan
from app.nodes.scope import visible

Row = dict[str, Any]

_COLUMNS = list(Node.__table__.columns)
_UNDER = {"town": "city", "village": "town"}


@dataclass(frozen=True, slots=True)
class TreeChange:
    """Told to the application's tree listeners, in the transaction that makes the change."""

    kind: str
    code: str
    city_id: str
    old_parent: str | None
    new_parent: str | None
    on: date


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of nodes is narrowed by; `on` asks for the tree of that day."""

    parent: str | None = None
    tier: str | None = None
    q: str | None = None
    on: date | None = None


def is_open(row: Any, day: date) -> bool:
    """Whether the node exists on that day."""
    return row.closed_on is None or row.closed_on > day


async def list_nodes(
    conn: AsyncConnection, *, caller: Caller, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[Row], str | None]:
    """The nodes of the caller's subtree, by code, and the cursor of the next page."""
    query, parent, name = _as_of(filters.on)
    query = query.where(visible(caller, Node, Node.code))
    if filters.parent is not None:
        query = query.where(parent == filters.parent)
    if filters.tier is not None:
        query = query.where(Node.tier == filters.tier)
    if filters.q is not None:
        query = query.where(
            or_(name.contains(filters.q, autoescape=True), Node.code.startswith(filters.q, autoescape=True))
        )
    if cursor is not None:
        (last,) = paging.decode("nodes", cursor, str)
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


async def subtree(conn: AsyncConnection, *, caller: Caller, code: str, on: date | None = None) -> list[Row]:
    """A node of the caller's subtree and all under it that exist, today or on a day; the node first, then by code."""
    query, parent, _ = _as_of(on)
    top = (
        (await conn.execute(query.where(Node.code == code, visible(caller, Node, Node.code)))).mappings().one_or_none()
    )
    if top is None:
        raise Problem(problems.NOT_FOUND)
    found, level = [dict(top)], [code]
    while level:
        below = query.where(Node.city_id == caller.city_id, parent.in_(level)).order_by(Node.code)
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


async def create(conn: AsyncConnection, *, caller: Caller, values: Row, on: date) -> tuple[Row, TreeChange]:
    """A new town or village under a node of the caller's subtree."""
    parent = await _in_subtree(conn, caller, values["parent_code"], pointer="/parent")
    _check_parent(values["tier"], parent, on)
    known = (await conn.execute(select(Node.code).where(Node.code == values["code"]))).one_or_none()
    if known is not None:
        raise Problem(problems.NODE_TAKEN, pointer="/code", code=values["code"])
    row = {**values, "city_id": caller.city_id, "opened_on": on, "closed_on": None, "version": 1}
    await conn.execute(insert(Node), [row])
    await conn.execute(insert(NodeSpan), [first_span(row)])
    return row, TreeChange("created", row["code"], caller.city_id, None, row["parent_code"], on)


async def change(
    conn: AsyncConnection, *, caller: Caller, code: str, changes: Row, on: date, today: date, version: int | None
) -> tuple[Row, list[TreeChange]]:
    """Rename, move, close or describe a node from the day `on`.

    A Problem (412) when `version` is given and is not the node's; (422, 409) when the tree or its history
    does not allow it.
    """
    row = await _in_subtree(conn, caller, code, lock=True, missing=problems.NOT_FOUND)
    if version is not None and version != row["version"]:
        raise Problem(problems.PRECONDITION_FAILED, version=row["version"])
    if row["closed_on"] is not None:
        raise Problem(problems.NODE_CLOSED, code=code, date=row["closed_on"].isoformat())
    changes = {key: value for key, value in changes.items() if row[key] != value}
    told = []
    if "parent_code" in changes:
        told.append(await _move(conn, caller, row, changes["parent_code"], on))
    if "name" in changes:
        told.append(TreeChange("renamed", code, row["city_id"], row["parent_code"], row["parent_code"], on))
    if told:
        await new_span(conn, row, changes, on, today=today)
    if "closed_on" in changes:
        told.append(await _close(conn, row, changes["closed_on"], since=on if told else None))
    if changes:
        changes["version"] = row["version"] + 1
        await conn.execute(update(Node).where(Node.code == code).values(**changes))
    return {**row, **changes}, told


def first_span(row: Row) -> Row:
    """The history of a node that has just been opened."""
    return {
        "code": row["code"],
        "since": row["opened_on"],
        "until": None,
        "city_id": row["city_id"],
        "tier": row["tier"],
        "name": row["name"],
        "parent_code": row["parent_code"],
    }


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


async def _in_subtree(
    conn: AsyncConnection,
    caller: Caller,
    code: str,
    *,
    pointer: str | None = None,
    lock: bool = False,
    missing: problems.Kind = problems.NODE_UNKNOWN,
) -> Row:
    query = select(*_COLUMNS).where(Node.code == code, visible(caller, Node, Node.code))
    row = (await conn.execute(query.with_for_update() if lock else query)).mappings().one_or_none()
    if row is None:
        raise Problem(missing, pointer=pointer, code=code)
    return dict(row)


def _check_parent(tier: str, parent: Row, on: date) -> None:
    if parent["closed_on"] is not None and parent["closed_on"] <= on:
        raise Problem(
            problems.NODE_CLOSED, pointer="/parent", code=parent["code"], date=parent["closed_on"].isoformat()
        )
    if _UNDER.get(tier) != parent["tier"]:
        raise Problem(problems.NODE_PARENT, pointer="/parent", tier=tier, parent=parent["code"])


async def _move(conn: AsyncConnection, caller: Caller, row: Row, parent_code: str, on: date) -> TreeChange:
    parent = await _in_subtree(conn, caller, parent_code, pointer="/parent")
    _check_parent(row["tier"], parent, on)
    return TreeChange("moved", row["code"], row["city_id"], row["parent_code"], parent_code, on)


async def new_span(conn: AsyncConnection, row: Row, changes: Row, on: date, *, today: date) -> None:
    """From `on`, which has come, the node is called or placed as changed.

    A change on the day of the last one takes its place; a Problem (422) for one before it.
    """
    if on > today:
        raise Problem(problems.NODE_DATE, pointer="/effective_on", date=on.isoformat())
    here = and_(NodeSpan.code == row["code"], NodeSpan.until.is_(None))
    since = (await conn.execute(select(NodeSpan.since).where(here))).scalar_one()
    said = {key: changes.get(key, row[key]) for key in ("name", "parent_code")}
    if on < since:
        raise Problem(problems.NODE_DATE, pointer="/effective_on", date=on.isoformat())
    if on == since:
        await conn.execute(update(NodeSpan).where(here).values(**said))
        return
    await conn.execute(update(NodeSpan).where(here).values(until=on))
    await conn.execute(insert(NodeSpan), [{**first_span({**row, **said}), "since": on}])


async def _close(conn: AsyncConnection, row: Row, closed_on: date, *, since: date | None) -> TreeChange:
    """Close the node from `closed_on` on; it must have no open nodes under it."""
    below = select(Node.code).where(
        Node.parent_code == row["code"], or_(Node.closed_on.is_(None), Node.closed_on > closed_on)
    )
    if (await conn.execute(below.limit(1))).one_or_none() is not None:
        raise Problem(problems.NODE_HAS_CHILDREN, code=row["code"])
    here = and_(NodeSpan.code == row["code"], NodeSpan.until.is_(None))
    began = since or (await conn.execute(select(NodeSpan.since).where(here))).scalar_one()
    if closed_on <= began:
        raise Problem(problems.NODE_DATE, pointer="/closed_on", date=closed_on.isoformat())
    await conn.execute(update(NodeSpan).where(here).values(until=closed_on))
    return TreeChange("closed", row["code"], row["city_id"], row["parent_code"], row["parent_code"], closed_on)
