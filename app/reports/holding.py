"""Who holds which reports, and what is overdue: seen by the office itself and every office above."""

from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging
from app.core.caller import Caller
from app.drills.scope import of_drill
from app.nodes.scope import visible
from app.reports import moves
from app.reports.models import WAITING, Custody, Report
from app.reports.views import HeldView


async def list_held(
    conn: AsyncConnection,
    *,
    caller: Caller,
    overdue: bool | None,
    state: str | None,
    node: str | None,
    drill_id: UUID | None,
    limit: int,
    cursor: str | None,
    now: datetime,
) -> tuple[list[HeldView], str | None]:
    """What the offices of the caller's subtree hold, and the next page's cursor; the first to be opened first."""
    query = (
        select(
            *Custody.__table__.columns,
            Report.hazard,
            Report.level,
            Report.summary,
            Report.node_code.label("report_node"),
        )
        .join(Report, and_(Report.city_id == Custody.city_id, Report.id == Custody.report_id))
        .where(visible(caller, Custody), of_drill(Report, drill_id))
    )
    if overdue is not None:
        query = query.where(text(WAITING), _overdue(now)) if overdue else query.where(~_overdue(now))
    if state is not None:
        query = query.where(Custody.state == state)
    if node is not None:
        query = query.where(Custody.node_code == node)
    order = (Custody.due_at, Custody.report_id, Custody.node_code)
    if cursor is not None:
        query = query.where(tuple_(*order) > _decode(cursor))
    rows = (await conn.execute(query.order_by(*order).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        last = rows[-1]
        after = paging.encode("custody", last.due_at.isoformat(), last.report_id.hex, last.node_code)
    return [_view(row, now) for row in rows], after


def _decode(cursor: str) -> tuple[datetime, UUID, str]:
    moment, report_id, node = paging.decode("custody", cursor, str, str, str)
    due_at, found = paging.decode_moment("custody", paging.encode("custody", moment, report_id))
    return due_at, found, node


def _overdue(now: datetime) -> ColumnElement[bool]:
    return or_(
        and_(Custody.state == "received", Custody.due_at < now),
        and_(Custody.state == "opened", Custody.acknowledge_by.is_not(None), Custody.acknowledge_by < now),
    )


def _view(row: Any, now: datetime) -> HeldView:
    due_at = row.acknowledge_by if row.state == "opened" and row.acknowledge_by else row.due_at
    # Rounded up: what is overdue by less than a second is overdue.
    late = ceil((now - due_at).total_seconds()) if row.state in moves.WAITING else 0
    return HeldView(
        report_id=row.report_id,
        node=row.node_code,
        tier=row.tier,
        state=row.state,
        since=row.since,
        due_at=due_at,
        overdue_seconds=max(0, late),
        given_by=row.given_by,
        note=row.note,
        hazard=row.hazard,
        level=row.level,
        report_node=row.report_node,
        summary=row.summary,
    )
