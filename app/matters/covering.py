"""What merging and splitting make of open alerts: none is lowered, none ends without another that is as grave.

A report keeps the alert that told of it. Which alerts stand for that one since is noted with the steps of the
incidents (`stands`, pairs of alerts), so that a later split knows whose danger is not over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import raising
from app.alerts import service as alerts
from app.alerts.acting import Done, closing, write
from app.alerts.models import Alert
from app.alerts.raising import Change, Said
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.ids import new_id
from app.drills.service import DrillRow
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.incidents.models import IncidentMove, IncidentStep
from app.matters.held import Row, alerts_of
from app.matters.recount import Telling
from app.matters.written import Log
from app.nodes import lookup
from app.reports import custody
from app.reports.models import Report

Pair = tuple[UUID, UUID]


@dataclass(frozen=True, slots=True)
class Rules:
    """By which policy alerts are raised, now and in this drill."""

    policy: Policy
    drill: DrillRow | None
    now: datetime

    def of_reports(self) -> raising.Rules:
        """As for a report that comes now."""
        tempo = self.policy.tempo(day_of(self.now)) / (self.drill.pace if self.drill else 1.0)
        return raising.Rules.of(self.policy, tempo)


@dataclass(frozen=True, slots=True)
class Covered:
    """The alerts that were changed, and which stand for others from now on."""

    rows: list[Row]
    stands: list[Pair]


async def merge(
    conn: AsyncConnection, log: Log, *, caller: Caller, source: Row, into: Row, rules: Rules
) -> tuple[Covered, UUID | None]:
    """The alerts of two incidents that become one; and the source's, which comes back when the merge is undone.

    Where only the source has one it goes along, as it is. Where both have one `into` keeps its own, raised to the
    graver level, and the source's is closed in its favour; or left as it is when the caller cannot see it.
    """
    found = await alerts_of(conn, city_id=caller.city_id, ids=[source["id"], into["id"]])
    ours, theirs = found.get(source["id"]), found.get(into["id"])
    if ours is None:
        return Covered([] if theirs is None else [await _count(conn, log, theirs, into)], []), None
    if theirs is None:
        return Covered([await _carry(conn, log, ours, into)], []), ours["id"]
    level = Level(ours["level"])
    # Who acknowledged the source's covers its offices; where nobody did, their cry is not lost in the other's.
    covered = [*theirs["covered"], *(ours["urgent_offices"] if ours["state"] == "acknowledged" else ())]
    said = [Said(level, ours["reasons"], ours["headline"], ours["urgent_offices"])]
    change = await _next(conn, {**theirs, "covered": list(dict.fromkeys(covered))}, said, into, rules)
    assert change is not None
    row = {**change.row, **(_sooner(change.row, ours) if ours["state"] == change.row["state"] == "raised" else {})}
    changes = {key: value for key, value in row.items() if value != theirs[key]}
    done = Done(
        change.event,
        changes,
        f"It stands for the alert of {ours['node_name']} ({level.en}) as well: their incidents are one.",
        f"事件已合并，本警报同时代表{ours['node_name']}的{level.zh}警报。",
    )
    theirs = await _write(conn, log, theirs, done)
    visible = select(Alert.id).where(alerts.readable(caller), Alert.id == ours["id"])
    if (await conn.execute(visible)).first() is None:
        return Covered([theirs, ours], []), ours["id"]
    if custody.opens(caller):
        # Whoever merges has looked at both. Other offices still owe it to open what they hold.
        log.moved += await custody.open_alert(
            conn, caller=caller, alert_id=ours["id"], policy=rules.policy, now=log.now
        )
    reason = f"合并：由警报 {theirs['id']} 代表 / merged: alert {theirs['id']} stands for it"
    closed = Done(
        "alert.closed",
        closing(reason, log.now),
        f"{log.place.name} merged its incident: alert {theirs['id']} stands for it, no less grave.",
        f"{log.place.name}已合并其事件：由不低于其级别的警报 {theirs['id']} 代表。",
    )
    ours = await _write(conn, log, ours, closed)
    return Covered([theirs, ours], [(ours["id"], theirs["id"])]), ours["id"]


async def split(
    conn: AsyncConnection,
    log: Log,
    *,
    stays: Row,
    leaves: Row,
    rest: Sequence[Row],
    left: Sequence[Row],
    tellings: Mapping[UUID, Sequence[Telling]],
    came: UUID | None,
    rules: Rules,
) -> Covered:
    """The alerts of an incident that some reports have left: each side that is in open danger has one.

    The open alert goes along when it `came` by the merge that is undone, or told only of what leaves; otherwise it
    stays. The other side gets one of its own when an open alert stands for any of its urgent reports.
    """
    city_id = stays["city_id"]
    found = await alerts_of(conn, city_id=city_id, ids=[stays["id"], leaves["id"]])
    theirs, ours = found.get(stays["id"]), found.get(leaves["id"])
    if theirs is None:
        return Covered([], [])
    pairs = await _pairs(conn, city_id, stays["id"])
    told_of = {
        side: [_closure(row["alert_id"], pairs) for row in rows] for side, rows in (("rest", rest), ("left", left))
    }
    only_left = (
        theirs["origin"] == "reports"
        and any(theirs["id"] in one for one in told_of["left"])
        and not any(theirs["id"] in one for one in told_of["rest"])
    )
    goes = ours is None and (came == theirs["id"] or only_left)
    at, other, others = (leaves, stays, rest) if goes else (stays, leaves, left)
    changed = [await _carry(conn, log, theirs, leaves) if goes else await _count(conn, log, theirs, stays)]
    if goes or ours is None:
        is_open = await _open(conn, city_id, {one for side in told_of.values() for ids in side for one in ids})
        urgent = [
            row
            for row in others
            if _gravest(row, tellings) in rules.policy.alerts.levels and is_open & _closure(row["alert_id"], pairs)
        ]
        if urgent:
            raised = await _raise(conn, log, urgent, tellings, other, theirs, at, rules)
            return Covered([*changed, raised], [(theirs["id"], raised["id"])])
    elif ours is not None:
        changed.append(await _count(conn, log, ours, leaves))
    return Covered(changed, [])


def told_pairs(pairs: Sequence[Pair]) -> list[list[str]]:
    """`stands` as a step keeps it."""
    return [[str(one), str(other)] for one, other in pairs]


async def _raise(
    conn: AsyncConnection,
    log: Log,
    urgent: Sequence[Row],
    tellings: Mapping[UUID, Sequence[Telling]],
    incident: Row,
    before: Row,
    before_of: Row,
    rules: Rules,
) -> Row:
    why = {
        "rule": "alert.split",
        "text": f"Split from “{before_of['headline']}”, whose alert ({Level(before['level']).en}) is open.",
        "text_zh": f"从“{before_of['headline']}”拆分，其{Level(before['level']).zh}警报尚未关闭。",
    }
    names = before["urgent_offices"]
    said = [
        Said(
            _gravest(row, tellings),
            [why, *row["reasons"]],
            row["summary"][:140],
            {row["node_code"]: names.get(row["node_code"], row["node_code"])},
        )
        for row in urgent
    ]
    change = await _next(conn, None, said, incident, rules)
    assert change is not None
    await alerts.store(conn, [change.row])
    log.events.append(alerts.event(change.event, change.row))
    return change.row


async def _next(
    conn: AsyncConnection, current: Row | None, said: Sequence[Said], incident: Row, rules: Rules
) -> Change | None:
    at = (await lookup.places(conn, {incident["node_code"]}))[incident["node_code"]]
    return raising.next_alert(
        current,
        said,
        alert_id=new_id(),
        incident_id=incident["id"],
        hazard=incident["hazard"],
        place=raising.Place(at.city_id, at.code, at.name, at.path, incident["nodes"]),
        reports=incident["reports"],
        rules=rules.of_reports(),
        now=rules.now,
        drill_id=incident["drill_id"],
    )


async def _carry(conn: AsyncConnection, log: Log, alert: Row, to: Row) -> Row:
    """The alert goes to another incident, with its level, its owner and its clock."""
    done = Done(
        "alert.updated",
        {"incident_id": to["id"], "nodes": _union(alert, to), "reports": to["reports"]},
        f"It goes with its reports to “{to['headline']}”.",
        f"随其报告转入“{to['headline']}”。",
    )
    return await _write(conn, log, alert, done)


async def _count(conn: AsyncConnection, log: Log, alert: Row, incident: Row) -> Row:
    """The alert stays where it is, whose reports are others now."""
    done = Done(
        "alert.updated",
        {"nodes": _union(alert, incident), "reports": incident["reports"]},
        f"Its incident now has {incident['reports']} report(s).",
        f"其事件现有 {incident['reports']} 份报告。",
    )
    return await _write(conn, log, alert, done)


async def _write(conn: AsyncConnection, log: Log, alert: Row, done: Done) -> Row:
    changed, events = await write(conn, alert, [done], place=log.place, now=log.now)
    log.events += events
    return dict(changed)


def _sooner(alert: Row, other: Row) -> Row:
    # Nobody who was to hear of one of them hears of it later.
    times = ("due_at", "escalation_next_at")
    return {key: min(filter(None, (alert[key], other[key])), default=None) for key in times}


def _union(alert: Row, incident: Row) -> list[str]:
    # Whoever was told of an alert is told how it goes on.
    return list(dict.fromkeys([*alert["nodes"], *incident["nodes"]]))


def _gravest(row: Row, tellings: Mapping[UUID, Sequence[Telling]]) -> Level:
    return max((one.level for one in tellings[row["id"]]), key=lambda one: one.rank)


async def _pairs(conn: AsyncConnection, city_id: str, incident_id: UUID) -> list[Pair]:
    """Which alerts stand for which others, as noted with all incidents that the reports of this one have been in."""
    inside = select(Report.id).where(Report.city_id == city_id, Report.incident_id == incident_id)
    been = exists().where(
        IncidentMove.city_id == IncidentStep.city_id,
        IncidentMove.report_id.in_(inside),
        or_(
            IncidentMove.from_incident == IncidentStep.incident_id, IncidentMove.to_incident == IncidentStep.incident_id
        ),
    )
    kept = await conn.execute(
        select(IncidentStep.kept).where(IncidentStep.city_id == city_id, IncidentStep.kept.is_not(None), been)
    )
    return [(UUID(one), UUID(other)) for (found,) in kept for one, other in found.get("stands", ())]


def _closure(alert_id: UUID | None, pairs: Collection[Pair]) -> set[UUID]:
    """An alert, and all that stand for it since."""
    found = {alert_id} - {None} if alert_id else set()
    while True:
        more = {other for one, other in pairs if one in found} - found
        if not more:
            return found
        found |= more


async def _open(conn: AsyncConnection, city_id: str, ids: Collection[UUID]) -> set[UUID]:
    rows = await conn.execute(
        select(Alert.id).where(Alert.city_id == city_id, Alert.id.in_(list(ids)), Alert.state != "closed")
    )
    return set(rows.scalars())
