from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime

# As it stands in the index: only a query that says the same, word for word, can use it.
OPEN = "state = 'open'"
_OPEN = text(OPEN)


class Incident(Base):
    """The event in the world that one or more reports describe."""

    __tablename__ = "incidents"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))
    hazard: Mapped[str] = mapped_column(String(40))
    level: Mapped[str] = mapped_column(String(8), comment="the gravest level any of its reports had")
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the node that was heard first")
    town_code: Mapped[str | None] = mapped_column(String(32))
    headline: Mapped[str] = mapped_column(String)
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    here: Mapped[str] = mapped_column(String(80), comment="hazard@node: what this node's next report is looked up by")
    near: Mapped[str | None] = mapped_column(String(80), comment="hazard@cell of the grid: what reports close by are")
    nodes: Mapped[list[str]] = mapped_column(Json, comment="every node that reported it")
    reports: Mapped[int]
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_observed_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="none: written by an older version, as last_observed_at"
    )
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")
    origin: Mapped[str] = mapped_column(
        String(10), default="reports", server_default="reports", comment="reports, or silence: nobody reported it"
    )

    merged_into: Mapped[UUID | None] = mapped_column(comment="it is an alias of that incident, which has its reports")
    assigned_to: Mapped[str | None] = mapped_column(String(32), comment="the office that leads")
    assigned_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(16))
    outcome_text: Mapped[str | None] = mapped_column(Text)
    outcome_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("state IN ('open', 'closed')", name="state"),
        Index(None, "city_id", "here"),
        Index(None, "city_id", "near"),
        Index(None, "city_id", "opened_at"),
        Index(
            None,
            "city_id",
            "merged_into",
            postgresql_where=text("merged_into IS NOT NULL"),
            sqlite_where=text("merged_into IS NOT NULL"),
        ),
    )


class IncidentStep(Base):
    """One step in an incident's life, kept for good: merged, split, assigned, ended."""

    __tablename__ = "incident_steps"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="UUIDv7: in order of time")
    incident_id: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(32), comment="as in the log: incident.merged ...")
    node_code: Mapped[str | None] = mapped_column(ForeignKey("nodes.code"), comment="who acted; none: a rule")
    tier: Mapped[str | None] = mapped_column(String(8), comment="that office's")
    other_id: Mapped[UUID | None] = mapped_column(comment="the other incident of a merge or split")
    text: Mapped[str] = mapped_column(Text)
    text_zh: Mapped[str] = mapped_column(Text)
    kept: Mapped[dict[str, Any] | None] = mapped_column(Json, comment="of a merge: what undoes it exactly")

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "incident_id"], ["incidents.city_id", "incidents.id"]),
        Index(None, "city_id", "incident_id"),
    )


class IncidentMove(Base):
    """A report went from one incident to another: what was known when can be told at any time."""

    __tablename__ = "incident_moves"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="UUIDv7: in order of time")
    report_id: Mapped[UUID]
    from_incident: Mapped[UUID]
    to_incident: Mapped[UUID]
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),
        Index(None, "city_id", "report_id"),
        Index(None, "city_id", "from_incident"),
        Index(None, "city_id", "to_incident"),
    )


class Proposal(Base):
    """Two incidents that may be one, until an office merges them or says that they are not."""

    __tablename__ = "proposals"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    incident_id: Mapped[UUID] = mapped_column(primary_key=True, comment="the lesser id of the two")
    other_id: Mapped[UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(String(9))
    metres: Mapped[float | None] = mapped_column(comment="how far apart their nearest reports are; none: not known")
    text: Mapped[str] = mapped_column(Text, comment="why they may be one; of a split, why they are not")
    text_zh: Mapped[str] = mapped_column(Text)
    proposed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_by: Mapped[str | None] = mapped_column(String(32), comment="the office that merged, dismissed or split")
    reason: Mapped[str | None] = mapped_column(Text, comment="that office's")

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "incident_id"], ["incidents.city_id", "incidents.id"]),
        ForeignKeyConstraint(["city_id", "other_id"], ["incidents.city_id", "incidents.id"]),
        CheckConstraint("state IN ('open', 'accepted', 'dismissed')", name="state"),
        Index(None, "city_id", "other_id"),
        Index(
            None,
            "city_id",
            "proposed_at",
            postgresql_where=_OPEN,
            sqlite_where=_OPEN,
        ),
    )


class ProposalCursor(Base):
    """How far into the city's log reports have been compared. The process that advances it locks its row."""

    __tablename__ = "proposal_cursors"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
