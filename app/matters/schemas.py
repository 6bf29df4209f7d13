from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.times import Time
from app.incidents.views import Outcome
from app.nodes.models import CODE_PATTERN

MOST_REPORTS = 500

Reason = Annotated[str, Field(min_length=1, max_length=500)]
Version = Annotated[
    int | None, Field(ge=1, description="The incident's version that you have seen; another is refused (412).")
]
DryRun = Annotated[bool, Field(description="Only show what would happen: nothing is stored.")]


class Merge(BaseModel):
    """All reports of the incident go to `into`, which it becomes an alias of."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"into": "0199a4c2-7f2e-7000-8000-52b8a1d0c3e4", "reason": "【演练】同一段堤", "dry_run": True}
        },
    )

    into: UUID
    reason: Reason
    dry_run: DryRun = False
    version: Version = None


class Split(BaseModel):
    """Which reports leave: those named, into a new incident, or with `alias` those that a merge brought."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"alias": "0199a4c2-7f2e-7000-8000-52b8a1d0c3e4", "reason": "【演练】两处不同险情"}
        },
    )

    reports: list[UUID] | None = Field(None, min_length=1, max_length=MOST_REPORTS)
    alias: UUID | None = None
    reason: Reason
    dry_run: DryRun = False
    version: Version = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "Split":
        if (self.reports is None) == (self.alias is None):
            raise ValueError("name either reports or an alias")
        return self


class Dismiss(BaseModel):
    """Which incident it is not one with, though that was proposed, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"other": "0199a4c2-7f2e-7000-8000-52b8a1d0c3e4", "reason": "【演练】两段不同的堤"}
        },
    )

    other: UUID
    reason: Reason
    version: Version = None


class Assign(BaseModel):
    """The office that leads from now on, and until when the matter is to be settled."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"node": "370783108000", "note": "【演练】请牵头处置"}}
    )

    node: str = Field(pattern=CODE_PATTERN)
    due_at: Time | None = None
    note: str = Field("", max_length=500)


class End(BaseModel):
    """How the matter ended."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"outcome": "resolved", "text": "【演练】险情排除，群众返家"}}
    )

    outcome: Outcome
    text: Reason


class Reopen(BaseModel):
    """Why it is not over."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "【演练】水位复涨"}})

    reason: Reason
