"""Whom an alert is put before, and when, while nobody takes it on: as the policy file says it."""

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from app.hazards.cap import RISING, Level
from app.hazards.rules import Part

Target = Literal["town.desk", "town.supervisor", "city.desk", "city.supervisor", "channels"]
Minutes = Annotated[int, Field(ge=0, le=60 * 24 * 7, strict=True)]


class EscalationStep(Part):
    """One step: so long after the alert was raised, to these."""

    after_minutes: Minutes
    to: tuple[Target, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sound(self) -> "EscalationStep":
        if len(set(self.to)) < len(self.to):
            raise ValueError("to names somebody twice; remove one")
        return self


class EscalationLevel(Part):
    """The steps of one level; the last may be repeated until somebody takes the alert on."""

    steps: tuple[EscalationStep, ...] = Field(min_length=1, max_length=20)
    repeat_minutes: int | None = Field(None, ge=1, le=60 * 24 * 7, strict=True)
    repeats: int = Field(0, ge=0, le=500, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "EscalationLevel":
        if self.steps[0].after_minutes != 0:
            raise ValueError("the first step is taken at once; set its after_minutes to 0")
        for one, following in pairwise(self.steps):
            if following.after_minutes <= one.after_minutes:
                raise ValueError("each step must come later than the one before; raise its after_minutes")
        if (self.repeat_minutes is None) != (self.repeats == 0):
            raise ValueError("repeat_minutes and repeats go together; give both or neither")
        return self


class EscalationPolicy(Part):
    """The steps by level, which tiers can be bypassed, and how long an acknowledgement with a clock may last."""

    levels: dict[Level, EscalationLevel]
    bypass: tuple[Literal["town"], ...] = ("town",)
    longest_until_hours: int = Field(24, ge=1, le=24 * 30, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "EscalationPolicy":
        for level in (Level.RED, Level.ORANGE):
            if level not in self.levels:
                raise ValueError(f"levels has no {level}, which always raises an alert; add it")
            targets = {target for step in self.levels[level].steps for target in step.to}
            if not any(target.startswith("city.") for target in targets):
                raise ValueError(f"{level} never reaches an office of the city; add city.desk to a step")
        return self

    def of(self, level: Level) -> EscalationLevel:
        """The steps of a level; where it has none of its own, those of the next graver that has."""
        return next(self.levels[one] for one in RISING[level.rank :] if one in self.levels)

    def snapshot(self, level: Level, tempo: float) -> dict[str, Any]:
        """The steps of a level in seconds, as an alert keeps them."""
        found = self.of(level)

        def seconds(minutes: int) -> float:
            return timedelta(minutes=minutes).total_seconds() * tempo

        return {
            "steps": [{"after_s": seconds(step.after_minutes), "to": list(step.to)} for step in found.steps],
            "repeat_s": seconds(found.repeat_minutes) if found.repeat_minutes else None,
            "repeats": found.repeats,
        }
