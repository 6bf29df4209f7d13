"""When a device tries again: pure.

"Full jitter" of the AWS Architecture Blog, "Exponential Backoff And Jitter": random between 0 and
min(cap, base * 2 ** attempt). After a storm a thousand phones find the network again at the same moment.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

BASE = timedelta(seconds=1)
CAP = timedelta(minutes=5)
LONGEST_TOLD = timedelta(hours=1)
# Whatever waits longer was noted by a clock that was ahead.
LONGEST = LONGEST_TOLD + CAP


def full_jitter(tries: int, draw: float) -> timedelta:
    """How long to wait after so many failed tries, from 1; `draw` is random from [0, 1)."""
    return min(CAP, BASE * (1 << min(tries, 20))) * draw


def next_at(tries: int, *, now: datetime, draw: float, retry_after: str | None = None) -> datetime:
    """When to try again: after what the server asked for, spread by the jitter."""
    return now + told(retry_after, now) + full_jitter(tries, draw)


def told(retry_after: str | None, now: datetime) -> timedelta:
    """RFC 9110 section 10.2.3: seconds, or a date; anything else asks for nothing. Never more than an hour."""
    if retry_after is None:
        return timedelta()
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST_TOLD, timedelta(seconds=int(text[:6])))
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return min(LONGEST_TOLD, max(timedelta(), at - now))
    except (ValueError, OverflowError):
        return timedelta()
