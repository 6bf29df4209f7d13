from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

DOUBT = "doubt."


class Reason(BaseModel):
    """Why a machine decided so, in words."""

    rule: str
    text: str
    text_zh: str


class Notice(BaseModel):
    """Why an act changed nothing."""

    code: str
    text: str
    text_zh: str


class Doubt(BaseModel):
    """Why a place or a time that was said cannot be right: it is shown as given, and decides nothing."""

    code: str
    text: str
    text_zh: str


class CustodyView(BaseModel):
    """One office that holds the report, or held it until it passed it on."""

    node: str
    tier: str
    since: datetime
    due_at: datetime = Field(description="to be opened by")
    state: str = Field(description="received, opened, acknowledged or forwarded")
    opened_at: datetime | None = None
    acknowledge_by: datetime | None = Field(None, description="once opened: to be taken on by")
    acknowledged_at: datetime | None = None
    bypassed_at: datetime | None = Field(None, description="it was not opened in time: the city was told over its head")
    given_by: str | None = Field(None, description="the office that returned or forwarded it here")
    note: str | None = Field(None, description="that office's question or note")
    forwarded_at: datetime | None = None
    forwarded_to: str | None = None


class LocationView(BaseModel):
    """WGS 84."""

    lat: float
    lon: float
    accuracy_m: float | None


class ReportView(BaseModel):
    """A stored report. It names offices; the account is shown to the filing node and its parent only."""

    id: UUID
    version: int
    kind: str
    node: str
    hazard: str
    urgency: str
    severity: str
    certainty: str
    observed_at: datetime = Field(description="in the world")
    submitted_at: datetime = Field(description="by the device's clock")
    received_at: datetime = Field(description="by the server's clock")
    released_at: datetime | None = Field(None, description="when its desk released it from quarantine, if it was there")
    summary: str
    description: str
    location: LocationView | None
    figures: dict[str, int | float]
    level: str
    reasons: list[Reason]
    doubts: list[Doubt] = Field(
        default_factory=list, description="of its place and times: what is doubtful is shown as given, decides nothing"
    )
    incident_id: UUID
    alert_id: UUID | None
    custody: list[CustodyView]
    masked: int = Field(description="how many personal identifiers were masked before storing")
    cleaned: int = Field(
        0, description="how many characters were left out: controls, marks of direction, what nobody sees"
    )
    filed_by: str = Field(description="the office that filed it")
    account_id: UUID | None
    drill_id: UUID | None = Field(description="the drill it belongs to; none: it is real")


def as_given(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of `reports` or of their versions with its place and times as they were said, doubtful or not."""
    given = row["given"]
    if not given:
        return row
    moments = {name: datetime.fromisoformat(given[name]) for name in ("observed_at", "submitted_at") if name in given}
    return {**row, **given, **moments}


def doubts_of(row: Mapping[str, Any]) -> list[Doubt]:
    """The doubts among a report's reasons."""
    return [
        Doubt.model_construct(code=reason["rule"].removeprefix(DOUBT), text=reason["text"], text_zh=reason["text_zh"])
        for reason in row["reasons"]
        if reason["rule"].startswith(DOUBT)
    ]


def report_view(row: Mapping[str, Any], custody: Sequence[Mapping[str, Any]], *, with_account: bool) -> ReportView:
    """A row of `reports` and its rows of `custody` as the wire shows them."""
    row = as_given(row)
    location = None
    if row["lat"] is not None:
        location = LocationView.model_construct(lat=row["lat"], lon=row["lon"], accuracy_m=row["accuracy_m"])
    return ReportView.model_construct(
        id=row["id"],
        version=row["version"],
        kind=row["kind"],
        node=row["node_code"],
        hazard=row["hazard"],
        urgency=row["urgency"],
        severity=row["severity"],
        certainty=row["certainty"],
        observed_at=row["observed_at"],
        submitted_at=row["submitted_at"],
        received_at=row["received_at"],
        released_at=row["released_at"],
        summary=row["summary"],
        description=row["description"],
        location=location,
        figures=row["figures"],
        level=row["level"],
        reasons=[Reason.model_construct(**reason) for reason in row["reasons"]],
        doubts=doubts_of(row),
        incident_id=row["incident_id"],
        alert_id=row["alert_id"],
        custody=[
            CustodyView.model_construct(
                node=held["node_code"],
                tier=held["tier"],
                since=held["since"],
                due_at=held["due_at"],
                state=held["state"],
                opened_at=held["opened_at"],
                acknowledge_by=held["acknowledge_by"],
                acknowledged_at=held["acknowledged_at"],
                bypassed_at=held["bypassed_at"],
                given_by=held["given_by"],
                note=held["note"],
                forwarded_at=held["forwarded_at"],
                forwarded_to=held["forwarded_to"],
            )
            for held in custody
        ],
        masked=row["masked"],
        cleaned=row["cleaned"],
        filed_by=row["filed_by"],
        account_id=row["account_id"] if with_account else None,
        drill_id=row["drill_id"],
    )


class ReportActed(ReportView):
    """The report after the act; when the act changed nothing, `notice` says why."""

    applied: bool
    notice: Notice | None


class HeldView(BaseModel):
    """One report that an office holds, with its deadline."""

    report_id: UUID
    node: str
    tier: str
    state: str
    since: datetime
    due_at: datetime = Field(description="to be opened by; once opened, to be taken on by")
    overdue_seconds: int = Field(description="0: it is not overdue")
    given_by: str | None
    note: str | None
    hazard: str
    level: str
    report_node: str = Field(description="the node it is of")
    summary: str


class StepView(BaseModel):
    """One step of a report's way through the offices."""

    at: datetime
    type: str
    node: str | None = Field(description="the office that acted; none: a rule did")
    tier: str | None
    to: str | None = Field(description="who holds it since")
    due_at: datetime | None
    note: str
    text: str
    text_zh: str


class StepList(BaseModel):
    """A report's way, from the first step on."""

    items: list[StepView]


class ReportChange(BaseModel):
    """One event: what became of a report.

    With `deleted` it is no longer the caller's: forget it. With `list_again` a node came or went with all its reports:
    list them again, and go on from the list's `cursor`.
    """

    cursor: str
    type: str
    at: datetime
    deleted: bool = False
    list_again: bool = False
    report: dict[str, Any] = Field(description="what it was then, and what happened: the office, the note, the time")


class ReportChanges(BaseModel):
    """What happened after a cursor, in order; ask again from `cursor`, at once when `pending` is not 0."""

    results: list[ReportChange]
    cursor: str
    pending: int


class ReportList(BaseModel):
    """One page of reports, and the end of the log it was read at."""

    items: list[ReportView]
    next: str | None = None
    cursor: str = Field(description="follow the changes from here")
