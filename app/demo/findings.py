"""What the exercise is to show: a town that was bypassed, a village that was silent and was heard again."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

BYPASSED = "escalation.bypass"
SILENCE = "silence"


@dataclass
class Bypass:
    """A town whose desk left urgent reports unopened; `at` is when that was first seen, by the script's clock."""

    town: str
    at: datetime | None
    alerts: set[str] = field(default_factory=set)


@dataclass
class Silence:
    """A village that did not answer; by the script's clock: last heard, found silent, heard again."""

    node: str
    found: datetime | None
    since: datetime | None
    heard: datetime | None = None


@dataclass
class Findings:
    """What the city has seen so far, by the code of the office."""

    bypassed: dict[str, Bypass] = field(default_factory=dict)
    silent: dict[str, Silence] = field(default_factory=dict)

    def look(self, alert: dict[str, Any], clock: datetime | None) -> None:
        """Note whom an alert names as bypassed: also one that was not told of but found in a list."""
        if is_bypassed(alert):
            path = alert["node"]["path"]
            town = path[1] if len(path) > 1 else path[0]
            self.bypassed.setdefault(town, Bypass(town, clock)).alerts.add(alert["id"])

    def silence(self, node: str, *, since: datetime | None, heard: datetime | None, clock: datetime | None) -> None:
        """Note that an office is silent, or was until it was heard again."""
        found = self.silent.setdefault(node, Silence(node, clock, since))
        found.heard = heard or found.heard


def is_bypassed(alert: dict[str, Any]) -> bool:
    """Whether an office was bypassed on the way to this alert."""
    return any(reason["rule"] == BYPASSED for reason in alert["reasons"])


def is_the_citys(alert: dict[str, Any]) -> bool:
    """Whether an alert has come up to the city: past an office that slept, or by a step of its escalation."""
    escalation = alert["escalation"]
    climbed = escalation["step"] > 1 and any(one.startswith("city.") for one in escalation.get("to", ()))
    return climbed or is_bypassed(alert)


def is_silence(alert: dict[str, Any]) -> bool:
    """Whether an alert tells of somebody's silence."""
    return bool(alert.get("origin") == SILENCE)
