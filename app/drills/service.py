from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.errors import Problem
from app.core.ids import new_id
from app.drills.models import Drill
from app.drills.views import drill_view
from app.feed import service as feed
from app.feed.service import Event
from app.nodes import lookup
from app.nodes.models import Node
from app.nodes.scope import visible

TOPIC = "drill"

_COLUMNS = list(Drill.__table__.columns)


@dataclass(frozen=True, slots=True)
class DrillRow:
    """A drill; its deadlines run `pace` times faster than life."""

    city_id: str
    id: UUID
    node_code: str
    title: str
    pace: float
    began_at: datetime
    ended_at: datetime | None


async def find(conn: AsyncConnection, *, city_id: str, drill_id: UUID, hold: bool = False) -> DrillRow | None:
    """A drill of the city, running or ended; with `hold` it is not ended until this transaction is."""
    query = select(*_COLUMNS).where(Drill.city_id == city_id, Drill.id == drill_id)
    if hold:
        query = query.with_for_update(read=True)
    row = (await conn.execute(query)).one_or_none()
    return DrillRow(**row._asdict()) if row else None


async def begin(
    conn: AsyncConnection, *, caller: Caller, node: str, title: str, pace: float, now: datetime
) -> DrillRow:
    """Begin a drill of a node's subtree; a Problem (422) when the caller stands neither there nor above."""
    place = (await lookup.places(conn, {node})).get(node)
    if place is None or caller.node not in place.path:
        raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=node)
    if place.closed_on is not None and place.closed_on <= day_of(now):
        raise Problem(problems.NODE_CLOSED, pointer="/node", code=node, date=place.closed_on.isoformat())
    row: dict[str, Any] = {
        "city_id": place.city_id,
        "id": new_id(),
        "node_code": node,
        "title": title,
        "pace": pace,
        "began_at": now,
        "ended_at": None,
    }
    await conn.execute(insert(Drill), [row])
    drill = DrillRow(**row)
    await feed.append(conn, city_id=drill.city_id, operations=[[event("drill.began", drill)]], now=now)
    return drill


async def get(conn: AsyncConnection, *, caller: Caller, drill_id: UUID) -> DrillRow:
    """A drill that the caller's office takes part in, or one of its subtree; a Problem (404) otherwise."""
    return await _one(conn, select(*_COLUMNS).where(_concerns(caller), Drill.id == drill_id))


async def get_own(conn: AsyncConnection, *, caller: Caller, drill_id: UUID, lock: bool = False) -> DrillRow:
    """A drill of the caller's subtree; a Problem (404) otherwise. With `lock` nobody else changes it meanwhile."""
    query = select(*_COLUMNS).where(visible(caller, Drill), Drill.id == drill_id)
    return await _one(conn, query.with_for_update() if lock else query)


async def list_drills(
    conn: AsyncConnection, *, caller: Caller, limit: int, cursor: str | None
) -> tuple[list[DrillRow], str | None]:
    """Drills that concern the caller's office, the last begun first, and the cursor of the next page."""
    query = select(*_COLUMNS).where(_concerns(caller))
    if cursor is not None:
        query = query.where(tuple_(Drill.began_at, Drill.id) < paging.decode_moment("drills", cursor))
    rows = (await conn.execute(query.order_by(Drill.began_at.desc(), Drill.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("drills", rows[-1].began_at, rows[-1].id)
    return [DrillRow(**row._asdict()) for row in rows], after


async def mark_ended(conn: AsyncConnection, *, drill: DrillRow, now: datetime) -> None:
    """From now on the drill has ended."""
    await conn.execute(update(Drill).where(Drill.city_id == drill.city_id, Drill.id == drill.id).values(ended_at=now))


def event(kind: str, drill: DrillRow) -> Event:
    """The log's event of a drill: it began, it ended. Told to those who follow this drill, as all of it is."""
    return Event(
        type=kind,
        topic=TOPIC,
        subject_id=drill.id,
        version=1 if drill.ended_at is None else 2,
        node_code=drill.node_code,
        body=drill_view(drill).model_dump(mode="json"),
        drill_id=drill.id,
    )


async def _one(conn: AsyncConnection, query: Any) -> DrillRow:
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return DrillRow(**row._asdict())


def _concerns(caller: Caller) -> ColumnElement[bool]:
    """A drill is seen from above it, and by every office that takes part: those under its node."""
    own = visible(caller, Drill)
    if caller.tier == "city":
        return own
    parent = select(Node.parent_code).where(Node.code == caller.node).scalar_subquery()
    above = (Drill.city_id == caller.city_id) & or_(Drill.node_code == caller.city_id, Drill.node_code == parent)
    return or_(own, above)
