from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field


class QuarantineView(BaseModel):
    """A report that is held until its parent desk decides: the sender's receipt, and what the desk reads."""

    id: UUID = Field(description="the report's own id; a correction has its own")
    state: str = Field(description="held, released (it is stored as a report since) or rejected")
    reason: str
    text: str
    text_zh: str
    node: str = Field(description="the node it was written for")
    desk: str = Field(description="the office that decides")
    level: str = Field(description="what triage made of it when it came")
    hazard: str
    submitted_at: datetime
    received_at: datetime
    due_at: datetime = Field(description="to be decided by")
    decided_at: datetime | None
    decided_by: str | None = Field(description="the office that released or rejected it")
    note: str | None
    bypassed: str | None = Field(description="the office that did not decide in time: since then the city does")
    filed_by: str = Field(description="the office that sent it")
    said: dict[str, Any] = Field(description="what was said, cleaned and masked")
    corrects: UUID | None = Field(description="the report that it corrects; none: it is a report itself")
    base_version: int | None = Field(description="the version that it corrects")
    drill_id: UUID | None = Field(description="the drill it belongs to; none: it is real")


def quarantine_view(row: Mapping[str, Any]) -> QuarantineView:
    """A row of `quarantine` as the wire shows it."""
    return QuarantineView(
        id=row["id"],
        state=row["state"],
        reason=row["reason"],
        text=row["text"],
        text_zh=row["text_zh"],
        node=row["node_code"],
        desk=row["desk_code"],
        level=row["level"],
        hazard=row["hazard"],
        submitted_at=row["submitted_at"],
        received_at=row["received_at"],
        due_at=row["due_at"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
        note=row["note"],
        bypassed=row["bypassed"],
        filed_by=row["filed_by"],
        said=row["body"],
        corrects=row["report_id"],
        base_version=row["base_version"],
        drill_id=row["drill_id"],
    )
