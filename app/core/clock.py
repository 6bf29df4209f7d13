from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """Where every time that Beacon decides by comes from."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves only when told to: for tests and simulations."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The moment last set."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward by `by`."""
        self._now += by


# Every office that Beacon serves lives by this zone's calendar.
ZONE = ZoneInfo("Asia/Shanghai")


def day_of(now: datetime) -> date:
    """The calendar day of a moment, where the offices are."""
    return now.astimezone(ZONE).date()


def start_of(day: date) -> datetime:
    """The first moment of a calendar day, where the offices are."""
    return datetime.combine(day, time(), ZONE).astimezone(UTC)
