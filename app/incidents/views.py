from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class IncidentView(BaseModel):
    """The event in the world, as its reports tell it."""

    id: UUID
    version: int
    state: str
    hazard: str
    level: str = Field(description="the gravest level any of its reports had")
    node: str = Field(description="the node that was heard first")
    headline: str
    reports: int
    opened_at: datetime
    last_observed_at: datetime
    origin: str = Field(description="reports, or silence: nobody reported it")
    drill_id: UUID | None = Field(description="the drill it belongs to; none: it is real")


def incident_view(row: Mapping[str, Any]) -> IncidentView:
    """A row of `incidents` as the wire shows it."""
    return IncidentView(
        id=row["id"],
        version=row["version"],
        state=row["state"],
        hazard=row["hazard"],
        level=row["level"],
        node=row["node_code"],
        headline=row["headline"],
        reports=row["reports"],
        opened_at=row["opened_at"],
        last_observed_at=row["last_observed_at"],
        origin=row["origin"],
        drill_id=row["drill_id"],
    )
