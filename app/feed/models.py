from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime


class FeedHead(Base):
    """One row a city: the last number given out. Taking numbers locks it, so commits keep their order."""

    __tablename__ = "feed_heads"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    epoch: Mapped[UUID] = mapped_column(comment="changes when a backup is restored, so that old cursors expire")
    last_seq: Mapped[int] = mapped_column(BigInteger)
    kept_from: Mapped[int] = mapped_column(BigInteger, comment="the oldest number still kept")
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FeedEvent(Base):
    """One thing that happened in a city, numbered without gaps in commit order."""

    __tablename__ = "feed_events"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_of_operation: Mapped[int] = mapped_column(
        BigInteger, comment="the number of the last event of the same operation; answers are cut only there"
    )
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    type: Mapped[str] = mapped_column(String(32))
    topic: Mapped[str] = mapped_column(String(16), comment="report, incident, alert ...")
    subject_id: Mapped[UUID]
    version: Mapped[int]
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the office whose subtree sees it")
    body: Mapped[dict[str, Any]] = mapped_column(Json, comment="the subject as it was then, without any person")
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")

    __table_args__ = (Index(None, "city_id", "at"),)


class FeedAudience(Base):
    """A further office whose subtree sees an event: an incident may be reported from several nodes."""

    __tablename__ = "feed_audience"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
