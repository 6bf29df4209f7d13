"""History told again under another policy: pure, one report after the other, in the order received."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from itertools import zip_longest
from uuid import UUID

from app.core.clock import day_of
from app.detection.cluster import Sighting, linked
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
from app.evaluation.courses import Act, Course, Due, Raised
from app.hazards.cap import Certainty, Level, Severity, Urgency
from app.hazards.catalogue import HAZARDS
from app.hazards.policy import Policy
from app.hazards.triage import Decision, Situation, triage

# Reports that came this close together may have been stored in one transaction, or in another order.
MOMENT = timedelta(seconds=2)
# An alert that was raised this much earlier or later was raised at the same time.
SAME = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Told:
    """A stored report without its words."""

    seen: Seen
    received_at: datetime
    urgency: str
    severity: str
    certainty: str
    figures: Mapping[str, int | float]
    level: Level
    alerted: bool


@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """An alarm that was raised; `level` is what it gave its incident's alert."""

    key: str
    rule: str
    of: str
    anchor: Sighting
    reports: frozenset[UUID]
    incident_id: UUID
    raised_at: datetime
    level: Level | None
    sentence: str
    node: str


@dataclass(frozen=True, slots=True)
class Before:
    """What one city's history holds beside its reports."""

    acts: Mapping[UUID, Sequence[Act]]
    """By incident, in order."""
    active: Mapping[UUID, Level]
    """The incidents that had an alert when the simulation's time began, with its level."""
    alarms: Sequence[StoredAlarm]
    answered: Mapping[str, set[date]]
    began: date | None


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report whose level differs, and why the other policy gives it that."""

    report_id: UUID
    at: datetime
    node: str
    hazard: str
    stored: Level
    simulated: Level
    why: str
    why_zh: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An incident whose alerts differ; None: there was, or would have been, none."""

    incident_id: UUID
    stored: Raised | None
    simulated: Raised | None
    what: str
    what_zh: str


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm of early detection that was raised, or would have been, but not both."""

    at: datetime
    rule: str
    node: str
    sentence: str
    simulated: bool


@dataclass(slots=True)
class Side:
    """The figures of one of the two: as it was, or as it would have been."""

    levels: Counter[Level] = field(default_factory=Counter)
    alerts: Counter[Level] = field(default_factory=Counter)
    again: int = 0
    overdue: int = 0
    alarms: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Outcome:
    """What would have differed."""

    reports: int = 0
    stored: Side = field(default_factory=Side)
    simulated: Side = field(default_factory=Side)
    report_rows: list[ReportRow] = field(default_factory=list)
    alert_rows: list[AlertRow] = field(default_factory=list)
    alarm_rows: list[AlarmRow] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.report_rows or self.alert_rows or self.alarm_rows)


def replay(
    told: Iterable[Told], *, before: Before, policy: Policy, in_force: Policy, since: datetime, until: datetime
) -> Outcome:
    """What would have differed between `since` and `until` under `policy`, by one city's real history.

    `told` comes in the order received and begins early enough for neighbours and detection (`reach`). Incidents,
    and what offices did, stay as they were.
    """
    found = Replay(before=before, policy=policy, in_force=in_force, since=since, until=until)
    for one in told:
        found.tell(one)
    return found.end()


def reach(policy: Policy) -> timedelta:
    """How long before the first report history must be told, for its neighbours, baseline and clusters."""
    detection = policy.detection
    windows = [timedelta(days=13), limits_of(detection.cluster).window, limits_of(detection.disease).window]
    return max(windows) + LATE


# When, whether it is an act, a number that keeps the order, what, and on which of the two sides it happens.
_Happening = tuple[datetime, bool, int, Act | Level, tuple[bool, ...]]


class Replay:
    """Takes reports one by one, and keeps of each only what later ones need."""

    def __init__(self, *, before: Before, policy: Policy, in_force: Policy, since: datetime, until: datetime) -> None:
        self.outcome = Outcome()
        self._number = 0
        self._policy, self._in_force = policy, in_force
        self._since, self._until = since, until
        self._near = _Neighbours(policy), _Neighbours(in_force)
        self._waiting: deque[Told] = deque()
        self._courses = {
            False: _Courses(_due(in_force)),
            True: _Courses(_due(policy)),
        }
        for incident, level in before.active.items():
            for courses in self._courses.values():
                courses.of(incident).said(since, level, raises=True, by="before")
        self._happened: defaultdict[UUID, list[_Happening]] = defaultdict(list)
        for incident, acts in before.acts.items():
            for act in acts:
                self._happens(incident, act.at, act, (False, True))
        self._early = _Early(policy, before)
        self._alarms = before.alarms
        self._raised_at = {one.key: one.raised_at for one in self._alarms}
        for one in self._alarms:
            if one.level is not None:
                self._happens(one.incident_id, one.raised_at, one.level, (False,))

    def tell(self, one: Told) -> None:
        """The next report; it is decided when all that may have been stored together with it are known."""
        while self._waiting and self._waiting[0].received_at + MOMENT < one.received_at:
            self._decide(self._waiting.popleft())
        for near in self._near:
            near.hear(one)
        self._waiting.append(one)

    def end(self) -> Outcome:
        """Decide what waits, and compare."""
        while self._waiting:
            self._decide(self._waiting.popleft())
        for incident in list(self._happened):
            self._catch_up(incident, self._until)
        self._compare_alerts()
        self._compare_alarms()
        return self.outcome

    def _decide(self, one: Told) -> None:
        findings = self._early.look(one)
        if one.received_at < self._since:
            return
        outcome = self.outcome
        outcome.reports += 1
        decision = self._simulated(one)
        outcome.stored.levels[one.level] += 1
        outcome.simulated.levels[decision.level] += 1
        if decision.level is not one.level:
            reason = decision.reasons[-1]
            outcome.report_rows.append(
                ReportRow(
                    one.seen.sighting.id,
                    one.received_at,
                    one.seen.sighting.node,
                    one.seen.hazard,
                    one.level,
                    decision.level,
                    reason.text,
                    reason.text_zh,
                )
            )
        incident = one.seen.incident_id
        self._catch_up(incident, one.received_at)
        self._courses[False].said(incident, one.received_at, one.level, raises=one.alerted)
        raises = decision.level in self._policy.alerts.levels
        self._courses[True].said(incident, one.received_at, decision.level, raises=raises)
        level = self._policy.detection.raises
        if level is not None:
            for finding in findings:
                # An alarm that was raised is raised when it was: how soon detection looked is not the policy's doing.
                at = self._raised_at.get(finding.key, one.received_at)
                self._happens(incident, at, level, (True,))

    def _simulated(self, one: Told) -> Decision:
        """The decision under the other policy, with the neighbours that were counted when the report was stored.

        How many those were is not kept: it is the number nearest to what was received by then that explains the
        stored level under the policy in force, since reports of one moment may have been stored in any order.
        """
        other, forced = (near.of(one) for near in self._near)
        numbers = sorted(range(forced[0], forced[2] + 1), key=lambda number: abs(number - forced[1]))
        explained = (number for number in numbers if triage(self._in_force, _situation(one, number)).level is one.level)
        shift = next(explained, forced[1]) - forced[1]
        return triage(self._policy, _situation(one, min(max(other[1] + shift, other[0]), other[2])))

    def _happens(self, incident: UUID, at: datetime, what: Act | Level, sides: tuple[bool, ...]) -> None:
        # Of one moment: first what raises an alert, then what is done with it.
        self._number += 1
        heappush(self._happened[incident], (at, isinstance(what, Act), self._number, what, sides))

    def _catch_up(self, incident: UUID, until: datetime) -> None:
        """What was done with the incident's alerts, and detected, before then."""
        happened = self._happened.get(incident)
        while happened and happened[0][0] < until:
            at, _, _, what, sides = heappop(happened)
            for side in sides:
                if isinstance(what, Act):
                    self._courses[side].act(incident, what)
                else:
                    self._courses[side].said(incident, at, what, raises=True, by="detection")

    def _compare_alerts(self) -> None:
        outcome = self.outcome
        was, would = self._courses[False].ended(self._until), self._courses[True].ended(self._until)
        for incident in sorted({*was, *would}, key=str):
            stored, simulated = was.get(incident, []), would.get(incident, [])
            known = bool(stored)
            for side, alerts in ((outcome.stored, stored), (outcome.simulated, simulated)):
                side.alerts.update(one.level for one in alerts)
                side.again += sum(one.again for one in alerts)
                # Where nobody was ever asked, nobody can be late.
                side.overdue += sum(one.late > 0 for one in alerts) if known else 0
            for one, other in zip_longest(stored, simulated):
                what = _differs(one, other, known=known)
                if what is not None:
                    outcome.alert_rows.append(AlertRow(incident, one, other, *what))

    def _compare_alarms(self) -> None:
        outcome = self.outcome
        found = {finding.key: (at, finding) for at, finding in self._early.found if at >= self._since}
        outcome.stored.alarms.update(one.rule for one in self._alarms)
        outcome.simulated.alarms.update(finding.rule for _, finding in found.values())
        rows = []
        for alarm in self._alarms:
            same = alarm.key if alarm.key in found else None
            if same is None:
                same = next((key for key, (_, finding) in found.items() if self._same(alarm, finding)), None)
            if same is None:
                rows.append(AlarmRow(alarm.raised_at, alarm.rule, alarm.node, alarm.sentence, False))
            else:
                del found[same]
        rows += [AlarmRow(at, one.rule, one.node, one.sentence, True) for at, one in found.values()]
        outcome.alarm_rows = sorted(rows, key=lambda row: (row.at, row.rule, row.node))

    def _same(self, alarm: StoredAlarm, finding: Finding) -> bool:
        """A cluster is the same also when it shares a report, or by its place and time."""
        if alarm.rule != finding.rule or alarm.rule not in (CLUSTER, DISEASE):
            return False
        if alarm.of != (finding.hazard or finding.family):
            return False
        rule = self._policy.detection.cluster if alarm.rule == CLUSTER else self._policy.detection.disease
        close = linked(alarm.anchor, finding.seen.sighting, limits_of(rule))
        return close or not alarm.reports.isdisjoint(finding.reports)


