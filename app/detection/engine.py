"""The job: look at each new report of a city's log once, and store what is unusual with all it causes."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.found import raise_on
from app.core.clock import Clock
from app.core.database import Database, among, insert_into
from app.core.ids import new_id
from app.detection import history
from app.detection.cluster import Sighting
from app.detection.ears import OLDEST
from app.detection.lookout import (
    CLUSTER,
    DISEASE,
    LATE,
    Finding,
    Lookout,
    Seen,
    asked_since,
    count_findings,
    count_key,
    known_days,
    limits_of,
    worth_a_look,
)
from app.detection.models import Alarm, DetectionCursor
from app.detection.views import alarm_view
from app.drills import service as drills
from app.feed import service as feed
from app.feed.cursors import START, Position
from app.feed.models import FeedEvent, FeedHead
from app.feed.service import Event
from app.hazards.detection import DetectionPolicy
from app.hazards.policy import Policy
from app.incidents.models import Incident
from app.reports.models import Report

Answered = Callable[[AsyncConnection, str, date, date], Awaitable[dict[str, set[date]]]]
"""By town: the days from the first until the last on which it answered its roll call; one never asked is not in it."""

TOPIC = "alarm"
BATCH = 2000
# How far back it is asked whether towns are asked at all.
ASKED = timedelta(days=30)


async def nobody_asked(conn: AsyncConnection, city_id: str, since: date, until: date) -> dict[str, set[date]]:
    """Where no roll calls are kept."""
    return {}


async def run_due(
    database: Database, *, policy: Policy, clock: Clock, answered: Answered = nobody_asked
) -> datetime | None:
    """Look at all that is new in every city's log. Nothing is due by time alone.

    A batch of reports is looked at in one transaction with the cursor's advance: killed anywhere, it is looked at
    again, and an alarm is stored once.
    """
    for city_id in await _with_news(database):
        while await _look(database, city_id, policy, clock, answered):
            pass
    return None


async def _with_news(database: Database) -> list[str]:
    beyond = or_(
        DetectionCursor.city_id.is_(None),
        DetectionCursor.epoch != FeedHead.epoch,
        DetectionCursor.seq != FeedHead.last_seq,
    )
    query = (
        select(FeedHead.city_id)
        .join(DetectionCursor, DetectionCursor.city_id == FeedHead.city_id, isouter=True)
        .where(beyond)
    )
    async with database.reading() as conn:
        return sorted((await conn.execute(query)).scalars())


async def _look(database: Database, city_id: str, policy: Policy, clock: Clock, answered: Answered) -> bool:
    """One batch; whether there may be more."""
    async with database.writing() as conn:
        since = await _claim(conn, city_id)
        if since is None:
            return False
        now = clock.now()
        head = (
            await conn.execute(
                select(FeedHead.epoch, FeedHead.last_seq, FeedHead.kept_from).where(FeedHead.city_id == city_id)
            )
        ).one()
        if since == START:
            expired = head.kept_from > 1
        else:
            expired = since.epoch != head.epoch or not head.kept_from - 1 <= since.seq <= head.last_seq
        more = False
        until = head.last_seq
        if expired:
            new = await history.received_since(conn, city_id=city_id, since=now - LATE)
        else:
            events = await _events(conn, city_id, since.seq, head.last_seq)
            if len(events) == BATCH:
                more, until = True, events[-1].seq
            ids = [event.subject_id for event in events]
            new = await history.by_id(conn, city_id=city_id, ids=ids) if ids else []
            if not new and since != START and until - since.seq < BATCH:
                # What else happens in a city need not be written down each time.
                return False
        findings = await _findings(conn, city_id, new, until, policy, now, answered)
        # The cursor before the log's head row, for which every writer of the city waits.
        await conn.execute(
            update(DetectionCursor).where(DetectionCursor.city_id == city_id).values(epoch=head.epoch, seq=until)
        )
        await _raise(conn, city_id, findings, policy, now)
        return more


async def _claim(conn: AsyncConnection, city_id: str) -> Position | None:
    """The cursor, locked; None when another process holds it."""
    row = (
        await conn.execute(
            select(DetectionCursor.epoch, DetectionCursor.seq)
            .where(DetectionCursor.city_id == city_id)
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()
    if row is not None:
        return Position(row.epoch, row.seq)
    statement = insert_into(conn.dialect.name, DetectionCursor).on_conflict_do_nothing(index_elements=["city_id"])
    first = {"city_id": city_id, "epoch": START.epoch, "seq": START.seq}
    made = (await conn.execute(statement.returning(DetectionCursor.city_id), first)).scalar_one_or_none()
    return START if made is not None else None


async def _events(conn: AsyncConnection, city_id: str, since: int, until: int) -> Sequence[Any]:
    """The next reports of the log, real and of drills."""
    query = (
        select(FeedEvent.seq, FeedEvent.subject_id)
        .where(
            FeedEvent.city_id == city_id,
            FeedEvent.seq > since,
            FeedEvent.seq <= until,
            FeedEvent.type == history.RECEIVED,
        )
        .order_by(FeedEvent.seq)
        .limit(BATCH)
    )
    return (await conn.execute(query)).all()


async def _findings(
    conn: AsyncConnection,
    city_id: str,
    new: Sequence[Seen],
    up_to: int,
    policy: Policy,
    now: datetime,
    answered: Answered,
) -> list[Finding]:
    """What is unusual about the new reports and has not been told of: the real apart from each drill.

    Each is looked at with those before it in the log, so that nothing depends on how many come at once.
    """
    detection = policy.detection
    groups: dict[UUID | None, list[Seen]] = defaultdict(list)
    for one in new:
        if worth_a_look(one, detection, now):
            groups[one.drill_id].append(one)
    found: list[Finding] = []
    for drill_id, reports in groups.items():
        window = max(limits_of(detection.cluster).window, limits_of(detection.disease).window)
        since = min(one.sighting.at for one in reports) - 2 * window - LATE
        alarms = await history.alarms(conn, city_id=city_id, drill_id=drill_id, since=since)
        found += await _clusters(conn, city_id, drill_id, reports, up_to, detection, alarms)
        told = {alarm.key for alarm in alarms}
        found += await _counts(conn, city_id, drill_id, reports, up_to, detection, told, answered)
    return found


async def _clusters(
    conn: AsyncConnection,
    city_id: str,
    drill_id: UUID | None,
    new: Sequence[Seen],
    up_to: int,
    detection: DetectionPolicy,
    alarms: Sequence[Any],
) -> list[Finding]:
    lookout = Lookout(detection)
    for alarm in alarms:
        if alarm.rule in (CLUSTER, DISEASE):
            anchor = Sighting(alarm.report_id, alarm.node_code, alarm.seen_at, alarm.lat, alarm.lon)
            of = alarm.hazard or alarm.family
            lookout.know(alarm.rule, of, anchor, frozenset(UUID(one) for one in alarm.reports))
    read = partial(history.close_by, conn, city_id=city_id, drill_id=drill_id, up_to=up_to, kinds=detection.kinds)
    families = Report.family.in_(sorted({one.family for one in new}))
    around = await read(of=families, new=new, limits=limits_of(detection.cluster))
    diseases = [one for one in new if one.hazard in detection.disease.hazards]
    if diseases:
        hazards = Report.hazard.in_(sorted({one.hazard for one in diseases}))
        around += await read(of=hazards, new=diseases, limits=limits_of(detection.disease))
    later = {one.sighting.id for one in new}
    for one in around:
        if one.sighting.id not in later:
            lookout.see(one)
    found = []
    for one in new:
        lookout.see(one)
        found += lookout.clusters(one)
    return found


async def _counts(
    conn: AsyncConnection,
    city_id: str,
    drill_id: UUID | None,
    new: Sequence[Seen],
    up_to: int,
    detection: DetectionPolicy,
    told: set[str],
    answered: Answered,
) -> list[Finding]:
    """Each town's count of a family on a day, after each of its reports, until it is an alarm."""
    concerned = [
        one
        for one in new
        if one.town is not None and any(count_key(method, one) not in told for method in detection.ears)
    ]
    if not concerned:
        return []
    first = min(one.day for one in concerned) - OLDEST
    last = max(one.day for one in concerned)
    counts = await history.counts(
        conn,
        city_id=city_id,
        drill_id=drill_id,
        up_to=up_to,
        kinds=detection.kinds,
        towns={str(one.town) for one in concerned},
        families={one.family for one in concerned},
        first=first,
        last=last,
    )
    if not any(_of(counts, one)[one.day] >= detection.count_at_least for one in concerned):
        return []
    # A drill asks nobody about the days before it.
    replies = {} if drill_id else await answered(conn, city_id, first - ASKED, last)
    since, began = asked_since(replies), await history.began(conn, city_id=city_id, drill_id=drill_id)
    for one in concerned:
        _of(counts, one)[one.day] -= 1
    found = []
    for one in concerned:
        mine = _of(counts, one)
        mine[one.day] += 1
        if mine[one.day] < detection.count_at_least:
            continue
        known = known_days(one.day, town=str(one.town), answered=replies, asked_since=since, began=began)
        findings = count_findings(detection, one, mine, known, told)
        told |= {finding.key for finding in findings}
        found += findings
    return found


