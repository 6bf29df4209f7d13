"""The job: compare each new report of a city's log with those around it, and propose what may be one incident.

A batch: the new reports and those around them are read, and the pairs found (app/incidents/proposals.py, pure). Then in
one transaction the cursor is claimed; the incidents are locked, and those pairs stored whose incidents stand and of
which nothing was known; the incidents' versions, their timelines, the cursor and the city's log are written. Killed
anywhere, nothing of it has happened, and the same reports are compared again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import Clock
from app.core.database import Database, among, insert_into
from app.core.ids import new_id
from app.drills.scope import of_drill
from app.feed import service as feed
from app.feed.models import FeedEvent, FeedHead
from app.feed.service import Event
from app.hazards.cap import Level
from app.hazards.catalogue import HAZARDS
from app.hazards.policy import Policy
from app.incidents import proposed
from app.incidents.events import event
from app.incidents.matching import Limits, Seen, limits_of
from app.incidents.models import Incident, IncidentStep, ProposalCursor
from app.incidents.proposals import Likely, Pair, Told, likely
from app.incidents.service import COLUMNS
from app.nodes import lookup
from app.reports.models import Report

BATCH = 500
# After these a report may fit another incident than before.
COMPARED = ("report.received", "report.corrected", "report.moved", "report.reopened")
# A device's clock may be ahead.
AHEAD = timedelta(days=1)
# More than 2 km, the largest radius: from north to south, and from east to west up to 60 degrees.
NORTH, EAST = 0.02, 0.04

Row = dict[str, Any]

_TOLD = (
    select(
        Report.incident_id,
        Report.node_code,
        Report.town_code,
        Report.hazard,
        Report.observed_at,
        Report.lat,
        Report.lon,
        Report.summary,
        Report.description,
        Report.family,
        Report.drill_id,
    )
    .join(Incident, and_(Incident.city_id == Report.city_id, Incident.id == Report.incident_id))
    .where(Incident.state == "open", Incident.merged_into.is_(None))
)


async def run_due(database: Database, *, policy: Policy, clock: Clock) -> datetime | None:
    """Compare all that is new in every city's log. Nothing is due by time alone."""
    limits = limits_of(policy.incidents)
    for city_id in await _with_news(database):
        while await _compare(database, city_id, limits, clock):
            pass
    return None


async def _with_news(database: Database) -> list[str]:
    beyond = or_(ProposalCursor.city_id.is_(None), ProposalCursor.seq != FeedHead.last_seq)
    query = (
        select(FeedHead.city_id)
        .join(ProposalCursor, ProposalCursor.city_id == FeedHead.city_id, isouter=True)
        .where(beyond)
    )
    async with database.reading() as conn:
        return sorted((await conn.execute(query)).scalars())


async def _compare(database: Database, city_id: str, limits: Limits, clock: Clock) -> bool:
    """One batch; whether there may be more."""
    # Read and compared while others write: what they store meanwhile is compared with these when its turn comes.
    async with database.reading() as conn:
        head = (
            await conn.execute(select(FeedHead.last_seq, FeedHead.kept_from).where(FeedHead.city_id == city_id))
        ).one()
        query = select(ProposalCursor.seq).where(ProposalCursor.city_id == city_id)
        cursor = (await conn.execute(query)).scalar_one_or_none()
        # What the log no longer keeps was of incidents long past; a cursor beyond its end is of another database.
        since = cursor if cursor is not None and head.kept_from - 1 <= cursor <= head.last_seq else head.kept_from - 1
        events = await _events(conn, city_id, since, head.last_seq)
        more = len(events) == BATCH
        until = events[-1].seq if more else head.last_seq
        if not events and since == cursor and until - since < BATCH:
            # What else happens in a city need not be written down each time.
            return False
        found = await _likely(conn, city_id, {one.subject_id for one in events}, limits)
    async with database.writing() as conn:
        if not await _claim(conn, city_id, cursor):
            return False
        now = clock.now()
        told = await _propose(conn, city_id, found, now)
        # The cursor before the log's head row, for which every writer of the city waits.
        await conn.execute(update(ProposalCursor).where(ProposalCursor.city_id == city_id).values(seq=until))
        if told:
            await feed.append(conn, city_id=city_id, operations=told, now=now)
    return more


