from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.database import announce, insert_into
from app.core.errors import Problem
from app.core.ids import new_id
from app.nodes import spans
from app.nodes.models import City, Node, NodeChange, NodeSpan
from app.nodes.scope import visible
from app.nodes.spans import Row

_COLUMNS = list(Node.__table__.columns)
_UNDER = {"town": "city", "village": "town"}


@dataclass(frozen=True, slots=True)
class TreeChange:
    """Told to the application's tree listeners, in the transaction that makes the change.

    A node is `created`, `renamed`, `moved` or `closed`; `withdrawn`: it is not closed on that day after all; `merged`:
    it is part of `new_parent` since; `reopened`: it was part of `old_parent`, or closed. `also` are further offices
    that see more or less since.
    """

    kind: str
    code: str
    city_id: str
    old_parent: str | None
    new_parent: str | None
    on: date
    also: tuple[str, ...] = ()
    reason: str | None = None


TreeListener = Callable[[AsyncConnection, Sequence[TreeChange], datetime], Awaitable[None]]


def is_open(row: Row, day: date) -> bool:
    """Whether the node exists on that day."""
    return row["closed_on"] is None or row["closed_on"] > day


async def create(
    conn: AsyncConnection, *, caller: Caller, values: Row, on: date, today: date
) -> tuple[Row, TreeChange]:
    """A new town or village under a node of the caller's subtree, from the day `on`, which has come."""
    await lock(conn, caller.city_id)
    if on > today:
        raise wrong_date(on)
    parent = await in_subtree(conn, caller, values["parent_code"], pointer="/parent")
    _check_parent(values["tier"], parent, on, today)
    row = {**values, "city_id": caller.city_id, "opened_on": on, "closed_on": None, "version": 1}
    new = insert_into(conn.dialect.name, Node).values(row).on_conflict_do_nothing().returning(Node.code)
    if (await conn.execute(new)).one_or_none() is None:
        raise Problem(problems.NODE_TAKEN, pointer="/code", code=values["code"])
    await conn.execute(insert(NodeSpan), [spans.first(row)])
    return row, TreeChange("created", row["code"], caller.city_id, None, row["parent_code"], on)


async def change(
    conn: AsyncConnection, *, caller: Caller, code: str, changes: Row, on: date, today: date, version: int | None
) -> tuple[Row, list[TreeChange]]:
    """Rename, move, close or describe a node; a new name or parent holds from the day `on`.

    A closing that lies ahead takes another day, or with `closed_on` None is withdrawn.

    A Problem (412) when `version` is given and is not the node's; (422, 409) when the tree or its history
    does not allow it.
    """
    await lock(conn, caller.city_id)
    row = await in_subtree(conn, caller, code, missing=problems.NOT_FOUND)
    if version is not None and version != row["version"]:
        raise Problem(problems.PRECONDITION_FAILED, version=row["version"])
    if not is_open(row, today):
        raise closed_problem(row)
    changes = {key: value for key, value in changes.items() if row[key] != value}
    if not changes:
        return row, []
    if "parent_code" in changes:
        parent = await in_subtree(conn, caller, changes["parent_code"], pointer="/parent")
        _check_parent(row["tier"], parent, on, today)
    since = (await spans.last_days(conn, [code]))[code]
    if changes.keys() & {"name", "parent_code"}:
        if not spans.may_begin(on, since=since, closed_on=row["closed_on"], today=today):
            raise wrong_date(on)
        called = {key: changes.get(key, row[key]) for key in ("name", "parent_code")}
        await spans.begin(conn, [{**row, **called}], since={code: since}, on=on)
        since = on
    if changes.get("closed_on") is not None:
        await _close(conn, row | changes, since=since)
    elif "closed_on" in changes:
        await _withdraw(conn, row | changes, since=since)
    changes["version"] = row["version"] + 1
    await conn.execute(update(Node).where(Node.code == code).values(**changes))
    return row | changes, changes_of(row, changes, on)


def changes_of(row: Row, changes: Row, on: date) -> list[TreeChange]:
    """What the listeners are told when these columns of a node change."""
    closing = "withdrawn" if changes.get("closed_on", "") is None else "closed"
    kinds = {"parent_code": "moved", "name": "renamed", "closed_on": closing}
    days = {"closed": changes.get("closed_on"), "withdrawn": row["closed_on"]}
    old, new = row["parent_code"], changes.get("parent_code", row["parent_code"])
    return [
        TreeChange(
            kind,
            row["code"],
            row["city_id"],
            old if kind == "moved" else new,
            new,
            days.get(kind) or on,
        )
        for key, kind in kinds.items()
        if key in changes
    ]


