"""What detection reads: the new reports of a city's log, those around them, and the counts of days."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, and_, cast, func, literal_column, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import ZONE, day_of
from app.core.database import among
from app.detection.cluster import Limits, Sighting
from app.detection.lookout import AHEAD, Seen
from app.detection.models import Alarm
from app.drills.scope import of_drill
from app.feed.models import FeedEvent
from app.nodes.models import Node
from app.reports.models import Report

Counts = dict[tuple[str, str], Counter[date]]

RECEIVED = "report.received"

# More than 2 km, the largest radius: from north to south, and from east to west up to 60 degrees.
NORTH, EAST = 0.02, 0.04

_LAT = func.coalesce(Report.lat, Node.lat)
_LON = func.coalesce(Report.lon, Node.lon)
SEEN = (
    select(
        Report.id,
        Report.node_code,
        Report.observed_at,
        _LAT.label("lat"),
        _LON.label("lon"),
        Report.town_code,
        Report.family,
        Report.hazard,
        Report.kind,
        Report.incident_id,
        Report.drill_id,
    )
    # A reference table: the join stays on the city's machine.
    .join(Node, Node.code == Report.node_code)
)


def seen(row: Any) -> Seen:
    """A row of `SEEN`."""
    return Seen(
        Sighting(row.id, row.node_code, row.observed_at, row.lat, row.lon),
        row.town_code,
        row.family,
        row.hazard,
        row.kind,
        row.incident_id,
        row.drill_id,
    )


async def by_id(conn: AsyncConnection, *, city_id: str, ids: Sequence[UUID]) -> list[Seen]:
    """These reports, in this order."""
    query = SEEN.where(Report.city_id == city_id, among(conn.dialect.name, Report.id, "ids"))
    found = {row.id: seen(row) for row in await conn.execute(query, {"ids": list(ids)})}
    return [found[one] for one in ids]


async def received_since(conn: AsyncConnection, *, city_id: str, since: datetime) -> list[Seen]:
    """All reports of a city that were received since then, real and of drills, in that order."""
    query = SEEN.where(Report.city_id == city_id, Report.received_at >= since)
    return [seen(row) for row in await conn.execute(query.order_by(Report.received_at, Report.id))]


def _up_to(city_id: str, seq: int) -> ColumnElement[bool]:
    """Without the reports that the log tells of later: what is found does not depend on when it is looked for."""
    later = select(FeedEvent.subject_id).where(
        FeedEvent.city_id == city_id, FeedEvent.seq > seq, FeedEvent.type == RECEIVED
    )
    return Report.id.not_in(later)


async def close_by(
    conn: AsyncConnection,
    *,
    city_id: str,
    drill_id: UUID | None,
    up_to: int,
    kinds: Collection[str],
    of: ColumnElement[bool],
    new: Sequence[Seen],
    limits: Limits,
) -> list[Seen]:
    """The reports `of` a family or hazard that any of `new` may be linked to, these among them.

    Only those that the log tells of `up_to` that number.
    """
    first = min(one.sighting.at for one in new) - limits.window
    last = max(one.sighting.at for one in new) + limits.window
    near: list[ColumnElement[bool]] = [among(conn.dialect.name, Report.node_code, "nodes")]
    lats = [one.sighting.lat for one in new if one.sighting.lat is not None]
    lons = [one.sighting.lon for one in new if one.sighting.lon is not None]
    if lats and lons:
        box = and_(_LAT.between(min(lats) - NORTH, max(lats) + NORTH), _LON.between(min(lons) - EAST, max(lons) + EAST))
        near.append(box)
    query = SEEN.where(
        Report.city_id == city_id,
        of_drill(Report, drill_id),
        # No report comes long before its event: this is what the index finds them by.
        Report.received_at >= first - AHEAD,
        Report.observed_at.between(first, last),
        Report.kind.in_(sorted(kinds)),
        of,
        or_(*near),
        _up_to(city_id, up_to),
    )
    rows = await conn.execute(query, {"nodes": sorted({one.sighting.node for one in new})})
    return [seen(row) for row in rows]


async def counts(
    conn: AsyncConnection,
    *,
    city_id: str,
    drill_id: UUID | None,
    up_to: int,
    kinds: Collection[str],
    towns: Collection[str],
    families: Collection[str],
    first: date,
    last: date,
) -> Counts:
    """By town and family: how many reports were observed on each day from `first` to `last`; no zeros.

    Only those that the log tells of `up_to` that number.
    """
    since = datetime.combine(first, time(), ZONE)
    day = _day(conn.dialect.name)
    query = (
        select(Report.town_code, Report.family, day, func.count().label("reports"))
        .where(
            Report.city_id == city_id,
            of_drill(Report, drill_id),
            Report.received_at >= since - AHEAD,
            Report.observed_at >= since,
            Report.observed_at < datetime.combine(last + timedelta(days=1), time(), ZONE),
            among(conn.dialect.name, Report.town_code, "towns"),
            among(conn.dialect.name, Report.family, "families"),
            Report.kind.in_(sorted(kinds)),
            _up_to(city_id, up_to),
        )
        .group_by(Report.town_code, Report.family, text("day"))
    )
    found: Counts = defaultdict(Counter)
    for row in await conn.execute(query, {"towns": sorted(towns), "families": sorted(families)}):
        found[row.town_code, row.family][_as_date(row.day)] = row.reports
    return found


def _day(dialect: str) -> Any:
    """The calendar day where the offices are, which keep one time all year: `app.core.clock.ZONE`."""
    if dialect == "sqlite":
        return func.date(Report.observed_at, literal_column("'+8 hours'")).label("day")
    return cast(func.timezone(literal_column("'Asia/Shanghai'"), Report.observed_at), Date).label("day")


def _as_date(day: date | str) -> date:
    return date.fromisoformat(day) if isinstance(day, str) else day


async def began(conn: AsyncConnection, *, city_id: str, drill_id: UUID | None) -> date | None:
    """The first day that the city's log (or the drill's) was running."""
    first = (
        await conn.execute(
            select(Report.received_at)
            .where(Report.city_id == city_id, of_drill(Report, drill_id))
            .order_by(Report.received_at)
            .limit(1)
        )
    ).scalar_one_or_none()
    return day_of(first) if first is not None else None


async def alarms(conn: AsyncConnection, *, city_id: str, drill_id: UUID | None, since: datetime) -> list[Any]:
    """The alarms about what was observed since then."""
    query = select(
        Alarm.key,
        Alarm.rule,
        Alarm.family,
        Alarm.hazard,
        Alarm.node_code,
        Alarm.report_id,
        Alarm.reports,
        Alarm.seen_at,
        Alarm.lat,
        Alarm.lon,
    ).where(Alarm.city_id == city_id, of_drill(Alarm, drill_id), Alarm.seen_at >= since)
    return list((await conn.execute(query)).all())
