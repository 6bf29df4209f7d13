from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.times import Time
from app.nodes.models import CODE_PATTERN
from app.reports.views import Reason

Tier = Literal["village", "town", "city"]


class RollCallNew(BaseModel):
    """A round of questions, asked now."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "question": "【演练】堤防有无险情？",
                "node": "370783108000",
                "tiers": ["village"],
                "due_minutes": 30,
            }
        },
    )

    question: str = Field(min_length=1, max_length=200)
    node: str | None = Field(
        None, pattern=CODE_PATTERN, description="the subtree that is asked; the caller's own by default"
    )
    tiers: list[Tier] = Field(["village"], min_length=1, max_length=3)
    due_at: Time | None = None
    due_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 7)] | None = None
    drill_id: UUID | None = Field(None, description="the drill it belongs to: its time runs at the drill's pace")

    @model_validator(mode="after")
    def _has_one_due(self) -> "RollCallNew":
        if (self.due_at is None) == (self.due_minutes is None):
            raise ValueError("give either due_at or due_minutes")
        return self


class AnswerNew(BaseModel):
    """What a node answers: nothing, something (with its reports), or unable (with the reason)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"answer": "nothing"}})

    node: str | None = Field(
        None, pattern=CODE_PATTERN, description="a node of the caller's subtree; its own by default"
    )
    answer: Literal["nothing", "something", "unable"]
    why: str = Field("", max_length=500)
    reports: list[UUID] = Field(default_factory=list, max_length=50)


class RollCallView(BaseModel):
    """A roll call, and how its nodes have answered so far, within the caller's subtree."""

    id: UUID
    schedule: str | None = Field(description="of the policy; none: asked by an office")
    question_zh: str
    question_en: str
    node: str = Field(description="the subtree that is asked")
    tiers: list[str]
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None
    counts: dict[str, int] = Field(description="nodes by state: waiting, nothing, something, unable, excused")
    drill_id: UUID | None


class SilentNode(BaseModel):
    """A node that did not answer and has not been heard from since."""

    node: str
    tier: str
    since: datetime | None = Field(description="when it was last heard from; none: never")
    alert_id: UUID | None


class RollCallDetail(RollCallView):
    """One roll call, with its counts by tier and who is silent since."""

    by_tier: dict[str, dict[str, int]] = Field(description="nodes by tier and state")
    silent: list[SilentNode]


class AnswerView(BaseModel):
    """One expected node of a roll call."""

    node: str
    tier: str
    state: Literal["waiting", "nothing", "something", "unable", "excused"]
    why: str
    reports: list[UUID]
    answered_at: datetime | None
    answered_by: str | None = Field(description="the office")
    late: bool
    silent_since: datetime | None = Field(description="when it was found silent; none: it was not")
    last_heard_at: datetime | None = Field(description="when it had last been heard from by then; none: never")
    heard_at: datetime | None = Field(description="when it was heard again")
    alert_id: UUID | None


class SilentView(BaseModel):
    """A node that has not been heard from, and how much that weighs."""

    node: str
    name: str
    tier: str
    town: str | None
    since: datetime | None = Field(description="when it was last heard from; none: never")
    last_report_at: datetime | None
    last_answer_at: datetime | None
    missed: int = Field(description="roll calls missed in a row")
    roll_call_id: UUID
    weight: int
    reasons: list[Reason]
    alert_id: UUID | None


def roll_call_view(row: Mapping[str, Any], counts: Mapping[str, int]) -> RollCallView:
    """A row of `roll_calls` and its answers' counts as the wire shows them."""
    return RollCallView(
        id=row["id"],
        schedule=row["schedule"],
        question_zh=row["question_zh"],
        question_en=row["question_en"],
        node=row["node_code"],
        tiers=row["tiers"],
        opened_at=row["opened_at"],
        due_at=row["due_at"],
        closed_at=row["closed_at"],
        counts=dict(counts),
        drill_id=row["drill_id"],
    )


def roll_call_detail(
    row: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]], silent: Sequence[Mapping[str, Any]]
) -> RollCallDetail:
    """The same with its answers' counts by tier, and those of its answers that are silence."""
    by_state: Counter[str] = Counter()
    for of_tier in counts.values():
        by_state.update(of_tier)
    return RollCallDetail(
        **dict(roll_call_view(row, by_state)),
        by_tier={tier: dict(of_tier) for tier, of_tier in counts.items()},
        silent=[
            SilentNode(node=one["node_code"], tier=one["tier"], since=one["last_heard_at"], alert_id=one["alert_id"])
            for one in silent
        ],
    )


def answer_view(row: Mapping[str, Any]) -> AnswerView:
    """A row of `roll_call_answers` as the wire shows it."""
    return AnswerView(node=row["node_code"], **{name: row[name] for name in AnswerView.model_fields if name != "node"})