def _due(policy: Policy) -> Due:
    return lambda level, at: policy.alerts.due(level) * policy.tempo(day_of(at))


def _situation(one: Told, neighbours: int) -> Situation:
    return Situation(
        hazard=HAZARDS[one.seen.hazard],
        urgency=Urgency(one.urgency),
        severity=Severity(one.severity),
        certainty=Certainty(one.certainty),
        figures=one.figures,
        kind=one.seen.kind,
        neighbours=neighbours,
    )


def _differs(stored: Raised | None, simulated: Raised | None, *, known: bool) -> tuple[str, str] | None:
    """What differs between an alert as it was and as it would have been, in words."""
    if stored is None:
        assert simulated is not None
        return (
            f"an alert more, {simulated.level.en}, by {simulated.by}",
            f"多一个{simulated.level.zh}警报",
        )
    if simulated is None:
        return f"no {stored.level.en} alert", f"没有{stored.level.zh}警报"
    said = []
    if stored.level is not simulated.level:
        said.append(
            (f"{simulated.level.en} instead of {stored.level.en}", f"{stored.level.zh}变为{simulated.level.zh}")
        )
    shift = simulated.at - stored.at
    # Detection looks a little later than the report came, by how busy the server was.
    if abs(shift) > SAME and "detection" not in (stored.by, simulated.by):
        minutes = round(abs(shift) / timedelta(minutes=1))
        later = shift > timedelta(0)
        said.append(
            (f"{minutes} minutes {'later' if later else 'earlier'}", f"{'晚' if later else '早'} {minutes} 分钟")
        )
    if stored.again != simulated.again:
        said.append(
            (
                f"raised again {simulated.again} times instead of {stored.again}",
                f"重新触发 {simulated.again} 次，原为 {stored.again} 次",
            )
        )
    if known and (stored.late > 0) is not (simulated.late > 0):
        said.append(("overdue", "超时") if simulated.late else ("in time", "未超时"))
    if not said:
        return None
    return ", ".join(one for one, _ in said), "，".join(zh for _, zh in said)