def _of(counts: history.Counts, one: Seen) -> Counter[date]:
    return counts[str(one.town), one.family]


async def _raise(
    conn: AsyncConnection, city_id: str, findings: Sequence[Finding], policy: Policy, now: datetime
) -> None:
    """Store the alarms, raise by policy what they concern, and tell of them in the log."""
    if not findings:
        return
    level = policy.detection.raises
    alerts: dict[str, UUID] = {}
    operations: list[list[Event]] = []
    if level is not None:
        await _lock_incidents(conn, city_id, findings)
        running = {
            drill_id: await drills.find(conn, city_id=city_id, drill_id=drill_id)
            for drill_id in {one.seen.drill_id for one in findings}
            if drill_id is not None
        }
        for one in findings:
            drill = running.get(one.seen.drill_id) if one.seen.drill_id is not None else None
            if drill is not None and drill.ended_at is not None:
                continue
            raised = await raise_on(
                conn,
                incident_id=one.seen.incident_id,
                city_id=city_id,
                level=level,
                reasons=[{"rule": one.rule, "text": one.sentence, "text_zh": one.sentence_zh}],
                origin="detection",
                drill=drill,
                policy=policy,
                now=now,
            )
            alerts[one.key] = raised.alert_id
            if raised.events:
                operations.append(raised.events)
    rows = [_row(city_id, one, alerts.get(one.key), str(level) if level else None, now) for one in findings]
    await conn.execute(insert(Alarm), rows)
    operations += [
        [
            Event(
                "alarm.raised",
                TOPIC,
                row["id"],
                1,
                row["node_code"],
                alarm_view(row).model_dump(mode="json"),
                drill_id=row["drill_id"],
            )
        ]
        for row in rows
    ]
    await feed.append(conn, city_id=city_id, operations=operations, now=now)


