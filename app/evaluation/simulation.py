"""`beacon policy simulate`: stored history read in one snapshot, told again under another policy, and compared."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert, AlertStep
from app.core.clock import ZONE, day_of
from app.core.database import Database, DatabaseAway
from app.detection import history
from app.detection.cluster import Sighting
from app.detection.looking import ASKED, Answered
from app.detection.models import Alarm
from app.drills.scope import of_drill
from app.evaluation.courses import Act, Kind
from app.evaluation.outcome import Outcome
from app.evaluation.replay import Replay, reach
from app.evaluation.told import Before, StoredAlarm, Told
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.nodes.models import City
from app.reports.models import Report
from app.rollcalls.service import towns_answered

AT_ONCE = 1000
ACTS: dict[str, Kind] = {
    "alert.acknowledged": "acknowledged",
    "alert.released": "released",
    "alert.closed": "closed",
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """What would have differed, city by city."""

    since: datetime
    until: datetime
    cities: dict[str, Outcome]

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return any(outcome.differs for outcome in self.cities.values())


async def simulate(
    database: Database,
    *,
    policy: Policy,
    in_force: Policy,
    since: datetime,
    until: datetime,
    answered: Answered = towns_answered,
) -> Simulated:
    """Tell the real history between the two times again under `policy`. It is read in one snapshot, as a stream.

    `in_force` is the policy that the history is taken to have been decided under. Nothing is written.
    """
    async with database.snapshot() as conn:
        try:
            cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
        except ProgrammingError as error:
            # PostgreSQL without Beacon's tables; SQLite's own error for it says that it is away.
            raise DatabaseAway from error
        found = {}
        for city_id in cities:
            before = await _before(conn, city_id, since, until, answered)
            replay = Replay(before=before, policy=policy, in_force=in_force, since=since, until=until)
            async for told in _told(conn, city_id, since - reach(policy), until):
                replay.tell(told)
            found[city_id] = replay.end()
        return Simulated(since, until, found)


async def _told(conn: AsyncConnection, city_id: str, since: datetime, until: datetime) -> AsyncIterator[Told]:
    """The city's real reports in the order received, without their words."""
    query = (
        history.SEEN.add_columns(
            Report.received_at,
            Report.urgency,
            Report.severity,
            Report.certainty,
            Report.figures,
            Report.level,
            Report.alert_id,
        )
        .where(
            Report.city_id == city_id,
            of_drill(Report, None),
            Report.received_at >= since,
            Report.received_at < until,
        )
        .order_by(Report.received_at, Report.id)
    )
    async with conn.stream(query.execution_options(yield_per=AT_ONCE)) as rows:
        async for row in rows:
            yield Told(
                history.seen(row),
                row.received_at,
                row.urgency,
                row.severity,
                row.certainty,
                row.figures,
                Level(row.level),
                row.alert_id is not None,
            )


async def _before(conn: AsyncConnection, city_id: str, since: datetime, until: datetime, answered: Answered) -> Before:
    acts, active = await _acts(conn, city_id, since, until)
    first = day_of(since - timedelta(days=30))
    return Before(
        acts=acts,
        active=active,
        alarms=await _alarms(conn, city_id, since, until),
        answered=await answered(conn, city_id, first - ASKED, day_of(until)),
        began=await history.began(conn, city_id=city_id, drill_id=None),
    )


async def _acts(
    conn: AsyncConnection, city_id: str, since: datetime, until: datetime
) -> tuple[dict[UUID, list[Act]], dict[UUID, Level]]:
    """By incident what offices did at its alerts; and the incidents that had an alert at `since`, with its level."""
    running = or_(Alert.closed_at.is_(None), Alert.closed_at >= since)
    concerned = (Alert.city_id == city_id, of_drill(Alert, None), Alert.raised_at < until, running)
    acts: dict[UUID, list[Act]] = defaultdict(list)
    active: dict[UUID, Level] = {}
    alerts = await conn.execute(
        select(
            Alert.id,
            Alert.incident_id,
            Alert.raised_at,
            Alert.level,
            Alert.origin,
            Alert.acknowledged_at,
            Alert.closed_at,
        ).where(*concerned)
    )
    incidents: dict[UUID, UUID] = {}
    ends: dict[tuple[UUID, Kind], Act] = {}
    levels = await _levels_at(conn, concerned, since)
    for row in alerts:
        incidents[row.id] = row.incident_id
        if row.raised_at < since:
            active[row.incident_id] = levels.get(row.id, Level(row.level))
        elif row.origin == "silence":
            acts[row.incident_id].append(Act(row.raised_at, "raised", Level(row.level)))
        # What was done before timelines were kept is known by its last time alone.
        if row.acknowledged_at is not None:
            ends[row.id, "acknowledged"] = Act(row.acknowledged_at, "acknowledged")
        if row.closed_at is not None:
            ends[row.id, "closed"] = Act(row.closed_at, "closed")
    steps = await conn.execute(
        select(AlertStep.alert_id, AlertStep.at, AlertStep.type)
        .join(Alert, (Alert.city_id == AlertStep.city_id) & (Alert.id == AlertStep.alert_id))
        .where(*concerned, AlertStep.city_id == city_id, AlertStep.type.in_(sorted(ACTS)))
    )
    for alert_id, at, type_ in steps:
        ends.pop((alert_id, ACTS[type_]), None)
        acts[incidents[alert_id]].append(Act(at, ACTS[type_]))
    for (alert_id, _), act in ends.items():
        acts[incidents[alert_id]].append(act)
    for found in acts.values():
        found[:] = sorted((act for act in found if since <= act.at < until), key=lambda act: act.at)
    return acts, active


async def _levels_at(conn: AsyncConnection, concerned: Any, since: datetime) -> dict[UUID, Level]:
    """By alert that was there at `since`: the gravest level its reports had by then."""
    rows = await conn.execute(
        select(Report.alert_id, Report.level)
        .join(Alert, (Alert.city_id == Report.city_id) & (Alert.id == Report.alert_id))
        .where(*concerned, Alert.raised_at < since, Report.received_at < since)
        .distinct()
    )
    found: dict[UUID, Level] = {}
    for alert_id, level in rows:
        assert alert_id is not None
        found[alert_id] = max(found.get(alert_id, Level.ROUTINE), Level(level), key=lambda one: one.rank)
    return found


async def _alarms(conn: AsyncConnection, city_id: str, since: datetime, until: datetime) -> list[StoredAlarm]:
    rows = await conn.execute(
        select(*Alarm.__table__.columns)
        # By the report that made them alarms: when detection looked at it is another matter.
        .join(Report, (Report.city_id == Alarm.city_id) & (Report.id == Alarm.report_id))
        .where(
            Alarm.city_id == city_id,
            of_drill(Alarm, None),
            Report.received_at >= since,
            Report.received_at < until,
        )
    )
    return [
        StoredAlarm(
            row.key,
            row.rule,
            row.hazard or row.family,
            Sighting(row.report_id, row.node_code, row.seen_at, row.lat, row.lon),
            frozenset(UUID(one) for one in row.reports),
            row.incident_id,
            row.raised_at,
            Level(row.level) if row.level else None,
            row.sentence,
            row.node_code,
        )
        for row in rows
    ]


def day_begins(day: date) -> datetime:
    """The moment a day begins where the offices are."""
    return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)