async def _claim(conn: AsyncConnection, city_id: str, cursor: int | None) -> bool:
    """Lock the cursor; False when another process holds it, or has moved it since it was read."""
    if cursor is None:
        first = insert_into(conn.dialect.name, ProposalCursor).on_conflict_do_nothing(index_elements=["city_id"])
        made = await conn.execute(first.returning(ProposalCursor.seq), {"city_id": city_id, "seq": 0})
        return made.scalar_one_or_none() is not None
    query = select(ProposalCursor.seq).where(ProposalCursor.city_id == city_id).with_for_update(skip_locked=True)
    return bool((await conn.execute(query)).scalar_one_or_none() == cursor)


async def _events(conn: AsyncConnection, city_id: str, since: int, until: int) -> Sequence[Any]:
    """The next of the log that tell of a report to be compared, real and of drills."""
    query = (
        select(FeedEvent.seq, FeedEvent.subject_id)
        .where(
            FeedEvent.city_id == city_id,
            FeedEvent.seq > since,
            FeedEvent.seq <= until,
            FeedEvent.type.in_(COMPARED),
        )
        .order_by(FeedEvent.seq)
        .limit(BATCH)
    )
    return (await conn.execute(query)).all()


async def _likely(conn: AsyncConnection, city_id: str, reports: Collection[UUID], limits: Limits) -> list[Likely]:
    """The pairs of open incidents that these reports make likely; what is real and each drill apart."""
    if not reports:
        return []
    query = _TOLD.where(Report.city_id == city_id, among(conn.dialect.name, Report.id, "ids"))
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in await conn.execute(query, {"ids": list(reports)}):
        # A day at a time: what was observed long ago makes nothing else look far back.
        groups[row.drill_id, row.family, row.observed_at.date()].append(row)
    best: dict[Pair, Likely] = {}
    for (drill_id, family, _), rows in groups.items():
        new = [_told(row) for row in rows]
        around = await _around(conn, city_id, drill_id, family, new, limits)
        # In a thread: in a night of thousands of reports it takes long enough to keep requests waiting.
        best |= {one.pair: one for one in await asyncio.to_thread(likely, new, around, limits)}
    return [best[key] for key in sorted(best)]


async def _around(
    conn: AsyncConnection, city_id: str, drill_id: UUID | None, family: str, new: Sequence[Told], limits: Limits
) -> list[Told]:
    """The reports of open incidents that any of `new` may fit, these among them."""
    window = max(limits.window, limits.radius_window)
    times = [one.seen.observed_at for one in new]
    first, last = min(times) - window, max(times) + window
    near: list[ColumnElement[bool]] = [among(conn.dialect.name, Report.node_code, "nodes")]
    lats = [one.seen.lat for one in new if one.seen.lat is not None]
    lons = [one.seen.lon for one in new if one.seen.lon is not None]
    if lats and lons:
        box = and_(
            Report.lat.between(min(lats) - NORTH, max(lats) + NORTH),
            Report.lon.between(min(lons) - EAST, max(lons) + EAST),
        )
        near.append(box)
    query = _TOLD.where(
        Report.city_id == city_id,
        of_drill(Report, drill_id),
        # No report comes long before its event: this is what the index finds them by.
        Report.received_at >= first - AHEAD,
        Report.observed_at.between(first, last),
        Report.family == family,
        or_(*near),
    )
    return [_told(row) for row in await conn.execute(query, {"nodes": sorted({one.seen.node_code for one in new})})]


