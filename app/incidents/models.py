from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime


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
    headline: Mapped[str] = mapped_column(String(140))
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    here: Mapped[str] = mapped_column(String(80), comment="hazard@node: what this node's next report is looked up by")
    near: Mapped[str | None] = mapped_column(String(80), comment="hazard@cell of the grid: what reports close by are")
    nodes: Mapped[list[str]] = mapped_column(Json, comment="every node that reported it")
    reports: Mapped[int]
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_observed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")
    origin: Mapped[str] = mapped_column(
        String(10), default="reports", server_default="reports", comment="reports, or silence: nobody reported it"
    )

    __table_args__ = (
        CheckConstraint("state IN ('open', 'closed')", name="state"),
        Index(None, "city_id", "here"),
        Index(None, "city_id", "near"),
        Index(None, "city_id", "opened_at"),
    )
