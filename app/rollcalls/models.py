from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime
from app.nodes.models import TIER_CHECK


class RollCall(Base):
    """A question put to the nodes of a subtree, to be answered by a time."""

    __tablename__ = "roll_calls"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    schedule: Mapped[str | None] = mapped_column(String(40), comment="of the policy; none: asked by an office")
    day: Mapped[date | None] = mapped_column(comment="the schedule's")
    question_zh: Mapped[str] = mapped_column(Text)
    question_en: Mapped[str] = mapped_column(Text)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the subtree that is asked")
    tiers: Mapped[list[str]] = mapped_column(Json)
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="when silence was looked for")
    asked: Mapped[int]
    drill_id: Mapped[UUID | None] = mapped_column(comment="none: it is real")

    __table_args__ = (
        UniqueConstraint("city_id", "schedule", "day"),
        CheckConstraint("due_at > opened_at", name="order"),
        Index(None, "city_id", "opened_at"),
        Index(None, "city_id", "due_at"),
    )


class RollCallAnswer(Base):
    """What one expected node answered, and what became of it when it did not.

    At most one row of a node is `silent`, among the real and in each drill: the last roll call that it missed.
    """

    __tablename__ = "roll_call_answers"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    roll_call_id: Mapped[UUID] = mapped_column(primary_key=True)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
    tier: Mapped[str] = mapped_column(String(8))
    town_code: Mapped[str | None] = mapped_column(String(32), comment="on the day it was asked")
    version: Mapped[int] = mapped_column(default=1)
    state: Mapped[str] = mapped_column(String(10))
    why: Mapped[str] = mapped_column(Text, default="")
    reports: Mapped[list[str]] = mapped_column(Json)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answered_by: Mapped[str | None] = mapped_column(String(32), comment="the office")
    late: Mapped[bool] = mapped_column(default=False)
    silent_since: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="found silent; none: it was not")
    last_heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="before that; none: never")
    silent: Mapped[bool] = mapped_column(default=False, comment="still, and no later roll call was missed")
    heard_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="heard again, which ended its silence")
    missed: Mapped[int] = mapped_column(default=0, comment="roll calls missed in a row, with this one")
    alert_id: Mapped[UUID | None]

    __table_args__ = (
        ForeignKeyConstraint(["city_id", "roll_call_id"], ["roll_calls.city_id", "roll_calls.id"]),
        ForeignKeyConstraint(["city_id", "alert_id"], ["alerts.city_id", "alerts.id"]),
        CheckConstraint("state IN ('waiting', 'nothing', 'something', 'unable', 'excused')", name="state"),
        CheckConstraint(TIER_CHECK, name="tier"),
        Index(None, "city_id", "node_code", "answered_at"),
        Index(
            "ix_roll_call_answers_city_id_node_code_silent",
            "city_id",
            "node_code",
            postgresql_where=text("silent"),
            sqlite_where=text("silent = 1"),
        ),
    )
