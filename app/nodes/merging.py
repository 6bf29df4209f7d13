"""A node becomes part of another, and parts from it again. What it was stays in the tree's history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.database import insert_into
from app.core.errors import Problem
from app.nodes import service, spans
from app.nodes.models import Node, NodeSpan, NodeSuccession
from app.nodes.service import TreeChange
from app.nodes.spans import Row


@dataclass(frozen=True, slots=True)
class Change:
    """One node that changes: what it stood under, or was part of, and what from that day on."""

    node: Row
    what: Literal["merged", "moved", "reopened", "created"]
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a merge or a split does, from one day on."""

    city_id: str
    on: date
    changes: Sequence[Change]
    repointed: Mapping[str, str] = field(default_factory=dict)
    """What was merged before, and what it is part of since."""


@dataclass(frozen=True, slots=True)
class Part:
    """One node that parts: what was merged into the other, or a new one."""

    code: str
    name: str | None = None
    children: tuple[str, ...] = ()


async def plan_merge(
    conn: AsyncConnection, *, caller: Caller, code: str, into: str, on: date, today: date, version: int | None
) -> Plan:
    """What happens when `code` becomes part of `into`; a Problem when it cannot. The tree is locked.

    The villages of a town come with it. The node is closed from `on`, and an alias of the other since.
    """
    await service.lock(conn, caller.city_id)
    source = await service.in_subtree(conn, caller, code, missing=problems.NOT_FOUND)
    target = await service.in_subtree(conn, caller, into, pointer="/into")
    if version is not None and version != source["version"]:
        raise Problem(problems.PRECONDITION_FAILED, version=source["version"])
    if source["tier"] == "city" or source["tier"] != target["tier"] or code == into:
        raise Problem(problems.NODE_MERGE, pointer="/into", code=code, into=into)
    for node, pointer in ((source, None), (target, "/into")):
        if not service.is_open(node, today):
            raise service.closed_problem(node, pointer)
    if not target["opened_on"] <= on <= today or not source["opened_on"] < on:
        raise service.wrong_date(on)
    children = await _open_children(conn, code, today)
    await _may_begin(conn, [source, *children], on=on, today=today)
    moved = [Change(child, "moved", code, into) for child in children]
    # What was merged into the source is part of the target with it.
    aliases = (await conn.execute(select(Node.code).where(Node.merged_into == code))).scalars()
    merged = Change(source, "merged", source["parent_code"], into)
    return Plan(caller.city_id, on, [*moved, merged], dict.fromkeys(aliases, into))


async def plan_split(
    conn: AsyncConnection,
    *,
    caller: Caller,
    code: str,
    parts: Sequence[Part],
    on: date,
    today: date,
    version: int | None,
) -> Plan:
    """What happens when `parts` part from `code`; a Problem when they cannot. The tree is locked.

    What was merged into it stands again where it stood, with what it had: its villages that are still there, and what
    had been merged into it. A new part stands beside it, with the open nodes under it that it names.
    """
    await service.lock(conn, caller.city_id)
    source = await service.in_subtree(conn, caller, code, missing=problems.NOT_FOUND)
    if version is not None and version != source["version"]:
        raise Problem(problems.PRECONDITION_FAILED, version=source["version"])
    if source["tier"] == "city":
        raise Problem(problems.NODE_SPLIT, pointer="/parts", code=code, part=parts[0].code)
    if not service.is_open(source, today):
        raise service.closed_problem(source)
    if on > today or on <= source["opened_on"]:
        raise service.wrong_date(on)
    children = {child["code"]: child for child in await _open_children(conn, code, today)}
    changes: list[Change] = []
    repointed: dict[str, str] = {}
    for part in parts:
        known = await _node(conn, part.code)
        if known is None:
            made = await _anew(conn, part, source, on)
            theirs = list(part.children)
        else:
            if known["merged_into"] != code:
                raise Problem(problems.NODE_SPLIT, pointer="/parts", code=code, part=part.code)
            if on < known["closed_on"]:
                raise service.wrong_date(on)
            made = Change({**known, "parent_code": await stood_under(conn, known, today=today)}, "reopened", code, "")
            theirs = list(part.children) or await _came_with(conn, known)
            repointed |= await _had_merged(conn, part.code, code)
        if part.children and not set(part.children) <= children.keys():
            raise Problem(problems.NODE_SPLIT, pointer="/parts", code=code, part=part.code)
        moved = [children.pop(child) for child in theirs if child in children]
        await _may_begin(conn, moved, on=on, today=today)
        changes.append(Change(made.node, made.what, made.old, made.node["parent_code"]))
        changes += [Change(child, "moved", code, part.code) for child in moved]
    return Plan(caller.city_id, on, changes, repointed)


