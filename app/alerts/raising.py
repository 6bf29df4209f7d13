"""What an incident's new reports make of its alert: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.alerts import escalation, new_offices
from app.hazards.cap import Level
from app.hazards.policy import Policy


@dataclass(frozen=True, slots=True)
class Said:
    """One new report of an incident, as far as its alert is concerned."""

    level: Level
    reasons: Sequence[dict[str, str]]
    headline: str
    offices: Mapping[str, str] = field(default_factory=dict)
    """Whose report it is: name by code; several for another alert, none for what a machine found."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the incident is, and every node that reported it."""

    city_id: str
    node_code: str
    node_name: str
    path: Sequence[str]
    nodes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """The levels that raise an alert, the policy that it then keeps, and for how long new offices are gathered."""

    levels: frozenset[Level]
    snapshot: Mapping[str, Any]
    gather: timedelta

    @classmethod
    def of(cls, policy: Policy, tempo: float) -> "Rules":
        """As the policy says, at this tempo."""
        return cls(frozenset(policy.alerts.levels), policy.snapshot(tempo), policy.alerts.gather * tempo)


@dataclass(frozen=True, slots=True)
class Change:
    """The alert's next row and the event that tells of it."""

    row: dict[str, Any]
    event: str


def next_alert(
    current: Mapping[str, Any] | None,
    said: Sequence[Said],
    *,
    alert_id: UUID,
    incident_id: UUID,
    hazard: str,
    place: Place,
    reports: int,
    rules: Rules,
    now: datetime,
    drill_id: UUID | None = None,
    origin: str = "reports",
    today: Mapping[str, str] | None = None,
) -> Change | None:
    """The active alert after these reports: raised, raised again, or with one more report; None: no alert.

    A level is never lowered. A more severe report raises an acknowledged alert again: its owner acknowledged less. So
    does an urgent report of an office that had none on it then: at once, or at the end of the window that the last such
    has opened. `today` says of offices that were merged what they are part of. On an alert that is raised a more severe
    report begins the steps of its level.
    """
    urgent = {code: name for one in said if one.level in rules.levels for code, name in one.offices.items()}
    gravest = max(said, key=lambda one: one.level.rank)
    if current is None:
        if gravest.level not in rules.levels:
            return None
        return Change(
            {
                "city_id": place.city_id,
                "id": alert_id,
                "version": 1,
                "level": str(gravest.level),
                "state": "raised",
                "incident_id": incident_id,
                "node_code": place.node_code,
                "node_name": place.node_name,
                "path": list(place.path),
                "nodes": list(place.nodes),
                "hazard": hazard,
                "headline": gravest.headline,
                "reasons": list(gravest.reasons),
                "reports": reports,
                "raised_at": now,
                "due_at": None,
                "owner": None,
                "acknowledged_at": None,
                "until": None,
                "closed_at": None,
                "close_reason": None,
                "policy": rules.snapshot,
                "urgent_offices": urgent,
                "covered": [],
                "rearmed_at": None,
                "gathered_until": None,
                "last_owner": None,
                "drill_id": drill_id,
                "origin": origin,
                **escalation.begin(rules.snapshot, str(gravest.level), now),
            },
            "alert.raised",
        )
    row = {**current, "version": current["version"] + 1, "reports": reports, "nodes": list(place.nodes)}
    row["urgent_offices"] = current["urgent_offices"] | urgent
    was = Level(current["level"])
    if gravest.level.rank <= was.rank:
        return _by_new_offices(row, rules, now, today or {})
    # That an office was bypassed stays true, and stays in sight.
    kept = [reason for reason in current["reasons"] if reason["rule"] == escalation.BYPASSED]
    row |= {"level": str(gravest.level), "headline": gravest.headline, "reasons": [*gravest.reasons, *kept]}
    # An alert from before policies were kept takes the one in force.
    row["policy"] = row["policy"] or rules.snapshot
    if current["state"] == "acknowledged":
        row |= escalation.unowned(row, now)
        row["reasons"] = [escalation.raised_again(was, gravest.level), *gravest.reasons, *kept]
        return Change(row, "alert.rearmed")
    row |= escalation.begin(row["policy"], row["level"], now)
    if kept:
        row |= escalation.to_city(row, now)
    row["due_at"] = min(row["due_at"], current["due_at"]) if current["due_at"] else row["due_at"]
    return Change(row, "alert.upgraded")


def _by_new_offices(row: dict[str, Any], rules: Rules, now: datetime, today: Mapping[str, str]) -> Change:
    """What a report makes of the alert that is no more severe: raised again if its office is not covered, or told."""
    if row["state"] != "acknowledged":
        return Change(row, "alert.updated")
    row["covered"] = [*row["covered"], *new_offices.succeeding(row, today)]
    new = new_offices.uncovered(row)
    if not new:
        return Change(row, "alert.updated")
    at = new_offices.raised_again_at(row["rearmed_at"], rules.gather, now)
    if at > now:
        row["gathered_until"] = at
        return Change(row, "alert.updated")
    why = new_offices.reason(new, row["owner"])
    kept = [reason for reason in row["reasons"] if reason["rule"] != why["rule"]]
    row |= {**escalation.asked_again(row, now), "reasons": [why, *kept]}
    return Change(row, "alert.rearmed")