class _Courses:
    """The courses of many incidents, begun when the first alert is raised."""

    def __init__(self, due: Due) -> None:
        self._due = due
        self._by_incident: dict[UUID, Course] = {}

    def of(self, incident: UUID) -> Course:
        return self._by_incident.setdefault(incident, Course(self._due))

    def said(self, incident: UUID, at: datetime, level: Level, *, raises: bool, by: str = "reports") -> None:
        if raises or incident in self._by_incident:
            self.of(incident).said(at, level, raises=raises, by=by)

    def act(self, incident: UUID, act: Act) -> None:
        if act.kind == "raised" or incident in self._by_incident:
            self.of(incident).act(act)

    def ended(self, at: datetime) -> dict[UUID, list[Raised]]:
        """By incident: the alerts that reports and detection raised."""
        for course in self._by_incident.values():
            course.end(at)
        found = {
            incident: [one for one in course.alerts if one.by in ("reports", "detection")]
            for incident, course in self._by_incident.items()
        }
        return {incident: alerts for incident, alerts in found.items() if alerts}


class _Neighbours:
    """When each node of a town reported a family lately."""

    def __init__(self, policy: Policy) -> None:
        self._window = timedelta(hours=policy.triage.neighbour_window_hours)
        self._heard: defaultdict[tuple[str, str], defaultdict[str, deque[datetime]]] = defaultdict(
            lambda: defaultdict(deque)
        )

    def hear(self, one: Told) -> None:
        if one.seen.town is not None:
            times = self._heard[one.seen.town, one.seen.family][one.seen.sighting.node]
            times.append(one.received_at)
            while times[0] < one.received_at - self._window - 2 * MOMENT:
                times.popleft()

    def of(self, one: Told) -> tuple[int, int, int]:
        """How many others had surely been stored, had been received by then, and may have been stored."""
        if one.seen.town is None:
            return 0, 0, 0
        sure = received = maybe = 0
        at, earliest = one.received_at, one.received_at - self._window
        for node, times in self._heard[one.seen.town, one.seen.family].items():
            if node == one.seen.sighting.node or times[-1] < earliest:
                continue
            maybe += 1
            # Few are later than a moment before: each node's times are in order.
            by_then = next((when for when in reversed(times) if when <= at), None)
            before = next((when for when in reversed(times) if when < at - MOMENT), None)
            received += by_then is not None and by_then >= earliest
            sure += before is not None and before >= earliest
        return sure, received, maybe


