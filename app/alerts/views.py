from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.alerts.escalation import plan, targets
from app.alerts.new_offices import uncovered
from app.core.caller import Caller, may_know_person
from app.core.times import Time
from app.reports.views import Notice, Reason

# Those of an alert's fields that name an owner.
OWNERS = ("owner", "last_owner")


class AlertNode(BaseModel):
    """Where: the node, and the codes from the city down to it when the alert was raised."""

    code: str
    name: str
    path: list[str]


class Owner(BaseModel):
    """The office that took the alert on."""

    node: str
    name: str | None = None
    label: str | None = Field(None, description="its sign-in: for people of that office and the one above alone")
    at: datetime


class NewOffice(BaseModel):
    """An office that reported the alert after it had been acknowledged."""

    code: str
    name: str


class Escalation(BaseModel):
    """The alert's place in its escalation, by the policy it was raised under."""

    step: int = Field(description="the last step reached, repeats counted on")
    next_at: datetime | None
    to: list[str] = Field(default_factory=list, description="whom that step puts it before")


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
                "until": None,
                "escalation": {"step": 1, "next_at": "2018-08-19T20:17:03Z", "to": ["town.desk", "city.desk"]},
                "reports": 1,
                "close_reason": None,
                "origin": "reports",
                "drill_id": None,
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
    last_owner: Owner | None = Field(
        None, description="who had acknowledged it when another office raised it again, and is asked first"
    )
    new_offices: list[NewOffice] = Field(
        default_factory=list, description="those that reported it since: one acknowledgement covers them all"
    )
    until: datetime | None = Field(None, description="the acknowledgement lasts until then; none: until it is closed")
    escalation: Escalation
    reports: int
    close_reason: str | None
    origin: str = Field("reports", description="reports, or what a machine found: silence, detection")
    drill_id: UUID | None = Field(None, description="the drill it belongs to; none: it is real")


class AlertActed(AlertView):
    """The alert after the act; when the act changed nothing, `notice` says why."""

    applied: bool
    notice: Notice | None


class StepView(BaseModel):
    """One step in the alert's life."""

    version: int
    at: datetime
    type: str
    node: str | None = Field(description="the office that acted; none: a rule did")
    tier: str | None
    step: int = Field(description="of the escalation, after this")
    text: str
    text_zh: str


class Timeline(BaseModel):
    """What happened to an alert, in order, from its raising on."""

    items: list[StepView]


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


class AcknowledgeAlert(BaseModel):
    """How long the alert is taken on for; without `until`, until it is closed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"until": "2018-08-19T20:42:00Z"}})

    until: Time | None = None


class NoteAlert(BaseModel):
    """A word to those who see the alert next."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"note": "【演练】冲锋舟不足，请市里支援"}})

    note: str = Field("", max_length=200)


class EscalateAlert(NoteAlert):
    """From which step it is sent up, and a word to those who see it next."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"from_step": 1, "note": "【演练】冲锋舟不足，请市里支援"}}
    )

    from_step: int | None = Field(None, ge=0, description="the step that was seen; at another one nothing is changed")


class CloseAlert(BaseModel):
    """Why the alert is over."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "Water below the warning mark."}}
    )

    reason: str = Field(min_length=1, max_length=500)


def alert_view(row: Mapping[str, Any], caller: Caller | None = None) -> AlertView:
    """A row of `alerts` as the wire shows it to a caller, or, without one, to everybody."""
    return AlertView.model_construct(**_fields(row, caller))


def alert_acted(row: Mapping[str, Any], caller: Caller, notice: Notice | None = None) -> AlertActed:
    """A row of `alerts` as the answer to an act; with a notice, nothing was changed."""
    return AlertActed.model_construct(**_fields(row, caller), applied=notice is None, notice=notice)


def alert_body(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `alerts` as the feed keeps it: of an owner with all that `alert_told` decides by."""
    body = alert_view(row).model_dump(mode="json")
    for name in OWNERS:
        if row[name]:
            body[name] |= {"label": row[name]["label"], "above": row[name].get("above")}
    return body


def alert_told(body: Mapping[str, Any], caller: Caller) -> AlertView:
    """An event's body as it is told to a caller."""
    view = AlertView.model_validate(body)
    for name in OWNERS:
        if body.get(name):
            setattr(view, name, owner_view(body[name], caller))
    return view


def owner_view(owner: Mapping[str, Any], caller: Caller | None) -> Owner:
    """An owner as it is kept, with its sign-in only for a caller who may know it."""
    found = Owner.model_validate(owner)
    if caller is None or not may_know_person(caller, office=found.node, above=owner.get("above")):
        found.label = None
    return found


def step_view(row: Mapping[str, Any]) -> StepView:
    """A row of `alert_steps` as the wire shows it."""
    return StepView(node=row["node_code"], **{name: row[name] for name in StepView.model_fields if name != "node"})


def raised_step(alert: AlertView) -> StepView:
    """How every timeline begins: the alert's own row tells it."""
    return StepView(
        version=1,
        at=alert.raised_at,
        type="alert.raised",
        node=None,
        tier=None,
        step=1,
        text="The alert was raised.",
        text_zh="警报已触发。",
    )


def _fields(row: Mapping[str, Any], caller: Caller | None) -> dict[str, Any]:
    found = plan(row["policy"], row["level"])
    return {
        "id": row["id"],
        "version": row["version"],
        "level": row["level"],
        "state": row["state"],
        "incident_id": row["incident_id"],
        "node": AlertNode.model_construct(code=row["node_code"], name=row["node_name"], path=row["path"]),
        "hazard": row["hazard"],
        "headline": row["headline"],
        "reasons": [Reason.model_construct(**reason) for reason in row["reasons"]],
        "raised_at": row["raised_at"],
        "due_at": row["due_at"],
        "owner": owner_view(row["owner"], caller) if row["owner"] else None,
        "last_owner": owner_view(row["last_owner"], caller) if row["last_owner"] else None,
        "new_offices": [NewOffice.model_construct(code=code, name=name) for code, name in uncovered(row).items()]
        if row["last_owner"] or row["gathered_until"]
        else [],
        "until": row["until"],
        "escalation": Escalation.model_construct(
            step=row["escalation_step"],
            next_at=row["escalation_next_at"],
            to=list(targets(found, row["escalation_step"])),
        ),
        "reports": row["reports"],
        "close_reason": row["close_reason"],
        "origin": row["origin"],
        "drill_id": row["drill_id"],
    }