async def tell(
    conn: AsyncConnection, listeners: Iterable[TreeListener], changes: Iterable[TreeChange], *, now: datetime
) -> None:
    """Record the changes and let the listeners follow them, in the transaction that makes them.

    They are announced after the commit.
    """
    changes = tuple(changes)
    if changes:
        recorded = [
            {
                "city_id": told.city_id,
                "id": new_id(),
                "code": told.code,
                "kind": told.kind,
                # What it was part of is nothing that it stood under.
                "old_parent": None if told.kind == "reopened" else told.old_parent,
                "on": told.on,
                "at": now,
                "reason": told.reason,
            }
            for told in changes
        ]
        await conn.execute(insert(NodeChange), recorded)
    for told in changes:
        announce(conn, told)
    # Each takes its locks for all of them, in its own order, before the next one does.
    for listener in listeners:
        await listener(conn, changes, now)


async def lock(conn: AsyncConnection, city_id: str | None) -> None:
    """Until the transaction ends no other changes the tree of this city, or of any.

    So what was checked (an open parent, no children, a free code) still holds when it is stored.
    """
    # NO KEY: whoever only refers to the city, as a new report does, is not kept waiting.
    query = select(City.city_id).order_by(City.city_id).with_for_update(key_share=True)
    await conn.execute(query if city_id is None else query.where(City.city_id == city_id))


async def in_subtree(
    conn: AsyncConnection,
    caller: Caller,
    code: str,
    *,
    pointer: str | None = None,
    missing: problems.Kind = problems.NODE_UNKNOWN,
) -> Row:
    """A node of the caller's subtree; a Problem (`missing`) otherwise."""
    query = select(*_COLUMNS).where(Node.code == code, visible(caller, Node, Node.code))
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        raise Problem(missing, pointer=pointer, code=code)
    return dict(row)


def _check_parent(tier: str, parent: Row, on: date, today: date) -> None:
    if not is_open(parent, today):
        raise closed_problem(parent, "/parent")
    if parent["closed_on"] is not None:
        # Nothing may be under it on that day.
        raise Problem(
            problems.NODE_CLOSING, pointer="/parent", code=parent["code"], date=parent["closed_on"].isoformat()
        )
    if _UNDER.get(tier) != parent["tier"]:
        raise Problem(problems.NODE_PARENT, pointer="/parent", tier=tier, parent=parent["code"])
    if parent["opened_on"] > on:
        raise wrong_date(on)


async def _close(conn: AsyncConnection, row: Row, *, since: date) -> None:
    """End the node's last span, begun on `since`; on `closed_on` nothing may be, or have been, under it any more."""
    closed_on = row["closed_on"]
    below = select(NodeSpan.code).where(
        NodeSpan.parent_code == row["code"], or_(NodeSpan.until.is_(None), NodeSpan.until > closed_on)
    )
    if (await conn.execute(below.limit(1))).one_or_none() is not None:
        raise Problem(problems.NODE_HAS_CHILDREN, code=row["code"])
    outlived = select(Node.code).where(Node.code == row["parent_code"], Node.closed_on < closed_on)
    if closed_on <= since or (await conn.execute(outlived)).one_or_none() is not None:
        raise wrong_date(closed_on, "/closed_on")
    await spans.end(conn, row["code"], since=since, until=closed_on)


async def _withdraw(conn: AsyncConnection, row: Row, *, since: date) -> None:
    """The node's last span, begun on `since`, ends no more; what it stands under may not be closed ahead either."""
    above = select(Node.closed_on).where(Node.code == row["parent_code"])
    closed_on = (await conn.execute(above)).scalar_one_or_none()
    if closed_on is not None:
        raise Problem(problems.NODE_CLOSING, code=row["parent_code"], date=closed_on.isoformat())
    await spans.end(conn, row["code"], since=since, until=None)


def closed_problem(row: Row, pointer: str | None = None) -> Problem:
    """A Problem (422): the node is closed."""
    return Problem(problems.NODE_CLOSED, pointer=pointer, code=row["code"], date=row["closed_on"].isoformat())


def wrong_date(day: date, pointer: str = "/effective_on") -> Problem:
    """A Problem (422): the tree's history does not allow a change from that day."""
    return Problem(problems.NODE_DATE, pointer=pointer, date=day.isoformat())
