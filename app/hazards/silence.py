"""Whom a roll call asks, and what silence means, as the policy file says it."""

from datetime import time
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from app.hazards.cap import Level
from app.hazards.rules import Part

Tier = Literal["village", "town", "city"]
Points = Annotated[int, Field(ge=0, le=100, strict=True)]


def _clock(value: object) -> object:
    if isinstance(value, str):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
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
    only_in_duty: bool = Field(False, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "ScheduledRollCall":
        if self.due <= self.opens:
            raise ValueError("due lies before opens; both are times of one day")
        if len(set(self.tiers)) < len(self.tiers):
            raise ValueError("tiers names one twice; remove one")
        return self


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

    @model_validator(mode="after")
    def _is_sound(self) -> "SilencePolicy":
        if Level.ROUTINE in self.levels:
            raise ValueError("levels names routine, which is no alert; remove it")
        graver = sorted(self.levels, key=lambda level: level.rank, reverse=True)
        weights = [self.levels[level] for level in graver]
        if weights != sorted(weights, reverse=True):
            raise ValueError("levels must not fall: a graver level needs at least the weight of a milder one")
        return self

    def level(self, weight: int) -> Level | None:
        """The level of an alert for silence of this weight; None: no alert."""
        reached = [level for level, least in self.levels.items() if weight >= least]
        return max(reached, key=lambda level: level.rank, default=None)
