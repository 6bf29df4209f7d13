from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from app.core.caller import Caller, may
from app.core.database import Reading
from app.core.paging import Cursor, Limit, Page
from app.core.times import Time
from app.detection import service
from app.detection.views import AlarmView
from app.drills.scope import DrillId

router = APIRouter(prefix="/v1/alarms", tags=["alarms"])

Reader = Annotated[Caller, Depends(may("alerts:read"))]


@router.get("")
async def list_alarms(
    caller: Reader,
    conn: Reading,
    rule: Literal["ears.c1", "ears.c2", "ears.c3", "cluster", "cluster.disease"] | None = None,
    since: Annotated[Time | None, Query(description="Raised at or after.")] = None,
    until: Annotated[Time | None, Query(description="Raised before.")] = None,
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AlarmView]:
    """What early detection found unusual in the caller's subtree, the last raised first, each with its sentence."""
    filters = service.Filters(rule, since, until, drill)
    items, after = await service.list_alarms(conn, caller=caller, filters=filters, limit=limit, cursor=cursor)
    return Page(items=items, next=after)


@router.get("/{alarm_id}")
async def get_alarm(caller: Reader, conn: Reading, alarm_id: UUID) -> AlarmView:
    """One alarm."""
    return await service.get(conn, caller=caller, alarm_id=alarm_id)
