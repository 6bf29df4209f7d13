from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, UtcDateTime


class Drill(Base):
    """An exercise: what names it never mixes with the real, nor with another drill."""

    __tablename__ = "drills"

    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"), comment="the office whose subtree takes part")
    title: Mapped[str] = mapped_column(String)
    pace: Mapped[float] = mapped_column(Float, comment="how many times faster than life its deadlines run")
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        CheckConstraint("pace >= 1", name="pace"),
        CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name="order"),
        Index(None, "city_id", "began_at"),
    )
