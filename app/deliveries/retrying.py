"""When a delivery is tried again: pure. The times are Standard Webhooks 1.0's; urgent alerts begin faster."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LATER = (5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
ORDINARY = (0, 5, *_LATER)
URGENT = (0, 1, 5, 15, 60, *_LATER)

JITTER = 0.2
LONGEST = timedelta(hours=24)
TOLD_TO_WAIT = frozenset({429, 502, 503, 504})

URGENT_TYPES = frozenset({"alert.raised", "alert.upgraded", "alert.rearmed", "alert.escalated", "alert.bypassed"})
URGENT_LEVELS = frozenset({"red", "orange"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a try came to: `delivered`, `gone` (410: the receiver wants no more) or what failed, in one stable word."""

    word: str
    status: int | None = None
    retry_after: str | None = None


def outcome_of(status: int, retry_after: str | None) -> Outcome:
    """What an answer means: 2xx has taken it, 410 wants no more, anything else has failed, redirects too."""
    if 200 <= status < 300:
        return Outcome("delivered", status)
    if status == 410:
        return Outcome("gone", status)
    return Outcome("redirected" if 300 <= status < 400 else "refused", status, retry_after)


def next_try(tries: int, *, urgent: bool, outcome: Outcome, now: datetime, draw: float) -> datetime | None:
    """When to try again after so many tries, from 1; None: no more.

    `draw`, from [0, 1), spreads those that failed together.
    """
    delays = URGENT if urgent else ORDINARY
    if tries >= len(delays):
        return None
    wait = timedelta(seconds=delays[tries]) * (1 + JITTER * draw)
    if outcome.status in TOLD_TO_WAIT and outcome.retry_after is not None:
        wait = max(wait, min(LONGEST, _seconds(outcome.retry_after, now)))
    return now + wait


def is_urgent(kind: str, level: object) -> bool:
    """Whether an event is an alert that somebody has to act on at once."""
    return kind in URGENT_TYPES and level in URGENT_LEVELS


def _seconds(value: str, now: datetime) -> timedelta:
    """RFC 9110 section 10.2.3: seconds, or a date; anything else asks for nothing."""
    if value.strip().isascii() and value.strip().isdigit():
        return timedelta(seconds=min(int(value.strip()[:9]), 86400))
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return timedelta(0)
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(timedelta(0), at - now)
