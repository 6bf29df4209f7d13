from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.drills.models import Drill


@dataclass(frozen=True, slots=True)
class DrillRow:
    """A drill; its deadlines run `pace` times faster than life."""

    city_id: str
    id: UUID
    node_code: str
    title: str
    pace: float
    began_at: datetime
    ended_at: datetime | None


async def find(conn: AsyncConnection, *, city_id: str, drill_id: UUID) -> DrillRow | None:
    """A drill of the city, running or ended."""
    row = (
        await conn.execute(select(*Drill.__table__.columns).where(Drill.city_id == city_id, Drill.id == drill_id))
    ).one_or_none()
    return DrillRow(**row._asdict()) if row else None
