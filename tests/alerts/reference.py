"""An alert's life as the contract tells it, small enough to be seen to be right: what the real one is held against."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

GATHER = timedelta(minutes=10)
RISING = ("routine", "blue", "yellow", "orange", "red")


@dataclass(frozen=True)
class Plan:
    """What the policy says of one level; times in minutes."""

    due: int
    after: Sequence[int]
    to: Sequence[Sequence[str]]
    repeat: int
    repeats: int
    town_opens: int

    @property
    def city_step(self) -> int:
        return next(number for number, to in enumerate(self.to, 1) if any(one.startswith("city") for one in to))


def plans(policy: str) -> dict[str, Plan]:
    """The levels that have steps of their own, from the text of a policy file."""
    found = tomllib.loads(policy)
    return {
        level: Plan(
            due=found["alerts"]["due_minutes"][level],
            after=[step["after_minutes"] for step in steps["steps"]],
            to=[step["to"] for step in steps["steps"]],
            repeat=steps.get("repeat_minutes", 0),
            repeats=steps.get("repeats", 0),
            town_opens=found["custody"]["due_minutes"]["town"][level],
        )
        for level, steps in found["escalation"]["levels"].items()
    }


@dataclass
class Held:
    """A report before its town: opened, acknowledged or bypassed."""

    bypass_at: datetime | None
    state: str = "received"
    bypassed_at: datetime | None = None


@dataclass(frozen=True)
class Office:
    """A sign-in: town or city."""

    node: str
    role: str
    tier: str

    @property
    def above(self) -> int:
        return ("village", "town", "city").index(self.tier)


@dataclass
class Life:
    """One alert: its columns, the events it has told, and its reports at the town."""

    plans: dict[str, Plan]
    level: str
    now: datetime
    state: str = "raised"
    owner: Office | None = None
    until: datetime | None = None
    due_at: datetime | None = None
    step: int = 1
    since: datetime = field(init=False)
    next_at: datetime | None = None
    reports: int = 1
    version: int = 0
    why: str | None = None
    office: str = ""
    """Whose report raised it."""
    urgent: set[str] = field(init=False)
    covered: set[str] = field(default_factory=set)
    rearmed_at: datetime | None = None
    gathered_until: datetime | None = None
    sent_up_at: datetime | None = None
    """When an office sent it up, if that was the last that one did."""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)

    def _label(self, owner: Office) -> str | None:
        # It is the city that reads: it is told who acted for its towns and for itself.
        return f"{owner.role}-{owner.node}" if owner.tier != "village" else None

    def __post_init__(self) -> None:
        self.urgent = {self.office}
        self._raise()
        self._tell("alert.raised")

    @property
    def plan(self) -> Plan:
        return self.plans[self.level]

    def report(self, level: str, reports: int, office: str) -> None:
        """One more report of the incident."""
        self.reports = reports
        if level in self.plans:
            self.urgent.add(office)
        if RISING.index(level) <= RISING.index(self.level):
            if self.state != "acknowledged" or self.urgent <= self.covered:
                self._tell("alert.updated")
            elif self.rearmed_at is None or self.rearmed_at + GATHER <= self.now:
                self._raise_by_another_office()
            else:
                self.gathered_until = self.rearmed_at + GATHER
                self._tell("alert.updated")
            return
        self.level, self.why = level, None
        if self.state == "acknowledged":
            self._raise()
            self.why = "alert.rearmed"
            self._tell("alert.rearmed")
            return
        due_at = self.due_at
        self._raise()
        # A worse report never gives more time.
        self.due_at = min(filter(None, (due_at, self.due_at)))
        self._tell("alert.upgraded")

    def hold(self, report: str, level: str, *, filed_by: Office, urgent: bool) -> None:
        """The report comes before the town, which has seen what it filed and has in hand what it owns."""
        is_at_it = filed_by.tier == "town" or (self.owner is not None and self.owner.tier == "town")
        can_be_bypassed = urgent and not is_at_it
        self.held[report] = Held(
            self.now + timedelta(minutes=self.plans[level].town_opens) if can_be_bypassed else None
        )

    def open(self, reports: Sequence[str]) -> None:
        """The town's desk reads these reports."""
        for one in reports:
            if self.held[one].state == "received":
                self.held[one].state, self.held[one].bypass_at = "opened", None

    def acknowledge(self, who: Office, until: datetime | None) -> str:
        """What becomes of it: applied, the code of a notice, or owned."""
        if self.state == "closed":
            return "alert_closed"
        if self.owner and self.owner.node != who.node:
            return "owned"
        if self.owner and self.until == until and self.gathered_until is None:
            return "alert_yours"
        self.sent_up_at = None
        if who.tier == "town":
            for one in self.held.values():
                one.state, one.bypass_at = "acknowledged", None
        self.state, self.owner, self.until = "acknowledged", self.owner or who, until
        self.due_at = self.next_at = self.gathered_until = None
        self.covered = set(self.urgent)
        return self._tell("alert.acknowledged")

    def release(self, who: Office) -> str:
        if not self._may(who):
            return "owned"
        if self.state != "acknowledged":
            return "alert_closed" if self.state == "closed" else "alert_unowned"
        self.sent_up_at = None
        self._raise()
        return self._tell("alert.released")

    def escalate(self, who: Office) -> str:
        if not self._may(who):
            return "owned"
        if self.state == "closed":
            return "alert_closed"
        if self.sent_up_at is not None and self.now - self.sent_up_at < timedelta(minutes=1):
            return "alert_just_escalated"
        self.sent_up_at = self.now
        step = self.step + 1
        if self.owner:
            self._raise()
        # Sent up early, or from where its owner had left it: the next one follows as if time had brought this one.
        early = self.plan.after[min(step, len(self.plan.after)) - 1]
        self.since = min(self.since, self.now - timedelta(minutes=early))
        self._stand(step)
        return self._tell("alert.escalated")

    def close(self, who: Office) -> str:
        if not self._may(who):
            return "owned"
        if self.state == "closed":
            return "alert_closed"
        for one in self.held.values():
            one.bypass_at = None
        self.state, self.until, self.due_at, self.next_at = "closed", None, None, None
        self.gathered_until = None
        return self._tell("alert.closed")

    def pass_time(self, now: datetime) -> None:
        """All that is due by now happens, in order."""
        self.now = now
        late = [one for one in self.held.values() if one.bypass_at is not None and one.bypass_at <= now]
        for one in late:
            one.bypass_at, one.bypassed_at = None, now
        if late:
            # The town is told of once, however many reports it left.
            if self.state == "raised" and self.step < self.plan.city_step:
                self._stand(self.plan.city_step)
            self.why = "escalation.bypass"
            self._tell("alert.bypassed")
        if self.gathered_until is not None and self.gathered_until <= now:
            self._raise_by_another_office()
        if self.until is not None and self.until <= now:
            self._raise()
            self.why = "alert.until"
            self._tell("alert.rearmed")
        while self.next_at is not None and self.next_at <= now:
            self._stand(self.step + 1)
            self._tell("alert.escalated")

    def view(self) -> dict[str, Any]:
        """The alert as an event and the list must show it."""
        return {
            "version": self.version,
            "level": self.level,
            "state": self.state,
            "owner": (self.owner.node, self._label(self.owner)) if self.owner else None,
            "until": self.until,
            "due_at": self.due_at,
            "step": self.step,
            "next_at": self.next_at,
            "to": list(self.plan.to[min(self.step, len(self.plan.to)) - 1]),
            "reports": self.reports,
            "why": self.why,
        }

    def _may(self, who: Office) -> bool:
        owner = self.owner if self.state == "acknowledged" else None
        return owner is None or owner.node == who.node or who.above > owner.above

    def _raise_by_another_office(self) -> None:
        """The owner is asked first: where that is the city, its step is the first."""
        owner = self.owner
        self._raise()
        if owner is not None and owner.tier == "city":
            self.since = self.now - timedelta(minutes=self.plan.after[self.plan.city_step - 1])
            self._stand(self.plan.city_step)
        self.rearmed_at, self.why = self.now, "alert.new_office"
        self._tell("alert.rearmed")

    def _raise(self) -> None:
        self.state, self.owner, self.until, self.since = "raised", None, None, self.now
        self.gathered_until = None
        self.due_at = self.now + timedelta(minutes=self.plan.due)
        self._stand(1)

    def _stand(self, step: int) -> None:
        self.step = step
        steps = len(self.plan.after)
        if step < steps:
            self.next_at = self.since + timedelta(minutes=self.plan.after[step])
        elif step < steps + self.plan.repeats:
            self.next_at = self.now + timedelta(minutes=self.plan.repeat)
        else:
            # It is announced for as long as nobody has it.
            self.next_at = self.now + timedelta(minutes=6 * (self.plan.repeat or self.plan.due))

    def _tell(self, kind: str) -> str:
        self.version += 1
        self.events.append((kind, self.view()))
        return "applied"
