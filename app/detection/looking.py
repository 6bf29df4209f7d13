"""What is unusual about new reports: what has to be read for them, and the rules applied to it."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

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
from app.hazards.detection import DetectionPolicy
from app.reports.models import Report

Answered = Callable[[AsyncConnection, str, date, date], Awaitable[dict[str, set[date]]]]
"""By town: the days from the first until the last on which it answered its roll call; one never asked is not in it."""

# How far back it is asked whether towns are asked at all.
ASKED = timedelta(days=30)


async def nobody_asked(conn: AsyncConnection, city_id: str, since: date, until: date) -> dict[str, set[date]]:
    """Where no roll calls are kept."""
    return {}


async def findings(
    conn: AsyncConnection,
    city_id: str,
    new: Sequence[Seen],
    up_to: int,
    detection: DetectionPolicy,
    now: datetime,
    answered: Answered,
) -> list[Finding]:
    """What is unusual about the new reports and has not been told of: the real apart from each drill.

    Each is looked at with those before it in the log, so that nothing depends on how many come at once.
    """
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
            lookout.know(alarm.rule, of, anchor, (UUID(one) for one in alarm.reports))
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
