"""The main job: reports in, and everything they cause, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import raising
from app.alerts import service as alerts
from app.alerts.found import store_steps
from app.core import problems
from app.core.caller import may_know_person
from app.core.clock import day_of
from app.core.errors import Problem
from app.core.geo import Point
from app.core.ids import new_id
from app.drills import service as drills
from app.drills.service import DrillRow
from app.feed import service as feed
from app.feed.service import Event
from app.hazards.policy import Policy
from app.hazards.triage import Decision, Situation, triage
from app.incidents import matching
from app.incidents import service as incidents
from app.incidents.matching import Candidate, Match, Seen
from app.intake import holding, plausibility, rows
from app.intake.submission import Submission
from app.intake.views import QuarantineView, quarantine_view
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.offices import offices
from app.reports import service as reports
from app.reports import versions
from app.reports.events import event as report_event
from app.reports.service import Neighbours
from app.reports.views import ReportView, report_view

HEADLINE = 140


class AlreadyStored(Exception):
    """Some of the ids were stored before. The transaction is void; settle these, accept the rest again."""

    def __init__(self, ids: set[UUID]) -> None:
        super().__init__()
        self.ids = ids


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one submission: a stored report, a receipt that it is held, or a problem."""

    status: Literal["created", "replayed", "updated", "conflict", "quarantined", "rejected"]
    report: ReportView | None = None
    problem: Problem | None = None
    receipt: QuarantineView | None = None
    town: str | None = None


@dataclass(slots=True)
class _Thread:
    """One incident within one transaction: its next row and the new reports on it."""

    row: dict[str, Any]
    is_new: bool
    place: Place
    accepted: list["_Accepted"] = field(default_factory=list)


@dataclass(slots=True)
class _Accepted:
    """One submission with what was decided about it."""

    submission: Submission
    place: Place
    decision: Decision
    reasons: list[dict[str, str]]
    row: dict[str, Any] = field(default_factory=dict)
    custody: list[dict[str, Any]] = field(default_factory=list)