async def carry_out(conn: AsyncConnection, plan: Plan) -> list[TreeChange]:
    """Store what was planned in this transaction; what the tree listeners are to be told."""
    on = plan.on
    # Parents before those that come under them, and whoever leaves before the node that it left is closed.
    for change in plan.changes:
        if change.what == "created":
            await conn.execute(insert(Node), change.node)
            await conn.execute(insert(NodeSpan), [spans.first(change.node)])
            await _succeed(conn, change.node["code"], on, "split", str(change.old), plan.city_id)
        elif change.what == "reopened":
            await spans.resume(conn, change.node, on=on)
            await _store(conn, change.node, closed_on=None, merged_into=None, parent_code=change.new)
            await _succeed(conn, change.node["code"], on, "split", str(change.old), plan.city_id)
    moved = [{**change.node, "parent_code": change.new} for change in plan.changes if change.what == "moved"]
    if moved:
        since = await spans.last_days(conn, [node["code"] for node in moved])
        await spans.begin(conn, moved, since=since, on=on)
        for node in moved:
            await _store(conn, node, parent_code=node["parent_code"])
    for change in plan.changes:
        if change.what == "merged":
            code = change.node["code"]
            last = (await spans.last_days(conn, [code]))[code]
            if last == on:
                await spans.drop(conn, code, since=last)
            else:
                await spans.end(conn, code, since=last, until=on)
            await _store(conn, change.node, closed_on=on, merged_into=change.new)
            await _succeed(conn, code, on, "merge", change.new, plan.city_id)
    for code, into in plan.repointed.items():
        await conn.execute(update(Node).where(Node.code == code).values(merged_into=into, version=Node.version + 1))
    return [await _told(conn, plan, change) for change in plan.changes]


async def _told(conn: AsyncConnection, plan: Plan, change: Change) -> TreeChange:
    code = change.node["code"]
    if change.what == "created":
        # What was the other's stays the other's.
        return TreeChange("created", code, plan.city_id, None, change.new, plan.on)
    also: tuple[str, ...] = ()
    beside = {"merged": change.new, "reopened": change.old}.get(change.what)
    if beside is not None and change.node["tier"] == "village":
        parent = (await conn.execute(select(Node.parent_code).where(Node.code == beside))).scalar_one()
        assert parent is not None
        also = (parent,)
    return TreeChange(change.what, code, plan.city_id, change.old, change.new, plan.on, also)


async def _anew(conn: AsyncConnection, part: Part, source: Row, on: date) -> Change:
    if part.name is None:
        raise Problem(problems.NODE_SPLIT, pointer="/parts", code=source["code"], part=part.code)
    node = {
        "code": part.code,
        "city_id": source["city_id"],
        "tier": source["tier"],
        "name": part.name,
        "parent_code": source["parent_code"],
        "opened_on": on,
        "closed_on": None,
        "lat": None,
        "lon": None,
        "population": None,
        "version": 1,
        "merged_into": None,
    }
    return Change(node, "created", source["code"], source["parent_code"])


async def stood_under(conn: AsyncConnection, node: Row, *, today: date) -> str:
    """What a node that stands again comes under: its parent of before, or what that is part of now."""
    parent = await _node(conn, node["parent_code"])
    assert parent is not None
    if parent["merged_into"] is not None:
        return str(parent["merged_into"])
    if not service.is_open(parent, today):
        raise service.closed_problem(parent)
    return str(parent["code"])


async def _came_with(conn: AsyncConnection, town: Row) -> list[str]:
    """The villages that stood under a town until it was merged."""
    if town["tier"] != "town":
        return []
    query = select(NodeSpan.code).where(NodeSpan.parent_code == town["code"], NodeSpan.until == town["closed_on"])
    return sorted((await conn.execute(query)).scalars())


async def _had_merged(conn: AsyncConnection, part: str, code: str) -> dict[str, str]:
    """Of what is part of `code` now: what had become part of `part`, and goes with it."""
    rows = await conn.execute(
        select(NodeSuccession.code, NodeSuccession.other)
        .join(Node, Node.code == NodeSuccession.code)
        .where(Node.merged_into == code, NodeSuccession.kind == "merge")
        .order_by(NodeSuccession.on)
    )
    # The last merge of each is the one that holds.
    into = {row.code: row.other for row in rows}
    found = {}
    for one in into:
        at = one
        while at in into and at != part:
            at = into[at]
        if at == part and one != part:
            found[one] = part
    return found


async def _may_begin(conn: AsyncConnection, nodes: Sequence[Row], *, on: date, today: date) -> None:
    since = await spans.last_days(conn, [node["code"] for node in nodes])
    for node in nodes:
        if not spans.may_begin(on, since=since[node["code"]], closed_on=node["closed_on"], today=today):
            raise service.wrong_date(on)


async def _open_children(conn: AsyncConnection, code: str, today: date) -> list[Row]:
    still = or_(Node.closed_on.is_(None), Node.closed_on > today)
    query = select(*Node.__table__.columns).where(Node.parent_code == code, still)
    return [dict(row) for row in (await conn.execute(query.order_by(Node.code))).mappings()]


async def _node(conn: AsyncConnection, code: str) -> Row | None:
    row = (await conn.execute(select(*Node.__table__.columns).where(Node.code == code))).mappings().one_or_none()
    return dict(row) if row is not None else None


async def _store(conn: AsyncConnection, node: Row, **values: Any) -> None:
    await conn.execute(update(Node).where(Node.code == node["code"]).values(**values, version=Node.version + 1))


async def _succeed(conn: AsyncConnection, code: str, on: date, kind: str, other: str, city_id: str) -> None:
    row = {"code": code, "on": on, "kind": kind, "other": other, "city_id": city_id}
    new = insert_into(conn.dialect.name, NodeSuccession).values(row)
    # Merged, parted and merged again on one day: the last holds.
    await conn.execute(new.on_conflict_do_update(index_elements=["code", "on", "kind"], set_={"other": other}))
