import re
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, UtcDateTime

TIERS = ("city", "town", "village")
TIER_CHECK = "tier IN ('city', 'town', 'village')"
CODE_PATTERN = r"^[0-9A-Za-z_.-]{1,32}$"
CODE = re.compile(CODE_PATTERN)
NAME_LENGTH = 80
MOST_PEOPLE = 2_000_000_000


class City(Base):
    """A city: the unit that records are kept and distributed by. A reference table on Citus."""

    __tablename__ = "cities"

    city_id: Mapped[str] = mapped_column(String(32), primary_key=True, comment="the city's own node code")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Node(Base):
    """One office, as it is now. A reference table on Citus."""

    __tablename__ = "nodes"

    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"))
    tier: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String)
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("nodes.code"))
    opened_on: Mapped[date]
    closed_on: Mapped[date | None] = mapped_column(comment="first day it no longer exists")
    lat: Mapped[float | None]
    lon: Mapped[float | None]
    population: Mapped[int | None]
    version: Mapped[int] = mapped_column(default=1)
    merged_into: Mapped[str | None] = mapped_column(String(32), comment="the open node that it is part of since")

    __table_args__ = (
        CheckConstraint(TIER_CHECK, name="tier"),
        CheckConstraint("(tier = 'city') = (parent_code IS NULL)", name="parent"),
        CheckConstraint("(tier = 'city') = (code = city_id)", name="city"),
        Index(None, "parent_code"),
        Index(None, "city_id", "tier"),
        Index(None, "merged_into"),
    )


class NodeSpan(Base):
    """What a node was called and whose child it was, from a day until a day: the tree's history."""

    __tablename__ = "node_spans"

    code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
    since: Mapped[date] = mapped_column(primary_key=True)
    until: Mapped[date | None] = mapped_column(comment="first day it no longer held; none: it holds today")
    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"))
    tier: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String)
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("nodes.code"))

    __table_args__ = (
        CheckConstraint("until IS NULL OR until > since", name="order"),
        Index(None, "parent_code", "since"),
    )


class NodeSuccession(Base):
    """From a day on, a node is part of another (merge) or stands by itself again or anew (split)."""

    __tablename__ = "node_successions"

    code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), primary_key=True)
    on: Mapped[date] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    other: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="what it was merged into, or split from")
    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"))

    __table_args__ = (
        CheckConstraint("kind IN ('merge', 'split')", name="kind"),
        Index(None, "city_id", "on"),
    )


class NodeChange(Base):
    """When a change of the tree was recorded: until then nobody could know of it, from whatever day it holds."""

    __tablename__ = "node_changes"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True, comment="UUIDv7: in order of time")
    code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    # Also `withdrawn`: a closing that lay ahead.
    kind: Mapped[str] = mapped_column(String(12), comment="created, renamed, moved, closed, merged, reopened")
    old_parent: Mapped[str | None] = mapped_column(String(32), comment="what it stood under before")
    on: Mapped[date] = mapped_column(comment="the day from which it holds")
    at: Mapped[datetime] = mapped_column(UtcDateTime, comment="when it was recorded")
    reason: Mapped[str | None] = mapped_column(Text, comment="why a closing was undone")

    __table_args__ = (Index(None, "code", "at"),)
