"""What is an early sign, as the policy file says it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.hazards.cap import Level
from app.hazards.catalogue import HAZARDS
from app.hazards.rules import Part

Count = Annotated[int, Field(ge=2, le=1000, strict=True)]
# What lies further away is not looked at: app/incidents/matching.py, MAX_RADIUS_M.
Radius = Annotated[float, Field(ge=0, le=2000, strict=True)]


class ClusterRule(Part):
    """So many reports of one family, from so many nodes, so near each other."""

    reports_at_least: Count
    nodes_at_least: int = Field(ge=1, le=1000, strict=True)
    radius_m: Radius
    hours: float = Field(gt=0, le=24 * 14, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "ClusterRule":
        if self.nodes_at_least > self.reports_at_least:
            raise ValueError("nodes_at_least is above reports_at_least, which then decides nothing; lower it")
        return self


class DiseaseRule(ClusterRule):
    """The same for reports of one disease hazard."""

    hazards: tuple[str, ...]

    @model_validator(mode="after")
    def _names_hazards(self) -> "DiseaseRule":
        for name in self.hazards:
            if name not in HAZARDS:
                raise ValueError(f"'{name}' is no hazard; see catalogue.toml")
        return self


class DetectionPolicy(Part):
    """When a count or a cluster of reports is an alarm."""

    level: Literal["none", "blue", "yellow", "orange", "red"]
    kinds: tuple[Literal["initial", "followup", "final"], ...] = Field(min_length=1)
    ears: tuple[Literal["c1", "c2", "c3"], ...]
    # Below three nothing is unusual, whatever the baseline (CDC's EARS).
    count_at_least: int = Field(ge=3, le=1000, strict=True)
    baseline_days_at_least: int = Field(ge=2, le=7, strict=True)
    cluster: ClusterRule
    disease: DiseaseRule

    @model_validator(mode="after")
    def _is_sound(self) -> "DetectionPolicy":
        for what, names in (("kinds", self.kinds), ("ears", self.ears)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} names something twice; remove one")
        return self

    @property
    def raises(self) -> Level | None:
        """The level an alarm gives its incident's alert; None: it raises none."""
        return None if self.level == "none" else Level(self.level)
