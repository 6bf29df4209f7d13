import string
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.hazards.cap import CERTAINTIES, RISING, SEVERITIES, URGENCIES, Certainty, Level, Severity, Urgency
from app.hazards.catalogue import FAMILIES, HAZARDS
from app.hazards.figures import FIGURES

DEFAULT = Path(__file__).with_name("policy.toml")

PLACEHOLDERS = frozenset({"value", "limit", "neighbours", "hazard"})

Minutes = Annotated[int, Field(ge=1, le=60 * 24 * 30)]
Words = Annotated[str, Field(min_length=1, max_length=200)]
Row = Annotated[tuple[Level, ...], Field(min_length=5, max_length=5)]


class PolicyError(ValueError):
    """A policy that cannot be used: `problems` says what is wrong, a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Part):
    """What raises a level: all of its conditions must hold."""

    name: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)*$", max_length=40)
    hazards: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    at_least: float | None = Field(None, gt=0)
    neighbours_at_least: int | None = Field(None, ge=1)
    kind: Literal["initial", "followup", "final"] | None = None
    level: Level | None = None
    raise_by: int | None = Field(None, ge=1, le=4)
    up_to: Level = Level.RED
    zh: Words
    en: Words

    @model_validator(mode="after")
    def _is_sound(self) -> "Rule":
        for name in self.hazards:
            if name not in HAZARDS and name not in FAMILIES:
                raise ValueError(f"'{name}' is neither a hazard nor a family; see catalogue.toml")
        for name in self.figures:
            if name not in FIGURES:
                raise ValueError(f"'{name}' is not a figure; known are {', '.join(FIGURES)}")
        if bool(self.figures) != (self.at_least is not None):
            raise ValueError("figures and at_least go together")
        if not (self.hazards or self.figures or self.neighbours_at_least or self.kind):
            raise ValueError("it has no condition; name hazards, figures, neighbours_at_least or kind")
        if (self.level is None) == (self.raise_by is None):
            raise ValueError("it needs either level or raise_by")
        if self.level is Level.ROUTINE:
            raise ValueError("it can never raise: every level is at least routine")
        if self.raise_by is not None and self.up_to.rank <= Level.ROUTINE.rank:
            raise ValueError("it can never raise: up_to is routine")
        for words in (self.zh, self.en):
            try:
                names = {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}
            except ValueError:
                raise ValueError("its words have a lone brace") from None
            if names - PLACEHOLDERS:
                raise ValueError(
                    f"its words name {{{sorted(names - PLACEHOLDERS)[0]}}}; known are {', '.join(sorted(PLACEHOLDERS))}"
                )
        return self

    def concerns(self, hazard: str, family: str) -> bool:
        """Whether the rule looks at this hazard at all."""
        return not self.hazards or hazard in self.hazards or family in self.hazards


class TriagePolicy(_Part):
    """How a level is decided."""

    neighbour_window_hours: float = Field(gt=0, le=48)
    matrix: dict[Severity, Row]
    certainty: dict[Certainty, Annotated[int, Field(ge=0, le=4)]]
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _is_sound(self) -> "TriagePolicy":
        for severity in SEVERITIES:
            if severity not in self.matrix:
                raise ValueError(f"the matrix has no row {severity}")
        for certainty in CERTAINTIES:
            if certainty not in self.certainty:
                raise ValueError(f"certainty has no {certainty}")
        for number, urgency in enumerate(URGENCIES):
            for less, more in pairwise(SEVERITIES):
                if self.matrix[less][number].rank > self.matrix[more][number].rank:
                    raise ValueError(f"the matrix must not fall: {urgency}, {more} is below {less}")
        for severity in SEVERITIES:
            row = self.matrix[severity]
            for number in range(len(row) - 1):
                if row[number].rank > row[number + 1].rank:
                    raise ValueError(
                        f"the matrix must not fall: {severity}, {URGENCIES[number + 1]} is below {URGENCIES[number]}"
                    )
        for less_sure, surer in pairwise(CERTAINTIES):
            if self.certainty[less_sure] < self.certainty[surer]:
                raise ValueError(f"certainty must not fall: {surer} takes more levels away than {less_sure}")
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name}")
        return self

    @cached_property
    def cells(self) -> Mapping[tuple[Urgency, Severity, Certainty], Level]:
        """The level of every triad."""
        return {
            (urgency, severity, certainty): RISING[max(0, self.matrix[severity][number].rank - less)]
            for number, urgency in enumerate(URGENCIES)
            for severity in SEVERITIES
            for certainty, less in self.certainty.items()
        }

    @cached_property
    def by_hazard(self) -> Mapping[str, tuple[Rule, ...]]:
        """The rules that look at a hazard, in the order they are applied: floors first, then steps."""
        ordered = sorted(self.rules, key=lambda rule: rule.level is None)
        return {
            hazard.code: tuple(rule for rule in ordered if rule.concerns(hazard.code, hazard.family))
            for hazard in HAZARDS.values()
        }


class AlertsPolicy(_Part):
    """Which levels raise an alert, and how long it may stay unacknowledged."""

    levels: tuple[Level, ...]
    due_minutes: dict[Level, Minutes]

    @model_validator(mode="after")
    def _is_sound(self) -> "AlertsPolicy":
        missing = [level for level in (Level.RED, Level.ORANGE) if level not in self.levels]
        if missing:
            raise ValueError(f"levels may be widened, never narrowed: {missing[0]} always raises an alert")
        _need_every_level(self.due_minutes)
        return self

    def due(self, level: Level) -> timedelta:
        """Until an alert of this level must have been acknowledged."""
        return timedelta(minutes=self.due_minutes[level])


class CustodyPolicy(_Part):
    """How long an office has to open a report."""

    due_minutes: dict[Literal["village", "town", "city"], dict[Level, Minutes]]

    @model_validator(mode="after")
    def _is_sound(self) -> "CustodyPolicy":
        for tier in ("village", "town", "city"):
            if tier not in self.due_minutes:
                raise ValueError(f"due_minutes has no {tier}")
        for minutes in self.due_minutes.values():
            _need_every_level(minutes)
        return self

    def due(self, tier: str, level: Level) -> timedelta:
        """How long an office of this tier has."""
        return timedelta(minutes=self.due_minutes[tier][level])  # type: ignore[index]  # tiers are a closed set


class IncidentsPolicy(_Part):
    """When a report joins an open incident."""

    match_window_hours: float = Field(gt=0, le=24 * 30)
    # What lies further away is not looked at: app/incidents/matching.py, MAX_RADIUS_M.
    match_radius_m: float = Field(ge=0, le=2000)
    match_radius_hours: float = Field(gt=0, le=24 * 30)


class Policy(_Part):
    """What a deployment decides by."""

    triage: TriagePolicy
    alerts: AlertsPolicy
    custody: CustodyPolicy
    incidents: IncidentsPolicy


def _need_every_level(minutes: Mapping[Level, int]) -> None:
    for level in RISING:
        if level not in minutes:
            raise ValueError(f"due_minutes has no {level}")


def load_policy(path: Path | None) -> Policy:
    """The policy in a TOML file, the packaged one for None; PolicyError says what is wrong with it."""
    try:
        text = (path or DEFAULT).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PolicyError([f"{path} cannot be read: {reason}."]) from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([f"This is not TOML: {error}."]) from error
    try:
        return Policy.model_validate(found)
    except ValidationError as error:
        raise PolicyError([_sentence(one, found) for one in error.errors(include_url=False)]) from error


def _sentence(error: Any, found: dict[str, Any]) -> str:
    """One of pydantic's errors as a sentence that names the place in the file."""
    place = ""
    for part in error["loc"]:
        if part == "[key]":
            continue
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    if error["loc"][:2] == ("triage", "rules") and len(error["loc"]) > 2:
        try:
            name = found["triage"]["rules"][error["loc"][2]]["name"]
            place = f"rule '{name}'" + "".join(f", {part}" for part in error["loc"][3:])
        except (KeyError, TypeError, IndexError):
            place = f"rule number {error['loc'][2] + 1}" + "".join(f", {part}" for part in error["loc"][3:])
    words = {
        "missing": "is missing",
        "extra_forbidden": "is not a known key; remove it or mend its spelling",
        "enum": f"must be one of {error.get('ctx', {}).get('expected', '')}",
    }.get(error["type"])
    if words:
        return f"{place} {words}."
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}."
