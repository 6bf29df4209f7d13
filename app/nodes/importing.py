import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.database import insert_into
from app.core.errors import Problem
from app.nodes import service, spans
from app.nodes.csvfile import Parsed, Row, RowError
from app.nodes.models import City, Node, NodeSpan
from app.nodes.service import TreeChange
from app.nodes.soundness import Known, check_tree

CHUNK = 1000

_COLUMNS = list(Node.__table__.columns)
_SAID = ("name", "parent_code", "lat", "lon", "population")
_CHANGE = (
    update(Node)
    .where(Node.code == bindparam("changed"))
    .values(**{name: bindparam(f"new_{name}") for name in _SAID}, version=Node.version + 1)
)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RowResult:
    """What becomes of one line."""

    line: int
    node: str
    status: Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """A node as it is, what changes of it, and since when its present name and parent hold."""

    node: spans.Row
    changes: spans.Row
    since: date


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do from the day `on`. With errors it does nothing: a file is taken whole or not at all."""

    on: date
    city_id: str | None
    results: list[RowResult]
    errors: list[RowError]
    new: list[Row]
    changed: list[Change]


async def plan(
    conn: AsyncConnection, parsed: Parsed, *, on: date, today: date, caller: Caller | None = None, lock: bool = False
) -> Plan:
    """Compare the file with the tree. A caller, if given, may touch its own subtree only.

    With `lock` the plan stays true until the transaction ends. A Problem (422) when `on` has not come.
    """
    if on > today:
        raise Problem(problems.NODE_DATE, date=on.isoformat())
    if lock:
        await service.lock(conn, caller.city_id if caller else None)
    stored = await _stored(conn, {row.code for row in parsed.rows} | {row.parent_code or "" for row in parsed.rows})
    # Of what another city has, a caller learns nothing but that the code is not free.
    elsewhere = {code for code, row in stored.items() if caller and row["city_id"] != caller.city_id}
    stored = {code: row for code, row in stored.items() if code not in elsewhere}
    known = {
        code: Known(row["tier"], row["city_id"], row["parent_code"], row["opened_on"], row["closed_on"])
        for code, row in stored.items()
    }
    # Hundreds of thousands of lines take a while: not on the event loop.
    refused = {error.node for error in parsed.errors}
    ordered, unsound = await asyncio.to_thread(check_tree, parsed.rows, known, on=on, today=today, refused=refused)
    outside = [error for row in ordered if caller and (error := _outside(row, caller, known, elsewhere))]
    hidden = {error.line for error in outside}
    errors = parsed.errors + outside + [error for error in unsound if error.line not in hidden]

    ordered = [row for row in ordered if row.line not in hidden]
    new = [row for row in ordered if row.code not in stored]
    changed = await _changed(conn, ordered, stored, parsed.columns)
    for row, change in changed:
        if change.changes.keys() & {"name", "parent_code"} and not spans.may_begin(
            on, since=change.since, closed_on=change.node["closed_on"], today=today
        ):
            errors.append(
                RowError(
                    row.line,
                    row.code,
                    "date",
                    f"{on} does not follow the node's history: it last changed on {change.since}.",
                    f"日期 {on} 与该节点的历史不符：最近一次变更为 {change.since}。",
                )
            )
    statuses: dict[str, Literal["created", "updated"]] = {row.code: "created" for row in new}
    statuses |= {row.code: "updated" for row, _ in changed}
    results = [RowResult(row.line, row.code, statuses.get(row.code, "unchanged")) for row in ordered]
    return Plan(
        on,
        _city(ordered, known),
        sorted(results, key=lambda result: result.line),
        sorted(errors, key=lambda error: error.line),
        new,
        [change for _, change in changed],
    )


async def carry_out(
    conn: AsyncConnection, made: Plan, *, now: datetime, progress: Callable[[int], None] | None = None
) -> list[TreeChange]:
    """Store what was planned, in this transaction; `progress` hears how many rows are done.

    A Problem (409) when another import made the same new city meanwhile.
    """
    assert not made.errors
    assert made.city_id is not None
    done = 0
    told: list[TreeChange] = []
    if any(row.tier == "city" for row in made.new):
        # A new city is no row that could be locked: another import may have been first.
        city = insert_into(conn.dialect.name, City).values(city_id=made.city_id, created_at=now)
        if (await conn.execute(city.on_conflict_do_nothing().returning(City.city_id))).one_or_none() is None:
            raise Problem(problems.NODE_TAKEN, code=made.city_id)
    # They come by tier: a parent must be there before its children.
    for chunk in _chunks(made.new):
        nodes = [_node(row, made.city_id, made.on) for row in chunk]
        await conn.execute(insert(Node), nodes)
        await conn.execute(insert(NodeSpan), [spans.first(node) for node in nodes])
        told += [TreeChange("created", row.code, made.city_id, None, row.parent_code, made.on) for row in chunk]
        done += len(chunk)
        if progress:
            progress(done)
    for changes in _chunks(made.changed):
        await _carry_out_changes(conn, changes, on=made.on)
        told += [each for change in changes for each in service.changes_of(change.node, change.changes, made.on)]
        done += len(changes)
        if progress:
            progress(done)
    return told


async def _carry_out_changes(conn: AsyncConnection, changes: Sequence[Change], *, on: date) -> None:
    placed = [change for change in changes if change.changes.keys() & {"name", "parent_code"}]
    await spans.begin(
        conn,
        [change.node | change.changes for change in placed],
        since={change.node["code"]: change.since for change in placed},
        on=on,
    )
    after = [change.node | change.changes for change in changes]
    await conn.execute(
        _CHANGE, [{"changed": node["code"]} | {f"new_{name}": node[name] for name in _SAID} for node in after]
    )


async def _changed(
    conn: AsyncConnection, rows: Iterable[Row], stored: Mapping[str, spans.Row], columns: frozenset[str]
) -> list[tuple[Row, Change]]:
    differing = []
    for row in rows:
        was = stored.get(row.code)
        # A column that the file does not have says nothing.
        said = [name for name in _SAID if name == "parent_code" or name in columns]
        if was is not None and (
            changes := {name: getattr(row, name) for name in said if getattr(row, name) != was[name]}
        ):
            differing.append((row, was, changes))
    since: dict[str, date] = {}
    for chunk in _chunks(differing):
        since |= await spans.last_days(conn, [row.code for row, _, _ in chunk])
    return [(row, Change(was, changes, since[row.code])) for row, was, changes in differing]


async def _stored(conn: AsyncConnection, codes: set[str]) -> dict[str, spans.Row]:
    found: dict[str, spans.Row] = {}
    for chunk in _chunks(sorted(codes - {""})):
        rows = await conn.execute(select(*_COLUMNS).where(Node.code.in_(chunk)))
        found |= {row["code"]: dict(row) for row in rows.mappings()}
    return found


def _city(rows: Sequence[Row], known: Mapping[str, Known]) -> str | None:
    root = next((row.code for row in rows if row.tier == "city"), None)
    parents = (known.get(row.parent_code or "") for row in rows)
    return root or next((parent.city_id for parent in parents if parent), None)


def _node(row: Row, city_id: str, on: date) -> dict[str, Any]:
    return {
        "code": row.code,
        "city_id": city_id,
        "tier": row.tier,
        "name": row.name,
        "parent_code": row.parent_code,
        "opened_on": on,
        "closed_on": None,
        "lat": row.lat,
        "lon": row.lon,
        "population": row.population,
        "version": 1,
    }


def _outside(row: Row, caller: Caller, known: Mapping[str, Known], elsewhere: Collection[str]) -> RowError | None:
    """An error for a line that is not within the caller's subtree, before or after, or whose code is not free.

    One answer for all of these: it does not tell what lies outside.
    """
    was = known.get(row.code)
    if caller.tier == "city":
        within = row.code == caller.city_id if row.tier == "city" else True
        mine = row.code not in elsewhere
    elif row.code in elsewhere:
        within = mine = False
    else:
        within = row.code == caller.node or (row.tier == "village" and row.parent_code == caller.node)
        mine = was is None or row.code == caller.node or was.parent_code == caller.node
        mine = mine and not (row.code == caller.node and was is not None and was.parent_code != row.parent_code)
    if within and mine:
        return None
    return RowError(
        row.line,
        row.code,
        "outside",
        "It is outside your subtree, or its code is not free.",
        "该节点不在您的辖区内，或代码不可用。",
    )


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
