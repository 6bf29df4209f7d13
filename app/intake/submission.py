"""A report as it will be stored, before the database is asked: cleaned, masked, digested. Pure."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from app.core import problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.core.texts import forgive
from app.hazards.cap import Certainty, Severity, Urgency
from app.hazards.catalogue import HAZARDS, Hazard
from app.intake.schemas import ReportIn

# In characters, after masking, which may double what was typed.
SUMMARY, DESCRIPTION = 400, 20_000


@dataclass(frozen=True, slots=True)
class Submission:
    """One report on its way into the database, with who sent it."""

    caller: Caller
    id: UUID
    kind: str
    node: str
    hazard: Hazard
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    observed_at: datetime
    submitted_at: datetime
    received_at: datetime
    summary: str
    description: str
    lat: float | None
    lon: float | None
    accuracy_m: float | None
    figures: dict[str, int | float]
    incident_id: UUID | None
    drill_id: UUID | None
    masked: int
    cleaned: int
    """How many characters were left out of its texts."""
    digest: str
    said: dict[str, Any]
    """What the digest was taken of, ready for JSON."""
    released_at: datetime | None = None
    """When its desk released it from quarantine: then it is stored though its office may not send any more."""
    doubts: tuple[dict[str, str], ...] = ()
    """Why its place or a time decides nothing, as reasons."""
    given: dict[str, Any] | None = None
    """What it said of these, ready for JSON: the fields themselves hold what decides."""


def prepare(body: ReportIn, *, caller: Caller, now: datetime, node: str | None = None) -> Submission:
    """Check and clean one report; a Problem (422) says what is wrong with it.

    A report that names no node is of `node`, or of the caller's own. The digest is taken after masking, so that no
    trace of a personal identifier is kept in it.
    """
    hazard = HAZARDS.get(body.hazard)
    if hazard is None:
        raise Problem(problems.HAZARD_UNKNOWN, pointer="/hazard", hazard=repr(body.hazard))
    observed_at = body.observed_at or body.submitted_at
    summary, in_summary, out_of_summary = forgive(body.summary or "", multiline=False)
    description, in_description, out_of_description = forgive(body.description)
    if len(summary) > SUMMARY:
        # The whole of it stands in the description: nothing that somebody typed is lost.
        description = f"{summary}\n{description}".rstrip()
        summary = f"{summary[: SUMMARY - 1].rstrip()}…"
    # A report of few bytes says no more than what it is: every reader has its hazard's name.
    summary = summary or hazard.zh
    cut = max(0, len(description) - DESCRIPTION)
    description = description[:DESCRIPTION].rstrip()
    node = body.node or node or caller.node
    figures = body.figures.model_dump(exclude_none=True)
    location = body.location
    said = {
        "kind": body.kind,
        "node": node,
        "hazard": hazard.code,
        "triad": [body.urgency, body.severity, body.certainty],
        "observed_at": observed_at.astimezone(UTC).isoformat(),
        "submitted_at": body.submitted_at.astimezone(UTC).isoformat(),
        "summary": summary,
        "description": description,
        "location": [location.lat, location.lon, location.accuracy_m] if location else None,
        "figures": figures,
        "incident_id": str(body.incident_id) if body.incident_id else None,
        # Named only where there is one: what was stored before there were drills keeps its digest.
        **({"drill_id": str(body.drill_id)} if body.drill_id else {}),
    }
    return Submission(
        caller=caller,
        id=body.id,
        kind=body.kind,
        node=node,
        hazard=hazard,
        urgency=body.urgency,
        severity=body.severity,
        certainty=body.certainty,
        observed_at=observed_at.astimezone(UTC),
        submitted_at=body.submitted_at.astimezone(UTC),
        received_at=now,
        summary=summary,
        description=description,
        lat=location.lat if location else None,
        lon=location.lon if location else None,
        accuracy_m=location.accuracy_m if location else None,
        figures=figures,
        incident_id=body.incident_id,
        drill_id=body.drill_id,
        masked=in_summary + in_description,
        cleaned=out_of_summary + out_of_description + cut,
        digest=sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest(),
        said=said,
    )
