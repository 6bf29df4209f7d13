from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class DrillView(BaseModel):
    """An exercise: what names it never mixes with the real."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199a4c2-7000-7000-8000-3f1f0c9d2a11",
                "node": "370783108000",
                "title": "【演练】汛期转移",
                "pace": 60.0,
                "began_at": "2018-08-19T20:00:00Z",
                "ended_at": None,
            }
        }
    )

    id: UUID
    node: str = Field(description="the office whose subtree takes part")
    title: str
    pace: float = Field(description="how many times faster than life its deadlines run")
    began_at: datetime
    ended_at: datetime | None


def drill_view(drill: Any) -> DrillView:
    """A drill as the wire and the feed show it."""
    return DrillView(
        id=drill.id,
        node=drill.node_code,
        title=drill.title,
        pace=drill.pace,
        began_at=drill.began_at,
        ended_at=drill.ended_at,
    )
