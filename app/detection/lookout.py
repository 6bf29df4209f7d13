"""What is unusual among reports: pure, from what was seen so far and the alarms that are known already."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from app.core.clock import day_of
from app.detection.cluster import Cluster, Grid, Limits, Sighting
from app.detection.ears import OLDEST, judge
from app.hazards.detection import ClusterRule, DetectionPolicy

CLUSTER, DISEASE = "cluster", "cluster.disease"
# What happened longer ago is no early sign any more.
LATE = timedelta(days=7)
# A device's clock may be ahead.
AHEAD = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A report, as far as detection looks at it."""

    sighting: Sighting
    town: str | None
    family: str
    hazard: str
    kind: str
    incident_id: UUID
    drill_id: UUID | None = None

    @property
    def day(self) -> date:
        """The day it was observed, where the offices are."""
        return day_of(self.sighting.at)


@dataclass(frozen=True, slots=True)
class Finding:
    """An alarm: what was found, in words, and by which report."""

    rule: str
    key: str
    family: str
    hazard: str | None
    node: str
    day: date
    observed: int
    expected: float | None
    limit: float
    sentence: str
    sentence_zh: str
    seen: Seen
    reports: tuple[UUID, ...] = ()


Group = tuple[str, str]


def worth_a_look(seen: Seen, policy: DetectionPolicy, now: datetime) -> bool:
    """Whether a report counts at all, and is not too late to be an early sign."""
    return seen.kind in policy.kinds and now - LATE <= seen.sighting.at <= now + AHEAD


def limits_of(rule: ClusterRule) -> Limits:
    """A rule of the policy as the search takes it."""
    return Limits(rule.reports_at_least, rule.nodes_at_least, rule.radius_m, timedelta(hours=rule.hours))


class Lookout:
    """The reports seen in one city (the real, or those of one drill), found by place."""

    def __init__(self, policy: DetectionPolicy) -> None:
        self._rules = {CLUSTER: limits_of(policy.cluster), DISEASE: limits_of(policy.disease)}
        self._diseases = frozenset(policy.disease.hazards)
        self._grids: defaultdict[Group, Grid] = defaultdict(Grid)
        # The clusters that were told of: where and when, and by which reports.
        self._anchors: defaultdict[Group, Grid] = defaultdict(Grid)
        self._members: defaultdict[Group, dict[UUID, datetime]] = defaultdict(dict)

    def see(self, seen: Seen) -> None:
        """One report more, that others may lie close to."""
        for group in self._groups(seen):
            self._grids[group].add(seen.sighting)

    def know(self, rule: str, of: str, anchor: Sighting, reports: Iterable[UUID]) -> None:
        """A cluster that was told of before; `of` is its family or, for a disease, its hazard."""
        self._anchors[rule, of].add(anchor)
        self._members[rule, of].update((report, anchor.at) for report in reports)

    def clusters(self, seen: Seen) -> list[Finding]:
        """The clusters around a report that were not told of yet; from now on they are known.

        A cluster is a known one when it shares a report with it, or when the report lies close to that which made it
        one: an event that lasts is told of again after the rule's time.
        """
        found = []
        for group in self._groups(seen):
            rule, of = group
            limits = self._rules[rule]
            if self._anchors[group].any_linked(seen.sighting, limits):
                continue
            cluster = self._grids[group].around(seen.sighting, limits)
            if cluster is None or any(one.id in self._members[group] for one in cluster.members):
                continue
            self.know(rule, of, seen.sighting, (one.id for one in cluster.members))
            found.append(_finding(rule, of, seen, cluster, limits))
        return found

    def forget(self, now: datetime) -> None:
        """Drop what is too old to lie close to anything that is still worth a look."""
        for group, grid in self._grids.items():
            before = now - LATE - 2 * self._rules[group[0]].window
            grid.forget(before)
            self._anchors[group].forget(before)
            self._members[group] = {one: at for one, at in self._members[group].items() if at >= before}

    def _groups(self, seen: Seen) -> Iterator[Group]:
        yield CLUSTER, seen.family
        if seen.hazard in self._diseases:
            yield DISEASE, seen.hazard


def _finding(rule: str, of: str, seen: Seen, cluster: Cluster, limits: Limits) -> Finding:
    return Finding(
        rule=rule,
        key=_key(seen, rule, of, str(cluster.members[0].id)),
        family=seen.family,
        hazard=seen.hazard if rule == DISEASE else None,
        node=seen.sighting.node,
        day=seen.day,
        observed=len(cluster.members),
        expected=None,
        limit=float(limits.reports),
        sentence=f"{cluster.sentence}, limit {limits.reports} of {limits.nodes}",
        sentence_zh=f"{cluster.sentence_zh}，界限 {limits.nodes} 个单位 {limits.reports} 份",
        seen=seen,
        reports=tuple(one.id for one in cluster.members),
    )


def _key(seen: Seen, *parts: str) -> str:
    return "/".join([seen.drill_id.hex if seen.drill_id else "real", *parts])


def count_key(method: str, seen: Seen) -> str:
    """What an alarm of a town's count on one day is known by."""
    return _key(seen, f"ears.{method}", seen.family, str(seen.town), seen.day.isoformat())


def known_days(
    day: date, *, town: str, answered: Mapping[str, set[date]], asked_since: date | None, began: date | None
) -> set[date]:
    """Of the days that `day` may be compared with, those on which the town was heard from, or would have been.

    Once towns are asked (from `asked_since` on), a day without the town's answer is missing. Before that, and where
    nobody is ever asked (None), a day counts from the first that the city's log was running (`began`).
    """
    days = (day - timedelta(days=ago) for ago in range(1, OLDEST.days + 1))
    replied = answered.get(town, set())
    return {
        one
        for one in days
        if (one in replied if asked_since is not None and one >= asked_since else began is not None and one >= began)
    }


def asked_since(answered: Mapping[str, set[date]]) -> date | None:
    """The first day that any town answered; with towns that were asked and never answered, from ever."""
    if not answered:
        return None
    return min((day for days in answered.values() for day in days), default=date.min)


def count_findings(
    policy: DetectionPolicy, seen: Seen, counts: Mapping[date, int], known: set[date], told: set[str]
) -> list[Finding]:
    """What EARS says of the town's count on the day of `seen`; `counts` by day, `known` as above.

    `told` are the keys of the alarms that are known already.
    """
    by_day = {one: counts.get(one, 0) for one in known} | {seen.day: counts.get(seen.day, 0)}
    found = []
    for method in policy.ears:
        key = count_key(method, seen)
        if key in told:
            continue
        verdict = judge(
            method,
            by_day,
            seen.day,
            count_at_least=policy.count_at_least,
            days_at_least=policy.baseline_days_at_least,
        )
        if not verdict.alarm or verdict.observed is None or verdict.limit is None:
            continue
        assert seen.town is not None
        found.append(
            Finding(
                rule=f"ears.{method}",
                key=key,
                family=seen.family,
                hazard=None,
                node=seen.town,
                day=seen.day,
                observed=verdict.observed,
                expected=verdict.expected,
                limit=verdict.limit,
                sentence=verdict.sentence,
                sentence_zh=verdict.sentence_zh,
                seen=seen,
            )
        )
    return found
