"""What early detection would have said, report by report: pure."""

from collections import Counter, defaultdict
from datetime import date, datetime

from app.detection.lookout import (
    Finding,
    Lookout,
    Seen,
    asked_since,
    count_findings,
    count_key,
    known_days,
    worth_a_look,
)
from app.evaluation.told import Before, Told
from app.hazards.policy import Policy


class Early:
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
        """The alarms that the next report would have made."""
        seen = one.seen
        if seen.kind not in self._policy.kinds:
            return []
        self._lookout.see(seen)
        if seen.town is not None:
            self._counts[seen.town, seen.family][seen.day] += 1
        if not worth_a_look(seen, self._policy, one.received_at):
            return []
        self._seen += 1
        if self._seen % 10_000 == 0:
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
