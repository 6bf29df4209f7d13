from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime


class Receiver(Base):
    """Who is sent what happens: another system's webhook, or a notification channel. It hears what its node may see."""

    __tablename__ = "receivers"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int]
    kind: Mapped[str] = mapped_column(String(8))
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    label: Mapped[str] = mapped_column(String)
    url: Mapped[str] = mapped_column(Text, comment="a channel's holds its token: never shown again")
    events: Mapped[list[str]] = mapped_column(
        Json, comment="types or patterns; none, for a channel: as escalation says"
    )
    levels: Mapped[list[str]] = mapped_column(Json, comment="none: every level")
    drills: Mapped[bool] = mapped_column(comment="hears exercises only, instead of the real only")
    secrets: Mapped[list[dict[str, Any]]] = mapped_column(Json, comment="the newest first; the old with its end")
    state: Mapped[str] = mapped_column(String(8))
    reason: Mapped[str | None] = mapped_column(Text, comment="why it is disabled, or what it has missed")
    reason_zh: Mapped[str | None] = mapped_column(Text)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    epoch: Mapped[UUID] = mapped_column(comment="of the city's log; with seq, how far it has been looked through")
    seq: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("kind IN ('webhook', 'channel')", name="kind"),
        CheckConstraint("state IN ('active', 'disabled', 'deleted')", name="state"),
    )


class Delivery(Base):
    """One event on its way to one receiver."""

    __tablename__ = "deliveries"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="the webhook-id, the same over all tries")
    receiver_id: Mapped[UUID]
    seq: Mapped[int | None] = mapped_column(BigInteger, comment="of the log; none: Beacon's own word, a test or a gap")
    type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    urgent: Mapped[bool]
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(10))
    tries: Mapped[int]
    tries_before: Mapped[int] = mapped_column(comment="those made before its last replay began the schedule anew")
    trying: Mapped[bool] = mapped_column(comment="a try is under way; it counts as lost at next_at")
    next_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "receiver_id"], ["receivers.city_id", "receivers.id"]),
        UniqueConstraint("city_id", "receiver_id", "seq"),
        CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
        CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name="next"),
        CheckConstraint("state = 'pending' OR NOT trying", name="trying"),
        Index(None, "city_id", "receiver_id", "state", "next_at"),
        Index(None, "city_id", "receiver_id", "at"),
        Index(None, "city_id", "at"),
    )


class Receipt(Base):
    """What became of one try."""

    __tablename__ = "receipts"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    delivery_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int | None] = mapped_column(comment="the HTTP status, where there was one")
    outcome: Mapped[str] = mapped_column(String(20))
    milliseconds: Mapped[int]

    __table_args__ = (ForeignKeyConstraint(["city_id", "delivery_id"], ["deliveries.city_id", "deliveries.id"]),)