def _told(row: Any) -> Told:
    return Told(
        row.incident_id,
        Seen(
            row.node_code,
            row.town_code,
            row.hazard,
            row.observed_at,
            row.lat,
            row.lon,
            row.summary,
            row.description,
        ),
    )


async def _propose(conn: AsyncConnection, city_id: str, found: Sequence[Likely], now: datetime) -> list[list[Event]]:
    """Store those of which nothing is known, in both timelines too; the log's events, an operation a proposal."""
    if not found:
        return []
    found = await _unknown(conn, city_id, found)
    rows = await _locked(conn, city_id, {incident for one in found for incident in one.pair})
    # A merge, a dismissal or an outcome may have come since: now none can.
    found = await _unknown(conn, city_id, [one for one in found if rows.keys() >= set(one.pair)])
    made = await proposed.add(conn, city_id=city_id, found=found, now=now)
    places = await lookup.places(conn, {row["town_code"] or city_id for row in rows.values()}) if made else {}
    operations, steps = [], []
    for one in found:
        if one.pair not in made:
            continue
        events = []
        for mine, its in (one.pair, one.pair[::-1]):
            rows[mine]["version"] += 1
            other = rows[its]
            town = places[other["town_code"] or city_id].name
            text, text_zh = _words(other, town, one)
            steps.append(_step(rows[mine], its, text, text_zh, now))
            events.append(
                event(
                    "incident.proposed",
                    rows[mine],
                    other=str(its),
                    proposal={
                        "hazard": other["hazard"],
                        "level": other["level"],
                        "town": other["town_code"],
                        "distance_m": round(one.metres) if one.metres is not None else None,
                    },
                    text=text,
                    text_zh=text_zh,
                )
            )
        operations.append(events)
    if steps:
        await conn.execute(insert(IncidentStep), steps)
        for incident_id in sorted({step["incident_id"] for step in steps}):
            await conn.execute(
                update(Incident)
                .where(Incident.city_id == city_id, Incident.id == incident_id)
                .values(version=rows[incident_id]["version"])
            )
    return operations


async def _unknown(conn: AsyncConnection, city_id: str, found: Sequence[Likely]) -> list[Likely]:
    """Those of which neither the two incidents, nor any two that are part of them, were proposed or said to be two."""
    if not found:
        return []
    ids = {incident for one in found for incident in one.pair}
    known = await proposed.known(conn, city_id=city_id, parts=await proposed.members(conn, city_id=city_id, ids=ids))
    return [one for one in found if one.pair not in known]


async def _locked(conn: AsyncConnection, city_id: str, ids: Collection[UUID]) -> dict[UUID, Row]:
    """Those of these incidents that are open and stand on their own, until the transaction ends."""
    if not ids:
        return {}
    query = (
        select(*COLUMNS)
        .where(
            Incident.city_id == city_id,
            among(conn.dialect.name, Incident.id, "ids"),
            Incident.state == "open",
            Incident.merged_into.is_(None),
        )
        .order_by(Incident.id)
        .with_for_update()
    )
    return {row.id: row._asdict() for row in await conn.execute(query, {"ids": list(ids)})}


def _words(other: Mapping[str, Any], town: str, one: Likely) -> tuple[str, str]:
    level, hazard = Level(other["level"]), HAZARDS.get(other["hazard"])
    en, zh = (hazard.en, hazard.zh) if hazard else (other["hazard"], other["hazard"])
    return (
        f"It may be one with an incident of {town} ({en}, {level.en}). {one.text}",
        f"可能与{town}的事件（{zh}，{level.zh}）为同一事件：{one.text_zh}",
    )


def _step(row: Row, other: UUID, text: str, text_zh: str, now: datetime) -> Row:
    return {
        "city_id": row["city_id"],
        "id": new_id(),
        "incident_id": row["id"],
        "at": now,
        "type": "incident.proposed",
        "node_code": None,
        "tier": None,
        "other_id": other,
        "text": text,
        "text_zh": text_zh,
        "kept": None,
    }