class _Early:
    """What early detection would have said."""

    def __init__(self, policy: Policy, before: Before) -> None:
        self._policy = policy.detection
        self._before = before
        self._asked_since = asked_since(before.answered)
        self._lookout = Lookout(self._policy)
        self._counts: defaultdict[tuple[str, str], Counter[date]] = defaultdict(Counter)
        self._told: set[str] = set()
        self._seen = 0
        self.found: list[tuple[datetime, Finding]] = []

    def look(self, one: Told) -> list[Finding]:
        seen = one.seen
        if seen.kind not in self._policy.kinds:
            return []
        self._lookout.see(seen)
        if seen.town is not None:
            self._counts[seen.town, seen.family][seen.day] += 1
        if not worth_a_look(seen, self._policy, one.received_at):
            return []
        self._seen += 1
        if self._seen % 1000 == 0:
            self._lookout.forget(one.received_at)
        findings = self._lookout.clusters(seen) + self._counted(seen)
        self._told |= {finding.key for finding in findings}
        self.found += [(one.received_at, finding) for finding in findings]
        return findings

    def _counted(self, seen: Seen) -> list[Finding]:
        if seen.town is None:
            return []
        counts = self._counts[seen.town, seen.family]
        few = counts[seen.day] < self._policy.count_at_least
        if few or all(count_key(method, seen) in self._told for method in self._policy.ears):
            return []
        known = known_days(
            seen.day,
            town=seen.town,
            answered=self._before.answered,
            asked_since=self._asked_since,
            began=self._before.began,
        )
        return count_findings(self._policy, seen, counts, known, self._told)
