from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime
from app.nodes.models import TIER_CHECK


class Alert(Base):
    """The urgent mark of an incident made active: it has an owner and a clock."""

    __tablename__ = "alerts"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    level: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12))
    incident_id: Mapped[UUID]
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    node_name: Mapped[str] = mapped_column(String)
    path: Mapped[list[str]] = mapped_column(Json, comment="codes from the city down to the node, when raised")
    nodes: Mapped[list[str]] = mapped_column(Json, comment="every node that reported the incident: they see it too")
    hazard: Mapped[str] = mapped_column(String(40))
    headline: Mapped[str] = mapped_column(String)
    reasons: Mapped[list[dict[str, str]]] = mapped_column(Json)
    reports: Mapped[int]
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="to be acknowledged by")
    owner: Mapped[dict[str, Any] | None] = mapped_column(Json, comment="the office and username that acknowledged")
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    close_reason: Mapped[str | None] = mapped_column(Text)
    until: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="the acknowledgement lasts until then")
    escalation_step: Mapped[int] = mapped_column(default=0)
    escalation_next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    escalation_from: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="what the steps' delays count from")
    policy: Mapped[dict[str, Any] | None] = mapped_column(Json, comment="the policy it was raised under")
    urgent_offices: Mapped[dict[str, str]] = mapped_column(
        Json, default=dict, server_default="{}", comment="with an urgent report on it: name by code"
    )
    covered: Mapped[list[str]] = mapped_column(
        Json, default=list, server_default="[]", comment="those of them that were there when it was acknowledged"
    )
    rearmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="last raised again by another office")
    gathered_until: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="offices that reported since raise it again then, together"
    )
    last_owner: Mapped[dict[str, Any] | None] = mapped_column(
        Json, comment="who had it when another office raised it again: is asked first"
    )
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")
    origin: Mapped[str] = mapped_column(
        String(10), default="reports", server_default="reports", comment="reports, silence or detection"
    )

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "incident_id"], ["incidents.city_id", "incidents.id"]),
        CheckConstraint("state IN ('raised', 'acknowledged', 'closed')", name="state"),
        CheckConstraint("(state = 'acknowledged') = (owner IS NOT NULL AND closed_at IS NULL)", name="owner"),
        # One active alert an incident: two writers cannot both raise one.
        Index(
            "uq_alerts_city_id_incident_id_active",
            "city_id",
            "incident_id",
            unique=True,
            postgresql_where=text("state <> 'closed'"),
            sqlite_where=text("state <> 'closed'"),
        ),
        Index(None, "city_id", "state", "raised_at"),
        Index(None, "city_id", "escalation_next_at"),
        Index(None, "city_id", "until"),
        Index(None, "city_id", "gathered_until"),
    )


class AlertStep(Base):
    """One step in an alert's life, kept for good: the timeline, and what the ledger counts from."""

    __tablename__ = "alert_steps"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    alert_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="of the alert, with this step")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(32), comment="as in the log: alert.acknowledged ...")
    node_code: Mapped[str | None] = mapped_column(ForeignKey("nodes.code"), comment="who acted; none: a rule")
    tier: Mapped[str | None] = mapped_column(String(8), comment="that office's")
    step: Mapped[int] = mapped_column(comment="of the escalation, after this")
    text: Mapped[str] = mapped_column(Text)
    text_zh: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "alert_id"], ["alerts.city_id", "alerts.id"]),
        Index(None, "city_id", "node_code", "at"),
    )


class AlertSighting(Base):
    """When a version of an alert was first carried by an answer to an office of a tier."""

    __tablename__ = "alert_sightings"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    alert_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tier: Mapped[str] = mapped_column(String(8), primary_key=True)
    carried_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "alert_id"], ["alerts.city_id", "alerts.id"]),
        CheckConstraint(TIER_CHECK, name="tier"),
    )
