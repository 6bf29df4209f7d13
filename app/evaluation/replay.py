"""History told again under another policy: pure, one report after the other, in the order received."""

from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import zip_longest
from uuid import UUID

from app.core.clock import day_of
from app.detection.cluster import linked
from app.detection.lookout import CLUSTER, DISEASE, LATE, Finding, limits_of
from app.evaluation.courses import Act, Courses, Due, Gather
from app.evaluation.early import Early
from app.evaluation.neighbours import MOMENT, Neighbours
from app.evaluation.outcome import AlarmRow, AlertRow, Outcome, ReportRow, differs
from app.evaluation.told import Before, StoredAlarm, Told
from app.hazards.cap import Certainty, Level, Severity, Urgency
from app.hazards.catalogue import HAZARDS
from app.hazards.policy import Policy
from app.hazards.triage import Decision, Situation, triage


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
        self._near = Neighbours(policy), Neighbours(in_force)
        self._waiting: deque[Told] = deque()
        self._courses = {
            False: Courses(_due(in_force), _gather(in_force)),
            True: Courses(_due(policy), _gather(policy)),
        }
        for incident, level in before.active.items():
            for courses in self._courses.values():
                courses.of(incident).said(since, level, raises=True, by="before")
        self._happened: defaultdict[UUID, list[_Happening]] = defaultdict(list)
        for incident, acts in before.acts.items():
            for act in acts:
                self._happens(incident, act.at, act, (False, True))
        self._early = Early(policy, before)
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
        office = one.seen.sighting.node
        # What an alert has may be less than urgent: then it is no office's cry.
        cries = office if one.level in self._in_force.alerts.levels else None
        self._courses[False].said(incident, one.received_at, one.level, raises=one.alerted, office=cries)
        raises = decision.level in self._policy.alerts.levels
        self._courses[True].said(incident, one.received_at, decision.level, raises=raises, office=office)
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
                what = differs(one, other, known=known)
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


def _gather(policy: Policy) -> Gather:
    return lambda at: policy.alerts.gather * policy.tempo(day_of(at))


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
