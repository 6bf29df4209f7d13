"""What a report may say of its place and its time without a doubt: a section of the policy."""

from datetime import timedelta
from typing import Annotated, Literal, cast

from pydantic import Field, model_validator

from app.hazards.rules import Part

Metres = Annotated[float, Field(gt=0, le=1_000_000)]
Tier = Literal["village", "town", "city"]
TIERS: tuple[Tier, ...] = ("village", "town", "city")


class PlausibilityPolicy(Part):
    """Beyond these a place or a time is kept and shown, and decides nothing."""

    distance_m: dict[Tier, Metres]
    accuracy_m: dict[Tier, Metres]
    ahead_minutes: float = Field(ge=0, le=24 * 60)
    behind_days: float = Field(ge=7, le=36_500)

    @model_validator(mode="after")
    def _is_sound(self) -> "PlausibilityPolicy":
        for name, found in (("distance_m", self.distance_m), ("accuracy_m", self.accuracy_m)):
            missing = [tier for tier in TIERS if tier not in found]
            if missing:
                raise ValueError(f"{name} has no {missing[0]}; add it")
        return self

    def furthest_m(self, tier: str) -> float:
        """How far from its office a report of this tier may be; of a city, from the hull of its offices."""
        return self.distance_m[cast(Tier, tier)]

    def most_inaccurate_m(self, tier: str) -> float:
        """How uncertain the place of a report of this tier may be."""
        return self.accuracy_m[cast(Tier, tier)]

    @property
    def ahead(self) -> timedelta:
        """How far ahead of the server a time may lie."""
        return timedelta(minutes=self.ahead_minutes)

    @property
    def behind(self) -> timedelta:
        """How far back a time may lie."""
        return timedelta(days=self.behind_days)