async def _lock_incidents(conn: AsyncConnection, city_id: str, findings: Sequence[Finding]) -> None:
    # All at once and in the order of every writer, before the first of them takes the log's head row.
    incidents = sorted({one.seen.incident_id for one in findings})
    await conn.execute(
        select(Incident.id)
        .where(Incident.city_id == city_id, among(conn.dialect.name, Incident.id, "ids"))
        .order_by(Incident.id)
        .with_for_update(),
        {"ids": incidents},
    )


def _row(city_id: str, one: Finding, alert_id: UUID | None, level: str | None, now: datetime) -> dict[str, Any]:
    sighting = one.seen.sighting
    return {
        "city_id": city_id,
        "id": new_id(),
        "key": one.key,
        "rule": one.rule,
        "family": one.family,
        "hazard": one.hazard,
        "node_code": one.node,
        "day": one.day,
        "observed": one.observed,
        "expected": one.expected,
        "limit": one.limit,
        "sentence": one.sentence,
        "sentence_zh": one.sentence_zh,
        "report_id": sighting.id,
        "reports": [str(report) for report in one.reports],
        "seen_at": sighting.at,
        "lat": sighting.lat,
        "lon": sighting.lon,
        "incident_id": one.seen.incident_id,
        "alert_id": alert_id,
        "level": level if alert_id else None,
        "raised_at": now,
        "drill_id": one.seen.drill_id,
    }
