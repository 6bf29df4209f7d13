"""The tree as it was on a day: who stood under whom, and what was part of what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.nodes.models import NodeSpan, NodeSuccession


@dataclass(frozen=True, slots=True)
class Borders:
    """The offices that stand on a day; of those that were merged by then, the open successor."""

    parents: Mapping[str, str | None]
    tiers: Mapping[str, str]
    names: Mapping[str, str]
    merges: Mapping[str, str]


async def borders(conn: AsyncConnection, *, city_id: str, on: date) -> Borders:
    """The tree of a city on a day, from its history: two statements."""
    rows = (
        await conn.execute(
            select(NodeSpan.code, NodeSpan.parent_code, NodeSpan.tier, NodeSpan.name).where(
                NodeSpan.city_id == city_id, NodeSpan.since <= on, NodeSpan.until.is_(None) | (NodeSpan.until > on)
            )
        )
    ).all()
    parents = {row.code: row.parent_code for row in rows}
    into = {
        row.code: row.other
        for row in await conn.execute(
            select(NodeSuccession.code, NodeSuccession.other)
            .where(NodeSuccession.city_id == city_id, NodeSuccession.kind == "merge", NodeSuccession.on <= on)
            .order_by(NodeSuccession.on)
        )
        if row.code not in parents
    }
    merges = {}
    for code in into:
        end = code
        while end in into:
            end = into[end]
        if end in parents:
            merges[code] = end
    return Borders(parents, {r.code: r.tier for r in rows}, {r.code: r.name for r in rows}, merges)
