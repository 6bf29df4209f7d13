from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.detection.models import Alarm
from app.detection.views import AlarmView, alarm_view
from app.drills.scope import of_drill
from app.nodes.scope import visible

_COLUMNS = list(Alarm.__table__.columns)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of alarms is narrowed by."""

    rule: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    drill: UUID | None = None


async def get(conn: AsyncConnection, *, caller: Caller, alarm_id: UUID) -> AlarmView:
    """One alarm the caller may see, real or of a drill; a Problem (404) otherwise."""
    row = (await conn.execute(select(*_COLUMNS).where(visible(caller, Alarm), Alarm.id == alarm_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return alarm_view(row._asdict())


async def list_alarms(
    conn: AsyncConnection, *, caller: Caller, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[AlarmView], str | None]:
    """Alarms of the caller's subtree, the last raised first, and the cursor of the next page."""
    query = select(*_COLUMNS).where(visible(caller, Alarm), of_drill(Alarm, filters.drill))
    if filters.rule is not None:
        query = query.where(Alarm.rule == filters.rule)
    if filters.since is not None:
        query = query.where(Alarm.raised_at >= filters.since)
    if filters.until is not None:
        query = query.where(Alarm.raised_at < filters.until)
    if cursor is not None:
        query = query.where(tuple_(Alarm.raised_at, Alarm.id) < paging.decode_moment("alarms", cursor))
    rows = (await conn.execute(query.order_by(Alarm.raised_at.desc(), Alarm.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("alarms", rows[-1].raised_at, rows[-1].id)
    return [alarm_view(row._asdict()) for row in rows], after
