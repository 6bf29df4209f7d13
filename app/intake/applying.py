"""A correction becomes the next version of a report, with all it causes, in one transaction."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import raising
from app.alerts import service as alerts
from app.alerts.found import store_steps
from app.core import problems
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.database import Contention
from app.core.errors import Problem
from app.core.ids import new_id
from app.drills import service as drills
from app.feed import service as feed
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.hazards.triage import Decision, Situation, triage
from app.incidents import matching
from app.incidents import service as incidents
from app.intake import plausibility, rows
from app.intake.service import HEADLINE
from app.intake.submission import Submission
from app.intake.views import QuarantineView
from app.nodes import lookup
from app.nodes.lookup import Place
from app.reports import acting
from app.reports import service as reports
from app.reports.events import event
from app.reports.models import Custody, Report, ReportVersion
from app.reports.views import ReportView

LOWER = "correction.lower"

Row = dict[str, Any]

_KEPT = [column.name for column in ReportVersion.__table__.columns if column.name in Report.__table__.columns]


@dataclass(frozen=True, slots=True)
class Corrected:
    """The report as it is now, `replayed` when it said so already; or a receipt: the correction is held."""

    status: Literal["updated", "replayed", "quarantined"]
    report: ReportView | None = None
    receipt: QuarantineView | None = None


async def apply(
    conn: AsyncConnection, *, policy: Policy, one: Submission, base_version: int, reader: Caller, now: datetime
) -> Corrected:
    """`correct` within the caller's transaction; the report is answered as `reader` sees it.

    Raises Contention (nothing is stored) when a desk moved the report at this very moment.
    """
    city_id = one.caller.city_id
    # The drill, then the incident, then the report: everyone takes them in this order.
    drill = await drills.find(conn, city_id=city_id, drill_id=one.drill_id, hold=True) if one.drill_id else None
    before, _ = await _stored(conn, one)
    place = await place_of(conn, before["node_code"])
    # Its node has been heard of this family; and until this transaction ends nobody else decides about it there.
    await reports.note_activity(conn, rows.activity([one], {one.node: place}, heard=drill is None))
    incident = await incidents.locked(conn, city_id=city_id, incident_id=before["incident_id"])
    # A desk that opens it meanwhile keeps a step of it: that is let pass, or each would wait for the other.
    locked = select(Report.incident_id).where(Report.city_id == city_id, Report.id == one.id)
    if (await conn.execute(locked.with_for_update(key_share=True))).scalar_one() != incident["id"]:
        raise Contention
    row, held = await _stored(conn, one)
    settled = await _settled(conn, row, one, base_version, reader)
    if settled is not None:
        return settled
    await _must_not_move(conn, row, one)
    if drill is not None and drill.ended_at is not None:
        raise Problem(problems.DRILL_ENDED, pointer="/drill_id", drill=drill.id)
    tempo = policy.tempo(day_of(now)) / (drill.pace if drill else 1.0)

    offices = await lookup.points(conn, city_id) if place.tier == "city" and one.lat is not None else []
    one = plausibility.judged(one, place, policy.plausibility, offices=offices)
    decision = await _triage(conn, policy, one, place, now)
    reasons = [{"rule": r.rule, "text": r.text, "text_zh": r.text_zh} for r in decision.reasons]
    # Why it is of its incident holds on: a correction moves nothing.
    reasons += [reason for reason in row["reasons"] if reason["rule"].startswith("match.")]
    reasons += one.doubts
    change = await _alert(conn, policy, tempo, incident, row, one, place, decision, reasons, now)
    after = {
        **row,
        **rows.said(one, decision.level, reasons),
        "version": row["version"] + 1,
        "corrected_at": now,
        "corrected_by": one.caller.node,
    }
    if change is not None and after["alert_id"] != change.row["id"]:
        after |= {"alert_id": change.row["id"], "alert_version": change.row["version"]}

    changed = _incident(incident, row, after, raised=change is not None)
    await incidents.store(conn, [changed])
    if change is not None:
        change.row["hazard"] = changed["hazard"]
        if change.row["headline"] == row["summary"][:HEADLINE]:
            change.row["headline"] = after["summary"][:HEADLINE]
        await alerts.store(conn, [change.row])
        await store_steps(conn, [change], now=now)
    await conn.execute(
        insert(ReportVersion),
        {
            **{name: row[name] for name in _KEPT},
            "report_id": row["id"],
            "since": row["corrected_at"] or row["released_at"] or row["received_at"],
            "until": now,
            "by": row["corrected_by"] or row["filed_by"],
        },
    )
    await conn.execute(
        update(Report)
        .where(Report.city_id == city_id, Report.id == one.id)
        .values({name: value for name, value in after.items() if value is not row[name]})
    )
    urgent = decision.level in policy.alerts.levels
    holders = rows.custody(
        after, place, policy, tempo, since=now, urgent=urgent, owner=change.row["owner"] if change else None
    )
    told = await acting.answered(conn, row=after, caller=one.caller, now=now)
    await _hold(conn, held, holders, urgent=urgent and change is not None)
    happened = [event("report.corrected", after, was=row["level"], office=one.caller.node)]
    if change is not None:
        happened.append(alerts.event(change.event, change.row))
    await feed.append(conn, city_id=city_id, operations=[happened, *([one] for one in told)], now=now)
    return Corrected("updated", await reports.get(conn, caller=reader, report_id=one.id))


async def _stored(conn: AsyncConnection, one: Submission) -> tuple[reports.Row, list[reports.Row]]:
    found = await reports.stored(conn, city_id=one.caller.city_id, report_id=one.id)
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return found


async def place_of(conn: AsyncConnection, code: str) -> Place:
    """A node that is known to exist."""
    return (await lookup.places(conn, {code}))[code]


async def _settled(
    conn: AsyncConnection, row: reports.Row, one: Submission, base_version: int, reader: Caller
) -> Corrected | None:
    """The answer to a correction that was stored before; a Problem (409) to one whose base no longer stands."""
    if row["digest"] != one.digest:
        then = select(ReportVersion.digest).where(
            ReportVersion.city_id == row["city_id"],
            ReportVersion.report_id == row["id"],
            ReportVersion.version == base_version + 1,
        )
        if (await conn.execute(then)).scalar_one_or_none() != one.digest:
            if row["version"] == base_version:
                return None
            stands = await reports.get(conn, caller=reader, report_id=one.id)
            raise Problem(
                problems.VERSION_CONFLICT,
                version=row["version"],
                extra={"stored": stands.model_dump(mode="json"), "sent": {**one.said, "base_version": base_version}},
            )
    return Corrected("replayed", await reports.get(conn, caller=reader, report_id=one.id))


async def _must_not_move(conn: AsyncConnection, row: reports.Row, one: Submission) -> None:
    if one.drill_id != row["drill_id"]:
        raise moves("drill_id")
    if one.incident_id is not None:
        whole = await incidents.resolve(conn, city_id=row["city_id"], ids=[one.incident_id])
        if whole.get(one.incident_id) != row["incident_id"]:
            raise moves("incident_id")


def moves(field: str) -> Problem:
    """A Problem (422): a correction cannot change this."""
    return Problem(problems.CORRECTION_MOVES, pointer=f"/{field}", field=field)


async def _triage(conn: AsyncConnection, policy: Policy, one: Submission, place: Place, now: datetime) -> Decision:
    count = 0
    if place.town_code:
        around = await reports.neighbours(
            conn,
            city_id=place.city_id,
            towns={place.town_code},
            families={one.hazard.family},
            nodes={one.node},
            since=now - timedelta(hours=policy.triage.neighbour_window_hours),
            drill_id=one.drill_id,
        )
        found = around.get((place.town_code, one.hazard.family))
        count = found.others(one.node) if found else 0
    return triage(
        policy,
        Situation(
            hazard=one.hazard,
            urgency=one.urgency,
            severity=one.severity,
            certainty=one.certainty,
            figures=one.figures,
            kind=one.kind,
            neighbours=count,
        ),
    )


async def _alert(
    conn: AsyncConnection,
    policy: Policy,
    tempo: float,
    incident: reports.Row,
    row: reports.Row,
    one: Submission,
    place: Place,
    decision: Decision,
    reasons: list[dict[str, str]],
    now: datetime,
) -> raising.Change | None:
    """What the correction makes of the incident's alert: raised, raised higher or again, told; never lowered."""
    current = (await alerts.active(conn, city_id=place.city_id, incidents=[incident["id"]])).get(incident["id"])
    was = Level(row["level"])
    if current is None and row["alert_id"] is not None and decision.level.rank <= was.rank:
        # Its alert was dealt with and closed: no worse news.
        return None
    at = (await lookup.places(conn, {incident["node_code"]}))[incident["node_code"]]
    change = raising.next_alert(
        current,
        [raising.Said(decision.level, reasons, one.summary[:HEADLINE], {place.code: place.name})],
        alert_id=new_id(),
        incident_id=incident["id"],
        hazard=incident["hazard"],
        place=raising.Place(at.city_id, at.code, at.name, at.path, incident["nodes"]),
        reports=incident["reports"],
        rules=raising.Rules.of(policy, tempo),
        now=now,
        drill_id=row["drill_id"],
    )
    if change is not None and current is not None and decision.level.rank < was.rank:
        # Of each office the last word is enough.
        kept = [one for one in change.row["reasons"] if one.get("node") != place.code or one["rule"] != LOWER]
        change.row["reasons"] = [*kept, _lower(place, was, decision.level)]
    return change


