"""The course of one incident's alerts, from levels and from what people did: pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from app.alerts.new_offices import raised_again_at
from app.hazards.cap import Level

Due = Callable[[Level, datetime], timedelta]
Gather = Callable[[datetime], timedelta]
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
    """An incident's alerts, one after the other; a level is never lowered.

    A more severe report raises an acknowledged alert again, and so does an urgent one of an office that had none then.
    """

    due: Due
    gather: Gather
    alerts: list[Raised] = field(default_factory=list)
    _active: Raised | None = None
    _owned: bool = False
    _due_at: datetime | None = None
    _urgent: set[str] = field(default_factory=set)
    _covered: set[str] | None = None
    """None: who had reported it is not known, so no office is new."""
    _rearmed_at: datetime | None = None
    _gathered_until: datetime | None = None

    @property
    def active(self) -> bool:
        """Whether there is an alert now."""
        return self._active is not None

    def said(self, at: datetime, level: Level, *, raises: bool, by: str = "reports", office: str | None = None) -> None:
        """A report of an office, or an alarm, of this level; `raises`: it needs an alert where there is none."""
        if self._active is None:
            if raises:
                self._active = Raised(at, level, by)
                self.alerts.append(self._active)
                self._due_at, self._owned = at + self.due(level, at), False
                self._urgent = {office} if office else set()
                self._covered = None if by == "before" else set()
                self._rearmed_at = self._gathered_until = None
            return
        self._gathered(at)
        if raises and office:
            self._urgent.add(office)
        if level.rank <= self._active.level.rank:
            if self._owned and self._covered is not None and not self._urgent <= self._covered:
                again_at = raised_again_at(self._rearmed_at, self.gather(at), at)
                if again_at <= at:
                    self._again(at)
                else:
                    self._gathered_until = again_at
            return
        self._active.level = level
        due_at = at + self.due(level, at)
        if self._owned:
            self._active.again += 1
            self._owned = False
            self._due_at = due_at
            self._gathered_until = None
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
                self._owned, self._due_at, self._gathered_until = True, None, None
                # One acknowledgement covers all who had reported it.
                if self._covered is not None:
                    self._covered = set(self._urgent)
            case "released":
                self._owned, self._gathered_until = False, None
                self._due_at = act.at + self.due(self._active.level, act.at)
            case "closed":
                self._active, self._owned, self._due_at = None, False, None

    def end(self, at: datetime) -> None:
        """Nothing is known beyond this moment."""
        self._check(at)

    def _again(self, at: datetime) -> None:
        assert self._active is not None
        self._active.again += 1
        self._owned, self._gathered_until, self._rearmed_at = False, None, at
        self._due_at = at + self.due(self._active.level, at)

    def _gathered(self, at: datetime) -> None:
        """The window of the offices that were gathered has ended by then."""
        if self._active is not None and self._gathered_until is not None and self._gathered_until <= at:
            self._again(self._gathered_until)

    def _check(self, at: datetime) -> None:
        self._gathered(at)
        if self._active is not None and self._due_at is not None and at > self._due_at:
            self._active.late += 1
            self._due_at = None


class Courses:
    """The courses of many incidents, begun when the first alert is raised."""

    def __init__(self, due: Due, gather: Gather) -> None:
        self._due, self._gather = due, gather
        self._by_incident: dict[UUID, Course] = {}

    def of(self, incident: UUID) -> Course:
        """The incident's course; it begins here when it has not begun."""
        return self._by_incident.setdefault(incident, Course(self._due, self._gather))

    def said(
        self,
        incident: UUID,
        at: datetime,
        level: Level,
        *,
        raises: bool,
        by: str = "reports",
        office: str | None = None,
    ) -> None:
        """A report, or an alarm, of an incident; most never need a course."""
        if raises or incident in self._by_incident:
            self.of(incident).said(at, level, raises=raises, by=by, office=office)

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
