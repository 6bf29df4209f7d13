"""What was known of the tree when: a change that holds from a day on may be recorded on another."""

from datetime import datetime

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import day_of
from app.nodes.models import Node, NodeChange, NodeSpan

CLOSINGS = ("closed", "merged")


def closing() -> ScalarSelect[datetime]:
    """In a query on `nodes`: when the node's closing was recorded."""
    return (
        select(func.max(NodeChange.at))
        .where(NodeChange.code == Node.code, NodeChange.kind.in_(CLOSINGS))
        .scalar_subquery()
    )


async def offices(conn: AsyncConnection, *, city_id: str, code: str, at: datetime) -> set[str]:
    """The offices that a node stood under at a moment, itself included: as is known now, and as was known then.

    Empty when there was no such node.
    """
    day = day_of(at)
    held = select(NodeSpan.parent_code).where(
        NodeSpan.code == code,
        NodeSpan.city_id == city_id,
        NodeSpan.since <= day,
        NodeSpan.until.is_(None) | (NodeSpan.until > day),
    )
    # What the first change that was recorded afterwards put an end to stood until then for whoever was there;
    # one that opened the node, or opened it again, put an end to nothing.
    known = (
        select(NodeChange.old_parent)
        .where(
            NodeChange.code == code,
            NodeChange.city_id == city_id,
            NodeChange.at > at,
        )
        .order_by(NodeChange.at, NodeChange.id)
        .limit(1)
    )
    stood = (await conn.execute(held)).scalars().all()
    stood_then = [parent for parent in (await conn.execute(known)).scalars() if parent is not None]
    if not stood and not stood_then:
        return set()
    return {code, city_id, *(parent for parent in (*stood, *stood_then) if parent is not None)}
