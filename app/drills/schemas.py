from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.nodes.models import CODE_PATTERN

TITLE_LENGTH = 80

Pace = Annotated[float, Field(ge=1, le=100_000, allow_inf_nan=False, strict=True)]


class DrillNew(BaseModel):
    """A drill to begin."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"title": "【演练】汛期转移", "node": "370783108000", "pace": 60}}
    )

    title: str = Field(min_length=1, max_length=TITLE_LENGTH)
    node: Annotated[str, Field(pattern=CODE_PATTERN)] | None = Field(
        None, description="the office whose subtree takes part; without it, the caller's own"
    )
    pace: Pace = Field(1.0, description="how many times faster than life its deadlines run")
