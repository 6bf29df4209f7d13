"""Whom a roll call asks, and what silence means, as the policy file says it."""

import contextlib
from datetime import date, time
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from app.hazards.cap import Level
from app.hazards.rules import Part

Tier = Literal["village", "town", "city"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Points = Annotated[int, Field(ge=0, le=100, strict=True)]


def _clock(value: object) -> object:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = time.fromisoformat(value)
    if isinstance(value, time) and value.tzinfo is None:
        return value
    raise ValueError('it is a time of day, "08:00"')


Clock = Annotated[time, BeforeValidator(_clock)]
Question = Annotated[str, Field(min_length=1, max_length=200)]


class ScheduledRollCall(Part):
    """A roll call that the calendar opens, once a day."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_.]{0,39}$")
    zh: Question
    en: Question
    tiers: tuple[Tier, ...] = Field(min_length=1)
    opens: Clock
    due: Clock
    days: tuple[Weekday, ...] = ()
    only_in_duty: bool = Field(False, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "ScheduledRollCall":
        if self.due <= self.opens:
            raise ValueError("due lies before opens; both are times of one day")
        if len(set(self.tiers)) < len(self.tiers):
            raise ValueError("tiers names one twice; remove one")
        if len(set(self.days)) < len(self.days):
            raise ValueError("days names one twice; remove one")
        return self

    def asks_on(self, day: date, *, in_duty: bool) -> bool:
        """Whether it is opened on a day: on all days when it names none."""
        named = not self.days or WEEKDAYS[day.weekday()] in self.days
        return named and (in_duty or not self.only_in_duty)


class RollCallsPolicy(Part):
    """The roll calls that are opened by the calendar."""

    scheduled: tuple[ScheduledRollCall, ...] = ()

    @model_validator(mode="after")
    def _is_sound(self) -> "RollCallsPolicy":
        names = [one.name for one in self.scheduled]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two roll calls are named {name}; rename one")
        return self


class SilencePolicy(Part):
    """How much silence weighs, and from which weight it is an alert."""

    missed: Points
    most_missed: Annotated[int, Field(ge=1, le=5, strict=True)]
    near: dict[Level, Points]
    near_m: float = Field(ge=0, le=50_000, strict=True)
    levels: dict[Level, Annotated[int, Field(ge=1, le=1000, strict=True)]]
    together_at_least: int = Field(ge=2, le=1000, strict=True)
    alert_never_heard: bool = Field(strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "SilencePolicy":
        if Level.ROUTINE in self.levels:
            raise ValueError("levels names routine, which is no alert; remove it")
        for what, said in (("levels", self.levels), ("near", self.near)):
            weights = [said[level] for level in sorted(said, key=lambda level: level.rank)]
            if weights != sorted(weights):
                raise ValueError(f"{what} must not fall: a graver level needs at least the weight of a milder one")
        return self

    def level(self, weight: int) -> Level | None:
        """The level of an alert for silence of this weight; None: no alert."""
        reached = [level for level, least in self.levels.items() if weight >= least]
        return max(reached, key=lambda level: level.rank, default=None)
