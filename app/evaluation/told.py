"""What a simulation knows of one city's history: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from app.detection.cluster import Sighting
from app.detection.lookout import Seen
from app.evaluation.courses import Act
from app.hazards.cap import Level


@dataclass(frozen=True, slots=True)
class Told:
    """A stored report without its words."""

    seen: Seen
    received_at: datetime
    urgency: str
    severity: str
    certainty: str
    figures: Mapping[str, int | float]
    level: Level
    alerted: bool


@dataclass(frozen=True, slots=True)
class StoredAlarm:
    """An alarm that was raised; `level` is what it gave its incident's alert."""

    key: str
    rule: str
    of: str
    anchor: Sighting
    reports: frozenset[UUID]
    incident_id: UUID
    raised_at: datetime
    level: Level | None
    sentence: str
    node: str


@dataclass(frozen=True, slots=True)
class Before:
    """What one city's history holds beside its reports."""

    acts: Mapping[UUID, Sequence[Act]]
    """By incident, in order."""
    active: Mapping[UUID, Level]
    """The incidents that had an alert when the simulation's time began, with its level."""
    alarms: Sequence[StoredAlarm]
    answered: Mapping[str, set[date]]
    began: date | None
