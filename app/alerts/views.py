from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.reports.views import Reason


class AlertNode(BaseModel):
    """Where: the node, and the codes from the city down to it when the alert was raised."""

    code: str
    name: str
    path: list[str]


class Owner(BaseModel):
    """The office that took the alert on, and its sign-in."""

    node: str
    label: str
    at: datetime


class Escalation(BaseModel):
    """The alert's place in its escalation."""

    step: int
    next_at: datetime | None


class AlertView(BaseModel):
    """An alert; idempotent by (id, version)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199a4c2-7f30-7000-8000-3f1f0c9d2a11",
                "version": 1,
                "level": "red",
                "state": "raised",
                "incident_id": "0199a4c2-7f2e-7000-8000-52b8a1d0c3e4",
                "node": {
                    "code": "370783108201",
                    "name": "示例村",
                    "path": ["370783000000", "370783108000", "370783108201"],
                },
                "hazard": "flood.river",
                "headline": "【演练】河水漫堤，12 人被困",
                "reasons": [{"rule": "triad", "text": "Immediate, Severe, Observed", "text_zh": "紧急、严重、已观测"}],
                "raised_at": "2018-08-19T20:12:03Z",
                "due_at": "2018-08-19T20:17:03Z",
                "owner": None,
                "escalation": {"step": 0, "next_at": None},
                "reports": 1,
                "close_reason": None,
            }
        }
    )

    id: UUID
    version: int
    level: str
    state: Literal["raised", "acknowledged", "closed"]
    incident_id: UUID
    node: AlertNode
    hazard: str
    headline: str
    reasons: list[Reason]
    raised_at: datetime
    due_at: datetime | None = Field(description="to be acknowledged by")
    owner: Owner | None
    escalation: Escalation
    reports: int
    close_reason: str | None


class AlertList(BaseModel):
    """Alerts and the place in the city's log they were read at, both of one moment."""

    items: list[AlertView]
    cursor: str = Field(description="pass to /v1/alerts/changes as `since`")
    next: str | None = Field(description="pass as `cursor` for the next page")
    server_time: datetime
    last_event_at: datetime | None


class AlertChange(BaseModel):
    """One event: what happened to an alert, and the alert as it was then."""

    cursor: str
    type: str
    at: datetime
    alert: AlertView


class AlertChanges(BaseModel):
    """What happened after a cursor, in order; ask again from `cursor`, at once when `pending` is not 0."""

    results: list[AlertChange]
    cursor: str
    pending: int


class CloseAlert(BaseModel):
    """Why the alert is over."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "Water below the warning mark."}}
    )

    reason: str = Field(min_length=1, max_length=500)


def alert_view(row: Mapping[str, Any]) -> AlertView:
    """A row of `alerts` as the wire and the feed show it."""
    return AlertView.model_construct(
        id=row["id"],
        version=row["version"],
        level=row["level"],
        state=row["state"],
        incident_id=row["incident_id"],
        node=AlertNode.model_construct(code=row["node_code"], name=row["node_name"], path=row["path"]),
        hazard=row["hazard"],
        headline=row["headline"],
        reasons=[Reason.model_construct(**reason) for reason in row["reasons"]],
        raised_at=row["raised_at"],
        due_at=row["due_at"],
        owner=Owner.model_validate(row["owner"]) if row["owner"] else None,
        escalation=Escalation.model_construct(step=row["escalation_step"], next_at=row["escalation_next_at"]),
        reports=row["reports"],
        close_reason=row["close_reason"],
    )
