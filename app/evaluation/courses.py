"""The course of one incident's alerts, from levels and from what people did: pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from app.hazards.cap import Level

Due = Callable[[Level, datetime], timedelta]
Kind = Literal["acknowledged", "released", "closed", "raised"]


@dataclass(frozen=True, slots=True)
class Act:
    """What happened to an incident's alert whatever the policy: an office acted, or silence raised it (`raised`)."""

    at: datetime
    kind: Kind
    level: Level | None = None


@dataclass(slots=True)
class Raised:
    """One alert of a course. `by`: reports, detection, or before (it was there when the course began)."""

    at: datetime
    level: Level
    by: str
    again: int = 0
    late: int = 0
    """How often it was due before anybody acknowledged it."""


@dataclass(slots=True)
class Course:
    """An incident's alerts, one after the other; a level is never lowered, and a worse report raises again."""

    due: Due
    alerts: list[Raised] = field(default_factory=list)
    _active: Raised | None = None
    _owned: bool = False
    _due_at: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether there is an alert now."""
        return self._active is not None

    def said(self, at: datetime, level: Level, *, raises: bool, by: str = "reports") -> None:
        """A report, or an alarm, of this level; `raises`: it needs an alert where there is none."""
        if self._active is None:
            if raises:
                self._active = Raised(at, level, by)
                self.alerts.append(self._active)
                self._due_at, self._owned = at + self.due(level, at), False
            return
        if level.rank <= self._active.level.rank:
            return
        self._active.level = level
        due_at = at + self.due(level, at)
        if self._owned:
            self._active.again += 1
            self._owned = False
            self._due_at = due_at
        else:
            self._check(at)
            self._due_at = min(self._due_at, due_at) if self._due_at else due_at

    def act(self, act: Act) -> None:
        """An office's act, or silence; without an alert only the last changes anything."""
        if act.kind == "raised":
            assert act.level is not None
            self.said(act.at, act.level, raises=True, by="silence")
        if self._active is None or act.kind == "raised":
            return
        self._check(act.at)
        match act.kind:
            case "acknowledged":
                self._owned, self._due_at = True, None
            case "released":
                self._owned = False
                self._due_at = act.at + self.due(self._active.level, act.at)
            case "closed":
                self._active, self._owned, self._due_at = None, False, None

    def end(self, at: datetime) -> None:
        """Nothing is known beyond this moment."""
        self._check(at)

    def _check(self, at: datetime) -> None:
        if self._active is not None and self._due_at is not None and at > self._due_at:
            self._active.late += 1
            self._due_at = None


class Courses:
    """The courses of many incidents, begun when the first alert is raised."""

    def __init__(self, due: Due) -> None:
        self._due = due
        self._by_incident: dict[UUID, Course] = {}

    def of(self, incident: UUID) -> Course:
        """The incident's course; it begins here when it has not begun."""
        return self._by_incident.setdefault(incident, Course(self._due))

    def said(self, incident: UUID, at: datetime, level: Level, *, raises: bool, by: str = "reports") -> None:
        """A report, or an alarm, of an incident; most never need a course."""
        if raises or incident in self._by_incident:
            self.of(incident).said(at, level, raises=raises, by=by)

    def act(self, incident: UUID, act: Act) -> None:
        """An office's act at an incident's alert, or silence."""
        if act.kind == "raised" or incident in self._by_incident:
            self.of(incident).act(act)

    def ended(self, at: datetime) -> dict[UUID, list[Raised]]:
        """By incident: the alerts that reports and detection raised."""
        for course in self._by_incident.values():
            course.end(at)
        found = {
            incident: [one for one in course.alerts if one.by in ("reports", "detection")]
            for incident, course in self._by_incident.items()
        }
        return {incident: alerts for incident, alerts in found.items() if alerts}
