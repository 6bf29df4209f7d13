from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime

HELD = "state = 'held'"


class Quarantined(Base):
    """A report that was written in time by an office that may not send it any more: its parent desk decides."""

    __tablename__ = "quarantine"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="the report's own id")
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the node it was written for")
    desk_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the office that decides")
    state: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(String(24))
    text: Mapped[str] = mapped_column(Text)
    text_zh: Mapped[str] = mapped_column(Text)
    body: Mapped[dict[str, Any]] = mapped_column(Json, comment="what was said, cleaned and masked")
    digest: Mapped[str] = mapped_column(String(64))
    level: Mapped[str] = mapped_column(String(8), comment="what triage made of it when it came")
    hazard: Mapped[str] = mapped_column(String(40))
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="to be decided by")
    filed_by: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the office that sent it")
    sign_in_id: Mapped[UUID] = mapped_column(comment="the account or key that sent it")
    report_id: Mapped[UUID | None] = mapped_column(comment="the report that it corrects; none: it is a report itself")
    base_version: Mapped[int | None] = mapped_column(comment="the version that it corrects")
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[str | None] = mapped_column(String(32), comment="the office that released or rejected it")
    note: Mapped[str | None] = mapped_column(Text)
    bypassed: Mapped[str | None] = mapped_column(String(32), comment="the office that did not decide in time")

    __table_args__ = (
        CheckConstraint("state IN ('held', 'released', 'rejected')", name="state"),
        CheckConstraint("(state = 'held') = (decided_at IS NULL)", name="decided"),
        Index(None, "city_id", "desk_code", "state", "due_at"),
        Index(None, "city_id", "sign_in_id", "state"),
        Index(None, "city_id", "report_id"),
        Index(None, "city_id", "due_at", postgresql_where=sql(HELD), sqlite_where=sql(HELD)),
    )
