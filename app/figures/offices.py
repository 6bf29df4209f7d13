"""The offices that figures are rolled up to: under the borders of a day, each with its place in the answer."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.core.clock import day_of, start_of
from app.figures.rollup import Merge, Statement, Tree
from app.nodes.borders import borders as borders_on
from app.nodes.models import Node, NodeChange, NodeSpan, NodeSuccession
from app.nodes.scope import visible

Borders = Literal["then", "today"]


@dataclass(frozen=True, slots=True)
class Office:
    """An office as a row of figures shows it."""

    code: str
    name: str
    tier: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Offices:
    """The tree to roll up; the offices to show, in order; how many of the subtree the caller may not see."""

    tree: Tree
    shown: Sequence[Office]
    left_out: int


async def offices(
    conn: AsyncConnection, *, caller: Caller, said: Sequence[Statement], on: date, borders: Borders
) -> Offices:
    """The caller's subtree on a day; shown are its own office, those that spoke, and those above them.

    With `today` what was merged is part of its successor; with `then` every code stands for itself. A closed office
    that has none stays where it stood last.
    """
    found = await borders_on(conn, city_id=caller.city_id, on=on)
    parents, tiers, names = dict(found.parents), dict(found.tiers), dict(found.names)
    merges: dict[str, Merge] = {}
    if borders == "today" and found.merges:
        merges = await _merges(conn, caller.city_id, found.merges, on)
    spoke = {one.node_code for one in said}
    missing = (spoke | set(merges) | {caller.node}) - set(parents)
    for code, office in (await _stood_last(conn, caller.city_id, missing, on)).items():
        if code not in found.parents:
            parents[code], tiers[code], names[code] = office.parent, office.tier, office.name
    came_with = await _came_with(conn, caller.city_id, merges, parents, tiers)
    tree = Tree(parents, tiers, merges, came_with)
    inside = {code for code in parents if caller.node in _path(code, parents, merges)}
    shown = {caller.node}
    for code in spoke & inside:
        path = _path(code, parents, merges)
        shown.update(path[: path.index(caller.node)])
    left_out = 0
    if caller.tier != "city":
        left_out = len(inside - await _visible(conn, caller))
    return Offices(tree, _ordered(shown, caller.node, parents, tiers, names, merges), left_out)


def _stands(code: str, merges: Mapping[str, Merge]) -> str:
    while code in merges:
        code = merges[code].into
    return code


def _path(code: str, parents: Mapping[str, str | None], merges: Mapping[str, Merge]) -> list[str]:
    """The offices that stand, from what the code is part of up to the city."""
    path = [_stands(code, merges)]
    while (parent := parents.get(path[-1])) is not None:
        path.append(_stands(parent, merges))
    return path


def _ordered(
    shown: Iterable[str],
    root: str,
    parents: Mapping[str, str | None],
    tiers: Mapping[str, str],
    names: Mapping[str, str],
    merges: Mapping[str, Merge],
) -> list[Office]:
    below: dict[str | None, list[str]] = {}
    for code in sorted(shown):
        parent = parents.get(code)
        below.setdefault(_stands(parent, merges) if parent is not None else None, []).append(code)
    order: list[Office] = []
    stack = [root]
    while stack:
        code = stack.pop()
        parent = parents.get(code)
        order.append(Office(code, names[code], tiers[code], _stands(parent, merges) if parent is not None else None))
        stack.extend(reversed(below.get(code, [])))
    return order


async def _merges(conn: AsyncConnection, city_id: str, closed: Mapping[str, str], on: date) -> dict[str, Merge]:
    """Of the offices that are part of another on a day: the merge that ended each, and the moment it held from.

    On the very day that a merge was recorded it holds from that moment: what was said before was of the old office.
    """
    recorded = and_(
        NodeChange.city_id == NodeSuccession.city_id,
        NodeChange.code == NodeSuccession.code,
        NodeChange.on == NodeSuccession.on,
        NodeChange.kind == "merged",
    )
    rows = await conn.execute(
        select(NodeSuccession.code, NodeSuccession.on, NodeSuccession.other, NodeChange.at)
        .outerjoin(NodeChange, recorded)
        .where(NodeSuccession.city_id == city_id, NodeSuccession.kind == "merge", NodeSuccession.on <= on)
        .order_by(NodeSuccession.on, NodeChange.at)
    )
    found = {row.code: Merge(row.other, row.on, _held_from(row.on, row.at)) for row in rows if row.code in closed}
    standing = set(closed.values())
    # Where the chain of merges ends at an office that does not stand, the borders know the successor.
    return {
        code: merge if _stands(code, found) in standing else Merge(closed[code], merge.on, merge.at)
        for code, merge in found.items()
    }


def _held_from(on: date, recorded_at: datetime | None) -> datetime:
    if recorded_at is not None and day_of(recorded_at) == on:
        return recorded_at
    return start_of(on)


async def _stood_last(conn: AsyncConnection, city_id: str, codes: Collection[str], on: date) -> dict[str, Office]:
    """Offices that do not stand on a day, and those above them: where each stood last, or first if it came later."""
    if not codes:
        return {}
    theirs = NodeSpan.code.in_(sorted(codes))
    above = select(NodeSpan.parent_code).where(NodeSpan.city_id == city_id, theirs)
    rows = await conn.execute(
        select(NodeSpan.code, NodeSpan.since, NodeSpan.name, NodeSpan.tier, NodeSpan.parent_code)
        .where(NodeSpan.city_id == city_id, or_(theirs, NodeSpan.code.in_(above)))
        .order_by(NodeSpan.since)
    )
    found: dict[str, Office] = {}
    for row in rows:
        if row.code not in found or row.since <= on:
            found[row.code] = Office(row.code, row.name, row.tier, row.parent_code)
    return found


async def _came_with(
    conn: AsyncConnection,
    city_id: str,
    merges: Mapping[str, Merge],
    parents: Mapping[str, str | None],
    tiers: Mapping[str, str],
) -> dict[str, str]:
    """The villages that stand where their merged town brought them, with that town."""
    towns = sorted(code for code in merges if tiers[code] == "town")
    if not towns:
        return {}
    rows = await conn.execute(
        select(NodeSpan.code, NodeSpan.parent_code, NodeSpan.until)
        .where(NodeSpan.city_id == city_id, NodeSpan.parent_code.in_(towns), NodeSpan.until.is_not(None))
        .order_by(NodeSpan.until.desc())
    )
    # Of a chain of merges the first town stays: its part came as a whole.
    return {
        row.code: row.parent_code
        for row in rows
        if row.until == merges[row.parent_code].on and parents.get(row.code) == _stands(row.parent_code, merges)
    }


async def _visible(conn: AsyncConnection, caller: Caller) -> set[str]:
    return set((await conn.execute(select(Node.code).where(visible(caller, Node, Node.code)))).scalars())
