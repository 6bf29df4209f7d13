"""Duty periods: named dates (flood season, an expo) that tighten deadlines and roll calls."""

import re
from datetime import date
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from app.hazards.rules import Part, Words

_YEARLY = re.compile(r"(\d\d)-(\d\d)")


def _day(value: date | str) -> date | str:
    if isinstance(value, str):
        found = _YEARLY.fullmatch(value)
        try:
            # A leap year, so that 29 February may be named.
            date(2024, *(int(part) for part in found.groups())) if found else date.fromisoformat("")
        except ValueError:
            raise ValueError('it is a date (2026-06-01), or "06-01" for every year') from None
    return value


Day = Annotated[date | str, AfterValidator(_day)]


class DutyPeriod(Part):
    """From a day until a day, both of them in it; a period of every year may pass over the new year."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    zh: Words
    en: Words
    since: Day
    until: Day
    factor: float = Field(gt=0, le=1, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "DutyPeriod":
        if isinstance(self.since, date) != isinstance(self.until, date):
            raise ValueError("since and until must both be dates, or both be days of every year")
        if isinstance(self.since, date) and isinstance(self.until, date) and self.until < self.since:
            raise ValueError("until lies before since; swap them")
        return self

    def holds(self, day: date) -> bool:
        """Whether the period is on, that day."""
        if isinstance(self.since, date) and isinstance(self.until, date):
            return self.since <= day <= self.until
        since, until, now = str(self.since), str(self.until), day.strftime("%m-%d")
        return since <= now <= until if since <= until else now >= since or now <= until
