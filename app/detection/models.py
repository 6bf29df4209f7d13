from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime


class Alarm(Base):
    """What early detection found unusual, kept with the sentence that says why."""

    __tablename__ = "alarms"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(160), comment="what makes it this alarm: it is stored once")
    rule: Mapped[str] = mapped_column(String(16), comment="ears.c1, ears.c2, ears.c3, cluster or cluster.disease")
    family: Mapped[str] = mapped_column(String(8))
    hazard: Mapped[str | None] = mapped_column(String(40), comment="none: the whole family was looked at")
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the town counted; of a cluster, a node")
    day: Mapped[date]
    observed: Mapped[int]
    expected: Mapped[float | None] = mapped_column(comment="none: a cluster has a limit only")
    limit: Mapped[float]
    sentence: Mapped[str] = mapped_column(Text)
    sentence_zh: Mapped[str] = mapped_column(Text)
    report_id: Mapped[UUID] = mapped_column(comment="the report that made it an alarm")
    reports: Mapped[list[str]] = mapped_column(Json, comment="of a cluster: the ids of its reports, the earliest first")
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when that report's event was observed")
    lat: Mapped[float | None] = mapped_column(comment="where: the report's place, else its node's")
    lon: Mapped[float | None]
    incident_id: Mapped[UUID]
    alert_id: Mapped[UUID | None]
    level: Mapped[str | None] = mapped_column(String(8), comment="that it gave the incident's alert; none: no alert")
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime)
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")

    __table_args__ = (
        UniqueConstraint("city_id", "key"),
        ForeignKeyConstraint(["city_id", "report_id"], ["reports.city_id", "reports.id"]),
        ForeignKeyConstraint(["city_id", "incident_id"], ["incidents.city_id", "incidents.id"]),
        ForeignKeyConstraint(["city_id", "alert_id"], ["alerts.city_id", "alerts.id"]),
        Index(None, "city_id", "drill_id", "raised_at"),
    )


class DetectionCursor(Base):
    """How far into the city's log detection has looked. Whoever advances it holds its row."""

    __tablename__ = "detection_cursors"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    epoch: Mapped[UUID]
    seq: Mapped[int] = mapped_column(BigInteger)
