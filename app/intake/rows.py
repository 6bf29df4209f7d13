"""The rows that a report makes: itself, who holds it, and that its node has been heard from. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.alerts.raising import Change
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.intake.submission import Submission
from app.nodes.lookup import Place

Row = dict[str, Any]

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def report(
    one: Submission,
    place: Place,
    level: Level,
    reasons: Sequence[dict[str, str]],
    incident_id: UUID,
    change: Change | None,
) -> Row:
    """The row of a report's first version; `change` is what it made of its incident's alert."""
    return {
        "city_id": place.city_id,
        "id": one.id,
        "version": 1,
        "node_code": place.code,
        "town_code": place.town_code,
        **said(one, level, reasons),
        "received_at": one.received_at,
        "incident_id": incident_id,
        "alert_id": change.row["id"] if change else None,
        "alert_version": change.row["version"] if change else None,
        "filed_by": one.caller.node,
        "account_id": one.caller.account_id,
        "drill_id": one.drill_id,
        "released_at": one.released_at,
        "corrected_at": None,
        "corrected_by": None,
    }


def said(one: Submission, level: Level, reasons: Sequence[dict[str, str]]) -> Row:
    """What a correction may change: what was said, and what triage made of it."""
    return {
        "digest": one.digest,
        "kind": one.kind,
        "hazard": one.hazard.code,
        "family": one.hazard.family,
        "urgency": str(one.urgency),
        "severity": str(one.severity),
        "certainty": str(one.certainty),
        "level": str(level),
        "reasons": list(reasons),
        "observed_at": one.observed_at,
        "submitted_at": one.submitted_at,
        "summary": one.summary,
        "description": one.description,
        "lat": one.lat,
        "lon": one.lon,
        "accuracy_m": one.accuracy_m,
        "given": one.given,
        "figures": one.figures,
        "masked": one.masked,
        "cleaned": one.cleaned,
    }


def custody(
    report: Row,
    place: Place,
    policy: Policy,
    tempo: float,
    *,
    since: datetime,
    urgent: bool,
    owner: Mapping[str, Any] | None,
) -> list[Row]:
    """Who holds a report: the parent, and when urgent every tier up to the city.

    Times allowed are the policy's, multiplied by `tempo`. `owner` is who has taken on its alert.
    """
    level = Level(report["level"])
    above = list(zip(place.path, place.path_tiers, strict=True))[:-1]
    # The city has nobody above it: it holds its own report.
    holders = (above if urgent else above[-1:]) or [(place.code, place.tier)]
    # Whoever files it has seen it, and whoever owns the alert has it in hand: neither is bypassed.
    at_it = {report["corrected_by"] or report["filed_by"], owner["node"] if owner else None}
    rows = []
    for node, tier in reversed(holders):
        due_at = since + policy.custody.due(tier, level) * tempo
        may_be_bypassed = urgent and tier in policy.escalation.bypass and node not in at_it
        rows.append(
            {
                "city_id": place.city_id,
                "report_id": report["id"],
                "node_code": node,
                "tier": tier,
                "state": "received",
                "since": since,
                "due_at": due_at,
                "bypass_at": due_at if may_be_bypassed else None,
                "opened_at": None,
                "acknowledge_by": None,
                "acknowledged_at": None,
                "bypassed_at": None,
                "given_by": None,
                "note": None,
                "forwarded_at": None,
                "forwarded_to": None,
            }
        )
    return rows


def activity(taken: Sequence[Submission], places: Mapping[str, Place], *, heard: bool) -> list[Row]:
    """That these nodes have been heard from; and, for its lock alone, each town's own row of the family.

    A drill's reports are not `heard`: they take the lock and leave the real as it was.
    """
    times: dict[tuple[str, str, str], datetime] = {}
    for one in taken:
        place = places[one.node]
        town = place.town_code or place.city_id
        times.setdefault((town, one.hazard.family, town), NEVER)
        key = (town, one.hazard.family, place.code)
        # What a desk released was heard when it came.
        times[key] = max(one.received_at, times.get(key, NEVER)) if heard else NEVER
    return [
        {
            "city_id": taken[0].caller.city_id,
            "town_code": town,
            "family": family,
            "node_code": node,
            "last_received_at": at,
        }
        for (town, family, node), at in times.items()
    ]