def _lower(place: Place, was: Level, level: Level) -> dict[str, str]:
    return {
        "rule": LOWER,
        "node": place.code,
        "text": f"{place.name} corrected its report from {was} to {level}; the alert stands until an office closes it.",
        "text_zh": f"{place.name}将其报告由 {was} 更正为 {level}；警报在单位关闭前保持不变。",
    }


def _incident(incident: reports.Row, before: reports.Row, after: Row, *, raised: bool) -> Row:
    """The incident's next row: never less grave than before; while this is its only report, what that says."""
    row = {**incident, "version": incident["version"] + 1}
    incidents.observe(row, after["observed_at"])
    if Level(after["level"]).rank > Level(row["level"]).rank:
        row |= {"level": after["level"], "headline": after["summary"][:HEADLINE]}
        if raised:
            row["state"] = "open"
    elif row["headline"] == before["summary"][:HEADLINE]:
        row["headline"] = after["summary"][:HEADLINE]
    if incident["reports"] == 1:
        row |= {"hazard": after["hazard"], "lat": after["lat"], "lon": after["lon"]}
        row["here"] = matching.here_key(row["hazard"], row["node_code"])
    elif row["lat"] is None:
        row |= {"lat": after["lat"], "lon": after["lon"]}
    row["near"] = None if row["lat"] is None else matching.near_key(row["hazard"], row["lat"], row["lon"])
    return row


async def _hold(conn: AsyncConnection, held: list[reports.Row], holders: list[Row], *, urgent: bool) -> None:
    """Who holds it from now on: nobody less than before, and nobody later. Without an active alert none is bypassed."""
    now_held = {one["node_code"]: one for one in held}
    new = [one if urgent else {**one, "bypass_at": None} for one in holders if one["node_code"] not in now_held]
    if new:
        await reports.store_custody(conn, new)
    for one in holders:
        was = now_held.get(one["node_code"])
        if was is None or was["state"] != "received":
            continue
        bypass_at = was["bypass_at"]
        if urgent and one["bypass_at"] is not None and was["bypassed_at"] is None:
            bypass_at = min(bypass_at or one["bypass_at"], one["bypass_at"])
        await conn.execute(
            update(Custody)
            .where(
                Custody.city_id == one["city_id"],
                Custody.report_id == one["report_id"],
                Custody.node_code == one["node_code"],
                # It may have been opened a moment ago.
                Custody.state == "received",
            )
            .values(due_at=min(was["due_at"], one["due_at"]), bypass_at=bypass_at)
        )
