from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime
from app.nodes.models import TIER_CHECK

# As it stands in the index: only a query that says the same, word for word, can use it.
WAITING = "state IN ('received', 'opened')"
OF_DRILL = "drill_id IS NOT NULL"


class Report(Base):
    """What one node says of one event at one time."""

    __tablename__ = "reports"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="made by the device")
    version: Mapped[int]
    digest: Mapped[str] = mapped_column(String(64), comment="SHA-256 of what was said, after masking")
    kind: Mapped[str] = mapped_column(String(8))
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    town_code: Mapped[str | None] = mapped_column(String(32), comment="the node's town, when received")
    hazard: Mapped[str] = mapped_column(String(40))
    family: Mapped[str] = mapped_column(String(8))
    urgency: Mapped[str] = mapped_column(String(10))
    severity: Mapped[str] = mapped_column(String(10))
    certainty: Mapped[str] = mapped_column(String(10))
    level: Mapped[str] = mapped_column(String(8))
    reasons: Mapped[list[dict[str, str]]] = mapped_column(Json)
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="in the world")
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="by the device's clock")
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="by the server's clock")
    summary: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    accuracy_m: Mapped[float | None]
    figures: Mapped[dict[str, int | float]] = mapped_column(Json)
    given: Mapped[dict[str, Any] | None] = mapped_column(
        Json, comment="what it said of a place or time that cannot be right: the columns hold what decides"
    )
    masked: Mapped[int] = mapped_column(comment="personal identifiers masked before storing")
    cleaned: Mapped[int] = mapped_column(default=0, server_default="0", comment="characters left out of its texts")
    incident_id: Mapped[UUID]
    alert_id: Mapped[UUID | None]
    filed_by: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the office that filed it")
    account_id: Mapped[UUID | None] = mapped_column(comment="seen at the node itself and its parent only")
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")
    alert_version: Mapped[int | None] = mapped_column(comment="the first version of the alert that tells of it")
    released_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="when its desk released it from quarantine; none: it never was there"
    )
    corrected_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when this version came; none: first")
    corrected_by: Mapped[str | None] = mapped_column(String(32), comment="the office that sent this version")

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "incident_id"], ["incidents.city_id", "incidents.id"]),
        ForeignKeyConstraint(["city_id", "alert_id"], ["alerts.city_id", "alerts.id"]),
        # The promise of the whole service: an urgent report without its alert cannot be stored.
        CheckConstraint("level NOT IN ('red', 'orange') OR alert_id IS NOT NULL", name="urgent_has_alert"),
        CheckConstraint("level IN ('red', 'orange', 'yellow', 'blue', 'routine')", name="level"),
        CheckConstraint("kind IN ('initial', 'followup', 'final')", name="kind"),
        Index(None, "city_id", "received_at", "id"),
        Index(None, "city_id", "node_code", "received_at"),
        Index(None, "city_id", "incident_id"),
        Index(None, "city_id", "alert_id"),
        # The real reports have none of it: each index costs every report its share.
        Index(
            None,
            "city_id",
            "drill_id",
            "received_at",
            postgresql_where=text(OF_DRILL),
            sqlite_where=text(OF_DRILL),
        ),
    )


class Custody(Base):
    """Which office holds a report, since when, and until when it has to open it."""

    __tablename__ = "custody"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
    tier: Mapped[str] = mapped_column(String(8))
    state: Mapped[str] = mapped_column(String(12))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    bypass_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="unless opened by then, the office is bypassed; none: it cannot be, or was"
    )
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledge_by: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="once opened: to be taken on by then")
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    bypassed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="it did not open the report in time")
    given_by: Mapped[str | None] = mapped_column(String(32), comment="the office that returned or forwarded it here")
    note: Mapped[str | None] = mapped_column(Text, comment="that office's question or note")
    forwarded_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    forwarded_to: Mapped[str | None] = mapped_column(String(32), comment="the office that holds it since")

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),
        CheckConstraint("state IN ('received', 'opened', 'acknowledged', 'forwarded')", name="state"),
        CheckConstraint(TIER_CHECK, name="tier"),
        Index(None, "city_id", "node_code", "state", "due_at"),
        Index(None, "city_id", "bypass_at"),
        # What is overdue is among these few, however much was ever held.
        Index(
            "ix_custody_city_id_due_at_waiting",
            "city_id",
            "due_at",
            "report_id",
            "node_code",
            postgresql_where=text(WAITING),
            sqlite_where=text(WAITING),
        ),
    )


class ReportVersion(Base):
    """What a report said before it was corrected; the present version is the report itself."""

    __tablename__ = "report_versions"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    since: Mapped[datetime] = mapped_column(UtcDateTime, comment="when this version was received")
    until: Mapped[datetime] = mapped_column(UtcDateTime, comment="when the next one was")
    by: Mapped[str] = mapped_column(String(32), comment="the office that sent it")
    digest: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(8))
    hazard: Mapped[str] = mapped_column(String(40))
    family: Mapped[str] = mapped_column(String(8))
    urgency: Mapped[str] = mapped_column(String(10))
    severity: Mapped[str] = mapped_column(String(10))
    certainty: Mapped[str] = mapped_column(String(10))
    level: Mapped[str] = mapped_column(String(8))
    reasons: Mapped[list[dict[str, str]]] = mapped_column(Json)
    observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    submitted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    summary: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    accuracy_m: Mapped[float | None]
    given: Mapped[dict[str, Any] | None] = mapped_column(Json)
    figures: Mapped[dict[str, int | float]] = mapped_column(Json)
    masked: Mapped[int]
    cleaned: Mapped[int] = mapped_column(default=0, server_default="0")

    __table_args__ = (ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),)


class ReportStep(Base):
    """One step of a report's way through the offices, kept for good: who did what, when, until when."""

    __tablename__ = "report_steps"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="UUIDv7: in order of time")
    report_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(32), comment="as in the log: report.opened ...")
    node_code: Mapped[str | None] = mapped_column(ForeignKey("nodes.code"), comment="who acted; none: a rule")
    tier: Mapped[str | None] = mapped_column(String(8), comment="that office's")
    to_node: Mapped[str | None] = mapped_column(String(32), comment="who holds it now")
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),
        Index(None, "city_id", "report_id"),
    )


class Activity(Base):
    """When a node last reported a hazard family: what a report's neighbours are counted from."""

    __tablename__ = "activity"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    town_code: Mapped[str] = mapped_column(String(32), primary_key=True)
    family: Mapped[str] = mapped_column(String(8), primary_key=True)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime)
