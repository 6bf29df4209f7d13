import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from app.hazards.cap import CERTAINTIES, RISING, SEVERITIES, URGENCIES, Certainty, Level, Severity, Urgency
from app.hazards.catalogue import HAZARDS
from app.hazards.detection import DetectionPolicy
from app.hazards.duty import DutyPeriod
from app.hazards.escalation import EscalationPolicy
from app.hazards.plausibility import PlausibilityPolicy
from app.hazards.quarantine import QuarantinePolicy
from app.hazards.rules import Part, Rule
from app.hazards.silence import RollCallsPolicy, SilencePolicy

DEFAULT = Path(__file__).with_name("policy.toml")

# A policy written before these existed says nothing of them: then the packaged ones hold.
LATER_SECTIONS = ("escalation", "rollcalls", "silence", "detection", "quarantine", "plausibility")

Minutes = Annotated[int, Field(ge=1, le=60 * 24 * 30, strict=True)]
Hours = Annotated[float, Field(gt=0, le=24 * 30, strict=True)]


class PolicyError(ValueError):
    """A policy that cannot be used: `problems` says what is wrong, a sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class TriagePolicy(Part):
    """How a level is decided."""

    neighbour_window_hours: float = Field(gt=0, le=48, strict=True)
    matrix: dict[Severity, tuple[Level, ...]]
    certainty: dict[Certainty, Annotated[int, Field(ge=0, le=4, strict=True)]]
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _is_sound(self) -> "TriagePolicy":
        self._is_total()
        for number, urgency in enumerate(URGENCIES):
            column = {severity: self.matrix[severity][number] for severity in SEVERITIES}
            _need_rising(urgency, column)
        for severity in SEVERITIES:
            _need_rising(severity, dict(zip(URGENCIES, self.matrix[severity], strict=True)))
        for less_sure, surer in pairwise(CERTAINTIES):
            if self.certainty[less_sure] < self.certainty[surer]:
                raise ValueError(f"certainty must not fall: {surer} takes more levels away than {less_sure}; lower it")
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name}; rename one")
        return self

    def _is_total(self) -> None:
        for severity in SEVERITIES:
            if severity not in self.matrix:
                raise ValueError(f"the matrix has no row {severity}; add it")
            if len(self.matrix[severity]) != len(URGENCIES):
                raise ValueError(
                    f"the matrix row {severity} has {len(self.matrix[severity])} levels; "
                    f"it needs {len(URGENCIES)}: {', '.join(URGENCIES)}"
                )
        for certainty in CERTAINTIES:
            if certainty not in self.certainty:
                raise ValueError(f"certainty has no {certainty}; add it")

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


class AlertsPolicy(Part):
    """Which levels raise an alert, and how long it may stay unacknowledged."""

    levels: tuple[Level, ...]
    due_minutes: dict[Level, Minutes]
    gather_minutes: float = Field(10, ge=0, le=240)

    @model_validator(mode="after")
    def _is_sound(self) -> "AlertsPolicy":
        missing = [level for level in (Level.RED, Level.ORANGE) if level not in self.levels]
        if missing:
            raise ValueError(f"levels may be widened, never narrowed: {missing[0]} always raises an alert; add it")
        _need_every_level(self.due_minutes)
        return self

    def due(self, level: Level) -> timedelta:
        """Until an alert of this level must have been acknowledged."""
        return timedelta(minutes=self.due_minutes[level])

    @property
    def gather(self) -> timedelta:
        """How long after an office has raised an acknowledged alert again the next ones are gathered."""
        return timedelta(minutes=self.gather_minutes)


# What a policy file from before says nothing of: how long an office has to take on what it has opened.
ACKNOWLEDGE_MINUTES = {Level.RED: 15, Level.ORANGE: 30, Level.YELLOW: 120, Level.BLUE: 480, Level.ROUTINE: 1440}


class CustodyPolicy(Part):
    """How long an office has to open a report, and then to take it on."""

    due_minutes: dict[Literal["village", "town", "city"], dict[Level, Minutes]]
    acknowledge_minutes: dict[Level, Minutes] = ACKNOWLEDGE_MINUTES

    @model_validator(mode="after")
    def _is_sound(self) -> "CustodyPolicy":
        for tier in ("village", "town", "city"):
            if tier not in self.due_minutes:
                raise ValueError(f"due_minutes has no {tier}; add it")
        for minutes in (*self.due_minutes.values(), self.acknowledge_minutes):
            _need_every_level(minutes)
        return self

    def acknowledge(self, level: Level) -> timedelta:
        """How long an office has to take on what it has opened."""
        return timedelta(minutes=self.acknowledge_minutes[level])

    def due(self, tier: str, level: Level) -> timedelta:
        """How long an office of this tier has."""
        return timedelta(minutes=self.due_minutes[tier][level])  # type: ignore[index]  # tiers are a closed set


class IncidentsPolicy(Part):
    """When a report joins an open incident."""

    match_window_hours: Hours
    # What lies further away is not looked at: app/incidents/matching.py, MAX_RADIUS_M.
    match_radius_m: float = Field(ge=0, le=2000, strict=True)
    match_radius_hours: Hours
    match_similarity: float = Field(0.5, strict=True)

    @model_validator(mode="after")
    def _is_sound(self) -> "IncidentsPolicy":
        if not self.match_similarity > 0:
            raise ValueError("match_similarity must be above 0: at 0 any two texts were alike; 0.5 is usual")
        if not self.match_similarity <= 1:
            raise ValueError("match_similarity is at most 1: at 1 the words must be the same; 0.5 is usual")
        return self


class Policy(Part):
    """What a deployment decides by."""

    triage: TriagePolicy
    alerts: AlertsPolicy
    custody: CustodyPolicy
    incidents: IncidentsPolicy
    escalation: EscalationPolicy
    rollcalls: RollCallsPolicy
    silence: SilencePolicy
    detection: DetectionPolicy
    quarantine: QuarantinePolicy
    plausibility: PlausibilityPolicy
    duty: tuple[DutyPeriod, ...] = ()

    @model_validator(mode="after")
    def _is_sound(self) -> "Policy":
        names = [period.name for period in self.duty]
        if len(set(names)) < len(names):
            raise ValueError("two duty periods have one name; rename one")
        return self

    def duty_on(self, day: date) -> tuple[DutyPeriod, ...]:
        """The duty periods that hold on a day."""
        return tuple(period for period in self.duty if period.holds(day))

    def in_duty(self, day: date) -> bool:
        """Whether any duty period holds on a day."""
        return bool(self.duty_on(day))

    def tempo(self, day: date) -> float:
        """What every time allowed is multiplied by on a day: 1, or less in a duty period."""
        return min((period.factor for period in self.duty_on(day)), default=1.0)

    def snapshot(self, tempo: float) -> dict[str, Any]:
        """What an alert keeps of the policy it is raised under: by level, seconds to acknowledge and the steps."""
        return {
            str(level): {
                "due_s": self.alerts.due(level).total_seconds() * tempo,
                **self.escalation.snapshot(level, tempo),
            }
            for level in RISING[1:]
        }


def _need_every_level(minutes: Mapping[Level, int]) -> None:
    for level in RISING:
        if level not in minutes:
            raise ValueError(f"due_minutes has no {level}; add it")


def _need_rising(line: str, levels: Mapping[Any, Level]) -> None:
    for (less, low), (more, high) in pairwise(levels.items()):
        if low.rank > high.rank:
            raise ValueError(f"the matrix must not fall: {line}, {more} is below {less}; raise it to {low} or above")


def load_policy(path: Path | None) -> Policy:
    """The policy in a TOML file, the packaged one for None; PolicyError says what is wrong with it.

    Sections of LATER_SECTIONS that the file leaves out are the packaged ones.
    """
    try:
        # Some editors put a byte-order mark first, which is not TOML.
        text = (path or DEFAULT).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PolicyError([f"{path} cannot be read: {reason}."]) from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([f"This is not TOML: {error}."]) from error
    if path is not None:
        packaged = tomllib.loads(DEFAULT.read_text("utf-8"))
        found = {section: packaged[section] for section in LATER_SECTIONS} | found
    try:
        return Policy.model_validate(found)
    except ValidationError as error:
        raise PolicyError([_sentence(one, found) for one in error.errors(include_url=False)]) from error


def _sentence(error: Any, found: dict[str, Any]) -> str:
    """One of pydantic's errors as a sentence that names the place in the file."""
    place = _place(error["loc"], found)
    match error["type"]:
        case "missing":
            return f"{place} is missing; add it."
        case "extra_forbidden":
            return f"{place} is not a known key; remove it or mend its spelling."
        case "enum" | "literal_error":
            return f"{place}: '{error['input']}' is not known; use {error['ctx']['expected']}."
        case "tuple_type":
            return f"{place} must be a list."
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{place} must be a section with keys."
    return f"{place}: {str(error['msg']).removeprefix('Value error, ').replace('Input should', 'it should')}."


def _place(loc: tuple[int | str, ...], found: dict[str, Any]) -> str:
    """Where in the file: a rule by its name, everything else by its dotted key."""
    rule = ""
    if loc[:2] == ("triage", "rules") and len(loc) > 2:
        try:
            rule = f"rule '{found['triage']['rules'][loc[2]]['name']}'"
        except (KeyError, TypeError):
            rule = f"rule number {int(loc[2]) + 1}"
        loc = loc[3:]
    place = ""
    for part in loc:
        if part != "[key]":
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return ", ".join(filter(None, (rule, place)))
