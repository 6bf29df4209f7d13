"""What an incident's new reports make of its alert: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.alerts import escalation
from app.hazards.cap import Level


@dataclass(frozen=True, slots=True)
class Said:
    """One new report of an incident, as far as its alert is concerned."""

    level: Level
    reasons: Sequence[dict[str, str]]
    headline: str


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
    """The levels that raise an alert, and the policy that it then keeps: app.hazards.policy, `snapshot`."""

    levels: frozenset[Level]
    snapshot: Mapping[str, Any]


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
) -> Change | None:
    """The active alert after these reports: raised, raised again, or with one more report; None: no alert.

    A level is never lowered. A worse report on an acknowledged alert raises it again: whoever owns it
    took on something smaller. On one that is raised it begins the steps of the worse level.
    """
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
                "drill_id": drill_id,
                "origin": origin,
                **escalation.begin(rules.snapshot, str(gravest.level), now),
            },
            "alert.raised",
        )
    row = {**current, "version": current["version"] + 1, "reports": reports, "nodes": list(place.nodes)}
    was = Level(current["level"])
    if gravest.level.rank <= was.rank:
        return Change(row, "alert.updated")
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
