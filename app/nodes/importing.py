from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeVar

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.nodes import service
from app.nodes.csvfile import Known, Parsed, Row, RowError, check_tree
from app.nodes.models import City, Node, NodeSpan
from app.nodes.service import TreeChange

CHUNK = 1000

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RowResult:
    """What becomes of one line."""

    line: int
    node: str
    status: Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import would do. With errors it does nothing: a file is taken whole or not at all."""

    city_id: str | None
    results: list[RowResult]
    errors: list[RowError]
    new: list[Row]
    changed: list[tuple[Row, dict[str, Any]]]


async def plan(conn: AsyncConnection, parsed: Parsed, *, today: date, caller: Caller | None = None) -> Plan:
    """Compare the file with the tree. A caller, if given, may touch its own subtree only."""
    stored = await _stored(conn, {row.code for row in parsed.rows} | {row.parent_code or "" for row in parsed.rows})
    known = {
        code: Known(
            row["tier"], row["city_id"], row["parent_code"], row["closed_on"] is None or row["closed_on"] > today
        )
        for code, row in stored.items()
    }
    ordered, errors = check_tree(parsed.rows, known)
    errors = sorted(parsed.errors + errors, key=lambda error: error.line)
    if caller is not None:
        errors += [error for row in ordered if (error := _outside(row, caller, known))]
    new: list[Row] = []
    changed: list[tuple[Row, dict[str, Any]]] = []
    results: list[RowResult] = []
    for row in ordered:
        was = stored.get(row.code)
        if was is None:
            new.append(row)
            results.append(RowResult(row.line, row.code, "created"))
            continue
        differs = {key: value for key, value in _said(row, parsed.columns).items() if was[key] != value}
        if differs:
            changed.append((row, {**was, "changes": differs}))
        results.append(RowResult(row.line, row.code, "updated" if differs else "unchanged"))
    city = next((row.code for row in ordered if row.tier == "city"), None)
    if city is None:
        city = next((known[row.parent_code].city_id for row in ordered if row.parent_code in known), None)
    return Plan(city, sorted(results, key=lambda result: result.line), errors, new, changed)


async def carry_out(
    conn: AsyncConnection,
    made: Plan,
    *,
    on: date,
    today: date,
    now: datetime,
    progress: Callable[[int], None] | None = None,
) -> list[TreeChange]:
    """Store what was planned, in this transaction; `progress` hears how many rows are done."""
    assert not made.errors
    assert made.city_id is not None
    done = 0
    if any(row.tier == "city" for row in made.new):
        await conn.execute(insert(City), [{"city_id": made.city_id, "created_at": now}])
    # Towns before villages: a parent must be there before its children.
    for tier in ("city", "town", "village"):
        for chunk in _chunks([row for row in made.new if row.tier == tier]):
            rows = [_node(row, made.city_id, on) for row in chunk]
            await conn.execute(insert(Node), rows)
            await conn.execute(insert(NodeSpan), [service.first_span(row) for row in rows])
            done += len(chunk)
            if progress:
                progress(done)
    told: list[TreeChange] = []
    for row, was in made.changed:
        changes = was.pop("changes")
        told += await _update(conn, row, was, changes, on=on, today=today)
        done += 1
        if progress:
            progress(done)
    return told


async def _update(
    conn: AsyncConnection, row: Row, was: dict[str, Any], changes: dict[str, Any], *, on: date, today: date
) -> list[TreeChange]:
    told = []
    if "parent_code" in changes:
        told.append(TreeChange("moved", row.code, was["city_id"], was["parent_code"], changes["parent_code"], on))
    if "name" in changes:
        told.append(TreeChange("renamed", row.code, was["city_id"], was["parent_code"], row.parent_code, on))
    if told:
        await service.new_span(conn, was, changes, on, today=today)
    await conn.execute(update(Node).where(Node.code == row.code).values(**changes, version=was["version"] + 1))
    return told


async def _stored(conn: AsyncConnection, codes: set[str]) -> Mapping[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for chunk in _chunks(sorted(codes - {""})):
        rows = await conn.execute(select(*Node.__table__.columns).where(Node.code.in_(chunk)))
        found |= {row["code"]: dict(row) for row in rows.mappings()}
    return found


def _said(row: Row, columns: frozenset[str]) -> dict[str, Any]:
    """What the line says of the node: a column that the file does not have says nothing."""
    said: dict[str, Any] = {"name": row.name, "parent_code": row.parent_code}
    for name in ("lat", "lon", "population"):
        if name in columns:
            said[name] = getattr(row, name)
    return said


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


def _outside(row: Row, caller: Caller, known: Mapping[str, Known]) -> RowError | None:
    """An error for a line that is not within the caller's subtree, before or after."""
    was = known.get(row.code)
    if caller.tier == "city":
        within = row.code == caller.city_id if row.tier == "city" else True
        mine = was is None or was.city_id == caller.city_id
        parent = known.get(row.parent_code or "")
        mine = mine and (parent is None or parent.city_id == caller.city_id)
    else:
        within = row.code == caller.node or (row.tier == "village" and row.parent_code == caller.node)
        mine = was is None or row.code == caller.node or was.parent_code == caller.node
        mine = mine and not (row.code == caller.node and was is not None and was.parent_code != row.parent_code)
    if within and mine:
        return None
    return RowError(row.line, row.code, "outside", "This node is outside your subtree.", "该节点不在您的辖区内。")


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
