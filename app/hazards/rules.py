"""What raises a level, as the policy file says it."""

import string
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.hazards.cap import Level
from app.hazards.catalogue import FAMILIES, HAZARDS
from app.hazards.figures import FIGURES, FigureName

# What the matrix calls its own reason: no rule may pass for it.
TRIAD = "triad"

_ALWAYS = frozenset({"hazard", "neighbours"})
_OF_FIGURES = frozenset({"value", "limit"})

Words = Annotated[str, Field(min_length=1, max_length=200)]


class Part(BaseModel):
    """A section of the policy file: every key known, nothing changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Part):
    """What raises a level: all of its conditions must hold."""

    name: str = Field(max_length=40)
    hazards: tuple[str, ...] = ()
    figures: tuple[FigureName, ...] = ()
    at_least: float | None = Field(None, gt=0, allow_inf_nan=False, strict=True)
    neighbours_at_least: int | None = Field(None, ge=1, strict=True)
    kind: Literal["initial", "followup", "final"] | None = None
    level: Level | None = None
    raise_by: int | None = Field(None, ge=1, le=4, strict=True)
    up_to: Level = Level.RED
    zh: Words
    en: Words

    @model_validator(mode="after")
    def _is_sound(self) -> "Rule":
        if not set(self.name) <= set(string.ascii_lowercase + "._") or not self.name.strip("._"):
            raise ValueError("its name may have small letters, _ and . only; rename it")
        if self.name == TRIAD:
            raise ValueError(f"'{TRIAD}' is what the matrix is called in reasons; rename the rule")
        self._has_sound_conditions()
        self._can_raise()
        for words in (self.zh, self.en):
            self._has_sound_words(words)
        return self

    def _has_sound_conditions(self) -> None:
        for name in self.hazards:
            if name not in HAZARDS and name not in FAMILIES:
                raise ValueError(f"'{name}' is neither a hazard nor a family; see catalogue.toml")
        if bool(self.figures) != (self.at_least is not None):
            raise ValueError("figures and at_least go together; give both or neither")
        if len({FIGURES[name].unit for name in self.figures}) > 1 or len(set(self.figures)) < len(self.figures):
            raise ValueError("its figures cannot be added up; name different figures of one unit")
        if not (self.hazards or self.figures or self.neighbours_at_least or self.kind):
            raise ValueError("it has no condition; name hazards, figures, neighbours_at_least or kind")

    def _can_raise(self) -> None:
        if (self.level is None) == (self.raise_by is None):
            raise ValueError("it needs either level or raise_by; give one of them")
        if self.level is Level.ROUTINE:
            raise ValueError("it can never raise: every level is at least routine; name a higher level")
        if self.up_to is Level.ROUTINE:
            raise ValueError("it can never raise: up_to is routine; name a higher level")
        if self.level is not None and "up_to" in self.model_fields_set:
            raise ValueError("up_to limits raise_by and says nothing beside level; remove it")

    def _has_sound_words(self, words: str) -> None:
        try:
            named = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(words) if name is not None]
        except ValueError:
            raise ValueError("its words have a lone brace; write {{ or }} for a brace") from None
        known = _ALWAYS | _OF_FIGURES
        for name, spec, conversion in named:
            if name not in known:
                raise ValueError(f"its words name {{{name}}}; known are {', '.join(sorted(known))}")
            # A format that does not suit the value would fail only when a report comes in.
            if spec or conversion:
                raise ValueError(f"its words format {{{name}}}; write it without ':' or '!'")
            if name in _OF_FIGURES and not self.figures:
                raise ValueError(f"its words name {{{name}}}, which only a rule with figures has; remove it")

    def concerns(self, hazard: str, family: str) -> bool:
        """Whether the rule looks at this hazard at all."""
        return not self.hazards or hazard in self.hazards or family in self.hazards
