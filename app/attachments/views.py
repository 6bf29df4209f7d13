from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class AttachmentView(BaseModel):
    """A photo or a recording of a report: what was sent, and what is stored of it."""

    name: str = Field(description="the slot, named by the sender")
    state: Literal["uploading", "stored"]
    received: int = Field(description="bytes that have arrived: go on from here")
    size: int = Field(description="bytes of the file, as sent")
    sha256: str = Field(description="of the file as sent")
    content_type: str | None = Field(description="of what is stored")
    stored_size: int | None
    stored_sha256: str | None = Field(description="of what is stored, which is made anew: not what was sent")
    width: int | None
    height: int | None
    begun_at: datetime
    stored_at: datetime | None
    filed_by: str = Field(description="the office that sent it")


class Attachments(BaseModel):
    """The attachments of one report, by name."""

    items: list[AttachmentView]


def attachment_view(row: Mapping[str, Any]) -> AttachmentView:
    """A row of `attachments` as the wire shows it."""
    return AttachmentView(**{name: row[name] for name in AttachmentView.model_fields})
