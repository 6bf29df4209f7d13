"""`beacon policy simulate`: stored history read in one snapshot, told again under another policy, and compared."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert, AlertStep
from app.core.clock import ZONE, day_of
from app.core.database import Database
from app.detection import history
from app.detection.cluster import Sighting
from app.detection.engine import ASKED, Answered, nobody_asked
from app.detection.models import Alarm
from app.drills.scope import of_drill
from app.evaluation.courses import Act, Kind, Raised
from app.evaluation.replay import Before, Outcome, Replay, Side, StoredAlarm, Told, reach
from app.hazards.cap import RISING, Level
from app.hazards.policy import Policy
from app.nodes.models import City
from app.reports.models import Report

# The terminal shows so many differing rows of a kind; --json has all.
SHOWN = 50
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
    answered: Answered = nobody_asked,
) -> Simulated:
    """Tell the real history between the two times again under `policy`. It is read in one snapshot, as a stream.

    `in_force` is the policy that the history is taken to have been decided under. Nothing is written.
    """
    async with database.snapshot() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
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


def as_json(found: Simulated) -> str:
    """All of it, for machines."""
    body = {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "differs": found.differs,
        "cities": {city: _outcome(outcome) for city, outcome in found.cities.items()},
    }
    return json.dumps(body, ensure_ascii=False, indent=1)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "reports": outcome.reports,
        "stored": _side(outcome.stored),
        "simulated": _side(outcome.simulated),
        "report_rows": [
            {
                "id": str(row.report_id),
                "received_at": row.at.isoformat(),
                "node": row.node,
                "hazard": row.hazard,
                "stored": row.stored,
                "simulated": row.simulated,
                "why": row.why,
                "why_zh": row.why_zh,
            }
            for row in outcome.report_rows
        ],
        "alert_rows": [
            {
                "incident_id": str(row.incident_id),
                "stored": _raised(row.stored),
                "simulated": _raised(row.simulated),
                "what": row.what,
                "what_zh": row.what_zh,
            }
            for row in outcome.alert_rows
        ],
        "alarm_rows": [
            {
                "at": row.at.isoformat(),
                "rule": row.rule,
                "node": row.node,
                "sentence": row.sentence,
                "in": "simulated" if row.simulated else "stored",
            }
            for row in outcome.alarm_rows
        ],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "reports": {str(level): side.levels[level] for level in reversed(RISING)},
        "alerts": {str(level): side.alerts[level] for level in reversed(RISING)},
        "raised_again": side.again,
        "overdue": side.overdue,
        "alarms": dict(sorted(side.alarms.items())),
    }


def _raised(one: Raised | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"at": one.at.isoformat(), "level": one.level, "by": one.by, "again": one.again, "overdue": one.late > 0}


def show(found: Simulated, console: Console) -> None:
    """The same as tables, the first rows of each kind."""
    for city_id, outcome in found.cities.items():
        if outcome.reports == 0 and not outcome.differs:
            continue
        since, until = _local(found.since), _local(found.until)
        console.print(f"{city_id}: {outcome.reports} reports from {since} until {until}.")
        if not outcome.differs:
            console.print("Nothing differs.")
            continue
        console.print(_totals(outcome))
        _rows(
            console,
            "Reports whose level differs",
            ("report", "received", "node", "hazard", "stored", "simulated", "why"),
            [
                (str(row.report_id), _local(row.at), row.node, row.hazard, row.stored, row.simulated, row.why)
                for row in outcome.report_rows
            ],
        )
        _rows(
            console,
            "Alerts that differ",
            ("incident", "stored", "simulated", "what"),
            [(str(row.incident_id), _said(row.stored), _said(row.simulated), row.what) for row in outcome.alert_rows],
        )
        _rows(
            console,
            "Alarms of early detection that differ",
            ("at", "rule", "node", "", "sentence"),
            [
                (_local(row.at), row.rule, row.node, "simulated" if row.simulated else "stored", row.sentence)
                for row in outcome.alarm_rows
            ],
        )
    if not any(outcome.reports for outcome in found.cities.values()):
        console.print("No reports were received in that time.")


def _totals(outcome: Outcome) -> Table:
    table = Table("", "stored", "simulated", "difference", title="Totals", title_justify="left")
    was, would = outcome.stored, outcome.simulated
    lines = [(f"reports at {level}", was.levels[level], would.levels[level]) for level in reversed(RISING)]
    lines += [(f"alerts at {level}", was.alerts[level], would.alerts[level]) for level in reversed(RISING)]
    lines += [("alerts raised again", was.again, would.again), ("alerts overdue", was.overdue, would.overdue)]
    lines += [(f"alarms {rule}", was.alarms[rule], would.alarms[rule]) for rule in sorted({*was.alarms, *would.alarms})]
    for name, one, other in lines:
        if one or other:
            table.add_row(name, str(one), str(other), f"{other - one:+d}" if other != one else "")
    return table


def _rows(console: Console, title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    table = Table(*heads, title=title, title_justify="left")
    for row in rows[:SHOWN]:
        table.add_row(*row)
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"{len(rows) - SHOWN} more; --json has all of them.")


def _said(one: Raised | None) -> str:
    if one is None:
        return "none"
    again = f", raised again {one.again} times" if one.again else ""
    return f"{one.level} {_local(one.at)}, by {one.by}{again}{', overdue' if one.late else ''}"


def _local(at: datetime) -> str:
    return at.astimezone(ZONE).strftime("%Y-%m-%d %H:%M")