async def accept(
    conn: AsyncConnection, *, policy: Policy, submissions: Sequence[Submission], now: datetime
) -> list[Result]:
    """Store the reports of one city, all real or all of one drill, with all they cause; a result each, in order.

    Raises AlreadyStored (nothing is stored) when ids are known, and Contention when another writer was first.
    """
    city_id = submissions[0].caller.city_id
    drill_id = submissions[0].drill_id
    # Held: a drill that ends meanwhile would leave open what this transaction opens.
    drill = await drills.find(conn, city_id=city_id, drill_id=drill_id, hold=True) if drill_id else None
    results: dict[UUID, Result] = {}

    # The node is checked, and what is known around the reports is read.
    places = await lookup.places(conn, {one.node for one in submissions})
    taken: list[Submission] = []
    held: list[Event] = []
    for one in submissions:
        refused = _refuse(one, places.get(one.node), drill, now)
        if refused is None and one.caller.lapse is None:
            taken.append(one)
        elif one.released_at is not None:
            results[one.id] = Result("rejected", problem=refused)
        else:
            results[one.id], event = await _late(conn, one, refused, policy, now)
            held += [event] if event else []
    offices = await _offices_of_city(conn, city_id, taken, places)
    taken = [plausibility.judged(one, places[one.node], policy.plausibility, offices=offices) for one in taken]
    if taken:
        # First, since it locks: until this transaction ends no other takes reports of these families in these towns.
        await reports.note_activity(conn, rows.activity(taken, places, heard=drill is None))
    seen = {one.id: _seen(one, places[one.node]) for one in taken}
    candidates = await _candidates(conn, city_id, taken, seen, policy)
    neighbours = await reports.neighbours(
        conn,
        city_id=city_id,
        towns={place.town_code for one in taken if (place := places[one.node]).town_code},
        families={one.hazard.family for one in taken},
        nodes={one.node for one in taken},
        since=now - timedelta(hours=policy.triage.neighbour_window_hours),
        drill_id=drill_id,
    )
    open_ones = await incidents.index(conn, candidates, seen.values(), places)
    may_join = await _may_join(conn, city_id, taken, candidates)

    # Each report gets its level and its incident: pure decisions.
    threads: dict[UUID, _Thread] = {}
    limits = matching.limits_of(policy.incidents)
    for one in taken:
        place = places[one.node]
        if one.incident_id is not None and one.id not in may_join:
            results[one.id] = Result(
                "rejected",
                problem=Problem(problems.INCIDENT_UNKNOWN, pointer="/incident_id", incident=one.incident_id),
            )
            continue
        around = Neighbours()
        if place.town_code:
            around = neighbours.setdefault((place.town_code, one.hazard.family), around)
        decision = triage(
            policy,
            Situation(
                hazard=one.hazard,
                urgency=one.urgency,
                severity=one.severity,
                certainty=one.certainty,
                figures=one.figures,
                kind=one.kind,
                neighbours=around.others(one.node),
            ),
        )
        matched = _match(one, seen[one.id], candidates, open_ones, limits)
        thread = _attach(threads, one, place, decision, matched, candidates, now)
        if thread.is_new and not thread.accepted:
            # The next report of this transaction may belong to it.
            row = thread.row
            open_ones.add(
                Candidate(
                    row["id"],
                    place.code,
                    place.town_code,
                    row["hazard"],
                    one.observed_at,
                    one.observed_at,
                    one.lat,
                    one.lon,
                    row["headline"],
                    frozenset({place.town_code}),
                )
            )
        else:
            open_ones.joined(thread.row["id"], place.town_code, one.observed_at)
        reasons = [{"rule": r.rule, "text": r.text, "text_zh": r.text_zh} for r in decision.reasons]
        if matched is not None:
            reasons.append({"rule": matched.rule, "text": matched.text, "text_zh": matched.text_zh})
        reasons += one.doubts
        thread.accepted.append(_Accepted(one, place, decision, reasons))
    if not threads:
        if held:
            await feed.append(conn, city_id=city_id, operations=[held], now=now)
        return [results[one.id] for one in submissions]

    # What the reports make of the alerts.
    known_alerts: dict[UUID, alerts.Row] = {}
    matched_ids = [incident_id for incident_id, thread in threads.items() if not thread.is_new]
    if matched_ids:
        known_alerts = await alerts.active(conn, city_id=city_id, incidents=matched_ids)
    tempo = policy.tempo(day_of(now)) / (drill.pace if drill else 1.0)
    rules = raising.Rules.of(policy, tempo)
    today = await _successors(conn, threads, known_alerts, rules)
    changes: dict[UUID, raising.Change] = {}
    for incident_id, thread in threads.items():
        change = _alert(thread, known_alerts.get(incident_id), rules, now, today)
        if change is not None:
            changes[incident_id] = change
        for accepted in thread.accepted:
            one, place, level = accepted.submission, accepted.place, accepted.decision.level
            accepted.row = rows.report(one, place, level, accepted.reasons, incident_id, change)
            accepted.custody = rows.custody(
                accepted.row,
                place,
                policy,
                tempo,
                since=one.released_at or one.received_at,
                urgent=level in rules.levels,
                owner=change.row["owner"] if change else None,
            )

    # All of it is stored; the report's own id settles whether it was stored before.
    stored = [accepted for thread in threads.values() for accepted in thread.accepted]
    await incidents.store(conn, [thread.row for thread in threads.values()])
    if changes:
        await alerts.store(conn, [change.row for change in changes.values()])
        await store_steps(conn, list(changes.values()), now=now)
    created = await reports.store(conn, [accepted.row for accepted in stored])
    if len(created) != len(stored):
        raise AlreadyStored({accepted.submission.id for accepted in stored} - created)
    await reports.store_custody(conn, [held for accepted in stored for held in accepted.custody])
    await feed.append(
        conn,
        city_id=city_id,
        operations=[
            *([held] if held else []),
            *(_events(thread, changes.get(incident_id)) for incident_id, thread in threads.items()),
        ],
        now=now,
    )
    for accepted in stored:
        view = report_view(accepted.row, accepted.custody, with_account=_sees_account(accepted))
        results[accepted.submission.id] = Result("created", report=view, town=accepted.place.town_code)
    return [results[one.id] for one in submissions]


