import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Family = Literal["natural", "accident", "health", "safety", "service"]
# CAP 1.2 section 3.2.2.
Category = Literal[
    "Geo", "Met", "Safety", "Security", "Rescue", "Fire", "Health", "Env", "Transport", "Infra", "CBRNE", "Other"
]
Words = Annotated[str, Field(min_length=1, max_length=40)]


HazardName = Annotated[str, Field(pattern=r"^[a-z._]{1,40}$")]


@dataclass(frozen=True, slots=True)
class Hazard:
    """A report's type: an event, never a person."""

    code: str
    family: str
    zh: str
    en: str
    category: str
    oet: str | None


class FamilyNames(BaseModel):
    """What a statutory family is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zh: Words
    en: Words


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(pattern=r"^[a-z]+\.[a-z_]+$", max_length=40)
    family: Family
    zh: Words
    en: Words
    category: Category
    oet: str | None = Field(None, pattern=r"^\d{3}$")


class _Catalogue(BaseModel):
    model_config = ConfigDict(extra="forbid")

    families: dict[Family, FamilyNames]
    hazards: list[_Entry]

    @model_validator(mode="after")
    def _is_closed(self) -> "_Catalogue":
        codes = [entry.code for entry in self.hazards]
        if len(set(codes)) != len(codes):
            raise ValueError("a code stands twice")
        if {entry.family for entry in self.hazards} != set(self.families):
            raise ValueError("families and hazards do not match")
        return self


def load_catalogue(text: str) -> tuple[dict[str, FamilyNames], dict[str, Hazard]]:
    """Families and hazards by code, from TOML; ValueError (pydantic's) when anything is wrong with it."""
    found = _Catalogue.model_validate(tomllib.loads(text))
    hazards = {
        entry.code: Hazard(entry.code, entry.family, entry.zh, entry.en, entry.category, entry.oet)
        for entry in found.hazards
    }
    return {str(code): names for code, names in found.families.items()}, hazards


FAMILIES, HAZARDS = load_catalogue(Path(__file__).with_name("catalogue.toml").read_text("utf-8"))
