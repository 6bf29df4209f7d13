from pydantic import BaseModel, ConfigDict, Field

from app.nodes.models import CODE_PATTERN


class Note(BaseModel):
    """What an office says as it takes a report on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"note": "【演练】已派人核查"}})

    note: str = Field("", max_length=500)


class Question(BaseModel):
    """What an office asks back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"question": "【演练】被困几人？"}})

    question: str = Field(min_length=1, max_length=500)


class Forward(BaseModel):
    """Which office is to hold the report, and what it is told."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"to": "370783001000", "note": "【演练】请协助转移"}}
    )

    to: str = Field(pattern=CODE_PATTERN)
    note: str = Field("", max_length=500)