async def settle(conn: AsyncConnection, submission: Submission) -> Result | None:
    """The result for an id that was stored before: the first answer again, or a conflict; None: not stored."""
    found = await reports.stored(conn, city_id=submission.caller.city_id, report_id=submission.id)
    if found is None:
        return None
    row, custody = found
    places = await lookup.places(conn, {row["node_code"]})
    visible = submission.caller.lapse is None and submission.caller.node in places[row["node_code"]].path
    # What it said before it was corrected is the same report too: a late duplicate.
    then = await versions.said(conn, row=row, digest=submission.digest)
    if then is not None:
        mine = may_know_person(submission.caller, office=row["filed_by"], above=None)
        if not visible:
            # Who may not read it any more learns what he said, and that it is stored.
            return Result("replayed", report=report_view(then, [], with_account=False))
        return Result("replayed", report=report_view(row, custody, with_account=mine))
    # To somebody else's report not even its digest is shown.
    digests = {"stored_digest": row["digest"], "sent_digest": submission.digest} if visible else {}
    return Result("conflict", problem=Problem(problems.ID_CONFLICT, pointer="/id", extra=digests))


async def _late(
    conn: AsyncConnection, one: Submission, refused: Problem | None, policy: Policy, now: datetime
) -> tuple[Result, Event | None]:
    """What becomes of a report that may not be stored now: known already, held, or refused."""
    known = await settle(conn, one)
    # Of a node that is not the caller's nobody learns whether an id is taken.
    if known is not None and (known.report or refused is None or refused.kind is not problems.NODE_UNKNOWN):
        return known, None
    waiting = await holding.known(conn, city_id=one.caller.city_id, held_id=one.id)
    if waiting is not None and waiting["digest"] == one.digest and waiting["filed_by"] == one.caller.node:
        return Result("quarantined", receipt=quarantine_view(waiting)), None
    if refused is not None and refused.kind in (problems.DRILL_UNKNOWN, problems.DRILL_ENDED):
        return Result("rejected", problem=refused), None
    try:
        row, event = await holding.hold(conn, one, refused=refused, policy=policy, now=now)
    except Problem as problem:
        status: Literal["conflict", "rejected"] = "conflict" if problem.kind is problems.ID_CONFLICT else "rejected"
        return Result(status, problem=problem), None
    return Result("quarantined", receipt=quarantine_view(row)), event


def _refuse(one: Submission, place: Place | None, drill: DrillRow | None, now: datetime) -> Problem | None:
    if one.released_at is not None:
        # Its desk has decided on everything but the drill.
        ended = drill is not None and drill.ended_at is not None
        return Problem(problems.DRILL_ENDED, pointer="/drill_id", drill=one.drill_id) if ended else None
    if one.drill_id is not None and (drill is None or (place is not None and drill.node_code not in place.path)):
        return Problem(problems.DRILL_UNKNOWN, pointer="/drill_id", drill=one.drill_id)
    if drill is not None and drill.ended_at is not None:
        return Problem(problems.DRILL_ENDED, pointer="/drill_id", drill=one.drill_id)
    if place is None or place.city_id != one.caller.city_id or one.caller.node not in place.path:
        return Problem(problems.NODE_UNKNOWN, pointer="/node", code=one.node)
    if place.closed_on is not None and place.closed_on <= day_of(now):
        return Problem(problems.NODE_CLOSED, pointer="/node", code=one.node, date=place.closed_on.isoformat())
    return None


async def _offices_of_city(
    conn: AsyncConnection, city_id: str, taken: Sequence[Submission], places: Mapping[str, Place]
) -> list[Point]:
    """Where the city's offices are, where a report of the city itself says a place."""
    if any(one.lat is not None and places[one.node].tier == "city" for one in taken):
        return await lookup.points(conn, city_id)
    return []


def _seen(one: Submission, place: Place) -> Seen:
    return Seen(
        one.node, place.town_code, one.hazard.code, one.observed_at, one.lat, one.lon, one.summary, one.description
    )


async def _candidates(
    conn: AsyncConnection,
    city_id: str,
    taken: Sequence[Submission],
    seen: dict[UUID, Seen],
    policy: Policy,
) -> dict[UUID, Any]:
    if not taken:
        return {}
    window = timedelta(hours=max(policy.incidents.match_window_hours, policy.incidents.match_radius_hours))
    return await incidents.candidates(
        conn,
        city_id=city_id,
        seen=list(seen.values()),
        named={one.incident_id for one in taken if one.incident_id is not None},
        since=min(one.observed_at for one in taken) - window,
        drill_id=taken[0].drill_id,
    )


