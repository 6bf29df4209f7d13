"""The tree's history: what each node was called, and whose child it was, from a day until a day."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.nodes.models import Node, NodeSpan

Row = dict[str, Any]

_THIS = (NodeSpan.code == bindparam("span_code"), NodeSpan.since == bindparam("span_since"))
_CORRECT = update(NodeSpan).where(*_THIS).values(name=bindparam("new_name"), parent_code=bindparam("new_parent"))
_END = update(NodeSpan).where(*_THIS).values(until=bindparam("new_until"))


def first(node: Row) -> Row:
    """The span that a node is opened with."""
    return _span(node, since=node["opened_on"], until=None)


def may_begin(on: date, *, since: date, closed_on: date | None, today: date) -> bool:
    """Whether a change may hold from `on`: not before the last one (`since`), in the future, or once closed."""
    return since <= on <= today and (closed_on is None or on < closed_on)


async def last_days(conn: AsyncConnection, codes: Iterable[str]) -> dict[str, date]:
    """The day from which each node's last span holds."""
    found = await conn.execute(
        select(NodeSpan.code, NodeSpan.since)
        .join(Node, Node.code == NodeSpan.code)
        # A closed node's last span ends with it; an open node's has no end.
        .where(NodeSpan.code.in_(sorted(codes)), NodeSpan.until.is_not_distinct_from(Node.closed_on))
    )
    return {row.code: row.since for row in found}


async def begin(conn: AsyncConnection, nodes: Sequence[Row], *, since: Mapping[str, date], on: date) -> None:
    """From `on`, these nodes have the names and parents given; a span that began on that very day is replaced."""
    again = [node for node in nodes if since[node["code"]] == on]
    if again:
        await conn.execute(
            _CORRECT,
            [
                {
                    "span_code": node["code"],
                    "span_since": on,
                    "new_name": node["name"],
                    "new_parent": node["parent_code"],
                }
                for node in again
            ],
        )
    later = [node for node in nodes if since[node["code"]] != on]
    if later:
        await conn.execute(
            _END,
            [{"span_code": node["code"], "span_since": since[node["code"]], "new_until": on} for node in later],
        )
        await conn.execute(insert(NodeSpan), [_span(node, since=on, until=node["closed_on"]) for node in later])


async def drop(conn: AsyncConnection, code: str, *, since: date) -> None:
    """Take away the last span, which began on `since`: it holds for no day."""
    await conn.execute(delete(NodeSpan).where(NodeSpan.code == code, NodeSpan.since == since))


async def resume(conn: AsyncConnection, node: Row, *, on: date) -> None:
    """The closed node stands again from `on`, with the name and parent given."""
    await conn.execute(insert(NodeSpan), [_span(node, since=on, until=None)])


async def end(conn: AsyncConnection, code: str, *, since: date, until: date | None) -> None:
    """The last span, which began on `since`, ends: the node is closed from `until` on; None: it stays open."""
    await conn.execute(_END, [{"span_code": code, "span_since": since, "new_until": until}])


def _span(node: Row, *, since: date, until: date | None) -> Row:
    return {
        "code": node["code"],
        "since": since,
        "until": until,
        "city_id": node["city_id"],
        "tier": node["tier"],
        "name": node["name"],
        "parent_code": node["parent_code"],
    }
