"""Whether a day's count is unusual: EARS C1, C2 and C3. Pure, from counts by day; a day without a count is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Literal

Method = Literal["c1", "c2", "c3"]

BASELINE_DAYS = 7
# The days between the baseline and the day itself, so that what has begun already does not hide itself.
GUARD_DAYS = {"c1": 0, "c2": 2, "c3": 2}
# A baseline that hardly varies would make an alarm of every second report.
LEAST_SD = 0.5
LIMIT = 3.0
LIMIT_C3 = 2.0
LEAST_COUNT = 3
# C3 looks at three days, each with its own baseline: the oldest day that any method looks at.
OLDEST = timedelta(days=BASELINE_DAYS + GUARD_DAYS["c3"] + 2)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a method says of a day, in words too. `expected` and `limit` are None when it cannot say."""

    method: Method
    observed: int | None
    expected: float | None
    limit: float | None
    alarm: bool
    sentence: str
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class _Baseline:
    mean: float
    sd: float

    def excess(self, count: int) -> float:
        """How many standard deviations a count lies above the mean."""
        # Rounded, so that a count exactly at the limit is at it, whatever the square root made of it.
        return round((count - self.mean) / self.sd, 9)


def judge(
    method: Method,
    counts: Mapping[date, int],
    day: date,
    *,
    count_at_least: int = LEAST_COUNT,
    days_at_least: int = BASELINE_DAYS,
) -> Verdict:
    """What C1, C2 or C3 says of `day`; without its count, or with too few days of baseline, no alarm.

    An alarm is a count of at least `limit`, which never lies below `count_at_least` (and that never below 3).
    """
    least = max(LEAST_COUNT, count_at_least)
    observed = counts.get(day)
    if observed is None:
        return Verdict(method, None, None, None, False, "Today's count is not known.", "今日数量不明。")
    known = _days(method, counts, day)
    baseline = _baseline(known, days_at_least)
    if baseline is None:
        return Verdict(
            method,
            observed,
            None,
            None,
            False,
            f"{observed} today; {len(known)} of {BASELINE_DAYS} days before are known, too few to say.",
            f"今日 {observed} 起；此前 {BASELINE_DAYS} 天中仅 {len(known)} 天有数，不足以判断。",
        )
    if method == "c3":
        before = sum(_lately(counts, day - timedelta(days=ago), days_at_least) for ago in (1, 2))
        # What today's own C2 must be for the three days to add up to the limit.
        wanted = 1 + LIMIT_C3 - before if before < LIMIT_C3 else None
        unusual = before + max(0.0, baseline.excess(observed) - 1) >= LIMIT_C3
    else:
        wanted = LIMIT
        unusual = baseline.excess(observed) >= LIMIT
    limit = float(least) if wanted is None else max(float(least), baseline.mean + wanted * baseline.sd)
    return Verdict(
        method,
        observed,
        baseline.mean,
        limit,
        unusual and observed >= least,
        f"{observed} today, {baseline.mean:.1f} expected, limit {limit:.1f}",
        f"今日 {observed} 起，预期 {baseline.mean:.1f} 起，界限 {limit:.1f} 起",
    )


def _days(method: Method, counts: Mapping[date, int], day: date) -> list[int]:
    """The known counts of the seven days that `day` is compared with."""
    newest = day - timedelta(days=GUARD_DAYS[method] + 1)
    days = (newest - timedelta(days=ago) for ago in range(BASELINE_DAYS))
    return [counts[one] for one in days if one in counts]


def _baseline(known: list[int], days_at_least: int) -> _Baseline | None:
    # One day has no deviation.
    if len(known) < max(2, days_at_least):
        return None
    mean = sum(known) / len(known)
    variance = sum((count - mean) ** 2 for count in known) / (len(known) - 1)
    return _Baseline(mean, max(sqrt(variance), LEAST_SD))


def _lately(counts: Mapping[date, int], day: date, days_at_least: int) -> float:
    """A day before's share of C3; nothing when the day, or its baseline, is not known."""
    count, baseline = counts.get(day), _baseline(_days("c2", counts, day), days_at_least)
    return max(0.0, baseline.excess(count) - 1) if count is not None and baseline is not None else 0.0