async def _may_join(
    conn: AsyncConnection, city_id: str, taken: Sequence[Submission], candidates: dict[UUID, Any]
) -> set[UUID]:
    """The submissions that name an incident their sender may see."""
    allowed, doubtful = set(), []
    for one in taken:
        row = candidates.get(one.incident_id) if one.incident_id is not None else None
        if row is None:
            continue
        if one.caller.node in (city_id, row.town_code, row.node_code):
            allowed.add(one.id)
        else:
            doubtful.append(one)
    if doubtful:
        parties = await incidents.parties(
            conn,
            city_id=city_id,
            incidents={one.incident_id for one in doubtful if one.incident_id is not None},
            nodes={one.node for one in doubtful},
        )
        allowed |= {one.id for one in doubtful if (one.incident_id, one.node) in parties}
    return allowed


def _match(
    one: Submission, seen: Seen, candidates: dict[UUID, Any], open_ones: matching.Index, limits: matching.Limits
) -> Match | None:
    if one.incident_id is not None:
        # Of one that was merged it is the incident that it is part of.
        return Match(
            candidates[one.incident_id].id, "match.named", "The report names the incident.", "报告指明了所属事件。"
        )
    return matching.match(seen, open_ones.around(seen), limits)


def _attach(
    threads: dict[UUID, _Thread],
    one: Submission,
    place: Place,
    decision: Decision,
    matched: Match | None,
    candidates: dict[UUID, Any],
    now: datetime,
) -> _Thread:
    """The incident's next row: opened, or with one report more."""
    if matched is None:
        row = incidents.new_row(
            place,
            one.hazard.code,
            level=decision.level,
            headline=one.summary[:HEADLINE],
            origin="reports",
            observed_at=one.observed_at,
            drill_id=one.drill_id,
            now=now,
            at=(one.lat, one.lon) if one.lat is not None and one.lon is not None else None,
        )
        row["reports"] = 1
        thread = threads[row["id"]] = _Thread(row, True, place)
        return thread
    found = threads.get(matched.incident_id)
    if found is None:
        row = candidates[matched.incident_id]._asdict()
        row["version"] += 1
        found = threads[row["id"]] = _Thread(row, False, place)
    row = found.row
    row["reports"] += 1
    if place.code not in row["nodes"]:
        row["nodes"] = [*row["nodes"], place.code]
    # More is said of it, so it is not over.
    row["state"] = "open"
    incidents.observe(row, one.observed_at)
    if decision.level.rank > type(decision.level)(row["level"]).rank:
        row["level"] = str(decision.level)
        row["headline"] = one.summary[:HEADLINE]
    return found


async def _successors(
    conn: AsyncConnection, threads: dict[UUID, _Thread], known: dict[UUID, alerts.Row], rules: raising.Rules
) -> Mapping[str, str]:
    """What offices are part of today, where an acknowledged alert hears of one that it does not cover."""
    found: set[str] = set()
    for incident_id, current in known.items():
        thread = threads.get(incident_id)
        if thread is None or current["state"] != "acknowledged":
            continue
        new = {one.place.code for one in thread.accepted if one.decision.level in rules.levels}
        if not new <= set(current["covered"]):
            found |= new | set(current["covered"])
    if not found:
        return {}
    known_offices = await offices(conn, found)
    return {code: known_offices.today(code) for code in found}


def _alert(
    thread: _Thread,
    current: alerts.Row | None,
    rules: raising.Rules,
    now: datetime,
    today: Mapping[str, str],
) -> raising.Change | None:
    return raising.next_alert(
        current,
        [
            raising.Said(
                one.decision.level, one.reasons, one.submission.summary[:HEADLINE], {one.place.code: one.place.name}
            )
            for one in thread.accepted
        ],
        alert_id=new_id(),
        incident_id=thread.row["id"],
        hazard=thread.row["hazard"],
        place=raising.Place(
            thread.place.city_id, thread.place.code, thread.place.name, thread.place.path, thread.row["nodes"]
        ),
        reports=thread.row["reports"],
        rules=rules,
        now=now,
        drill_id=thread.row["drill_id"],
        today=today,
    )


def _events(thread: _Thread, change: raising.Change | None) -> list[Event]:
    """One operation of the feed: what happened to one incident in this transaction."""
    row = thread.row
    events = []
    if thread.is_new:
        events.append(incidents.opened(row))
    for accepted in thread.accepted:
        events.append(report_event("report.received", accepted.row))
    if change is not None:
        events.append(alerts.event(change.event, change.row))
    return events


def _sees_account(accepted: _Accepted) -> bool:
    caller = accepted.submission.caller
    return may_know_person(caller, office=caller.node, above=None)
