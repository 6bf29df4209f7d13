import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import UUID7, BaseModel, BeforeValidator, ConfigDict, Field

from app.core.times import AnyTime
from app.hazards.cap import Certainty, Severity, Urgency
from app.intake.views import QuarantineView
from app.nodes.models import CODE_PATTERN
from app.reports.views import ReportView

Count = Annotated[int, Field(ge=0, le=100_000_000, strict=True)]
Measure = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False, strict=True)]

_HALF = re.compile("[\ud800-\udfff]")


def _of_whole_characters(value: object) -> object:
    # Some devices cut a text in the middle of a character that takes two units. Its half becomes U+FFFF, which is no
    # character either, but can be handled: it is left out, and counted, as all such are.
    return _HALF.sub("\uffff", value) if isinstance(value, str) else value


Typed = Annotated[str, BeforeValidator(_of_whole_characters)]


class Location(BaseModel):
    """WGS 84."""

    model_config = ConfigDict(extra="forbid")

    lat: float = Field(ge=-90, le=90, allow_inf_nan=False, strict=True)
    lon: float = Field(ge=-180, le=180, allow_inf_nan=False, strict=True)
    accuracy_m: float | None = Field(None, ge=0, le=100_000, allow_inf_nan=False, strict=True)


class Figures(BaseModel):
    """Counts and measures, cumulative for the incident; never names."""

    model_config = ConfigDict(extra="forbid")

    affected: Count | None = None
    dead: Count | None = None
    missing: Count | None = None
    injured: Count | None = None
    trapped: Count | None = None
    relocated: Count | None = None
    water_short: Count | None = None
    houses_collapsed: Count | None = None
    houses_damaged: Count | None = None
    crop_area_affected_ha: Measure | None = None
    crop_area_lost_ha: Measure | None = None
    direct_loss_cny: Measure | None = None


class ReportIn(BaseModel):
    """What one node says of one event at one time."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": "01655482-2580-7000-8000-52b8a1d0c3e4",
                "kind": "initial",
                "node": "370783108201",
                "hazard": "flood.river",
                "urgency": "Immediate",
                "severity": "Severe",
                "certainty": "Observed",
                "observed_at": "2018-08-20T04:10:00+08:00",
                "submitted_at": "2018-08-20T04:12:00+08:00",
                "summary": "【演练】弥河漫堤，村北 12 人被困",
                "location": {"lat": 36.9, "lon": 118.9, "accuracy_m": 30},
                "figures": {"affected": 320, "trapped": 12, "relocated": 0},
            }
        },
    )

    id: UUID7 = Field(description="made by the device; sending the same report again is safe")
    kind: Literal["initial", "followup", "final"] = "initial"
    node: str | None = Field(
        None, pattern=CODE_PATTERN, description="a node of the caller's subtree; its own by default"
    )
    hazard: str = Field(max_length=40)
    urgency: Urgency = Urgency.UNKNOWN
    severity: Severity = Severity.UNKNOWN
    certainty: Certainty = Certainty.UNKNOWN
    observed_at: AnyTime | None = Field(None, description="submitted_at by default")
    submitted_at: AnyTime
    summary: Typed | None = Field(
        None, description="the hazard's name by default; what is beyond 400 characters is told in the description"
    )
    description: Typed = Field("", description="of more than 20,000 characters the first")
    location: Location | None = None
    figures: Figures = Field(default_factory=Figures)
    incident_id: UUID | None = None
    drill_id: UUID | None = Field(None, description="the drill that it belongs to; without it, it is real")


class CorrectionIn(ReportIn):
    """What a stored report is to say instead, all of it; of what it was corrected from, the version."""

    base_version: int = Field(ge=1, lt=2**31 - 1, strict=True, description="the version that it corrects")


class Batch(BaseModel):
    """Reports and corrections kept while there was no signal. Each is taken or refused by itself."""

    model_config = ConfigDict(extra="forbid")

    reports: list[Any] = Field(
        min_length=1,
        max_length=500,
        description="each as in POST /v1/reports; with base_version it corrects a stored report, as PUT does",
    )


class BatchResult(BaseModel):
    """What became of one report of a batch."""

    id: str | None
    status: Literal["created", "replayed", "updated", "conflict", "quarantined", "rejected"]
    report: ReportView | None = None
    receipt: QuarantineView | None = None
    problem: dict[str, Any] | None = None


class BatchResults(BaseModel):
    """In the order of the batch."""

    results: list[BatchResult]


class Decision(BaseModel):
    """Why an office releases or rejects what is held."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"note": "【演练】已电话核实"}})

    note: str = Field("", max_length=500)


class Rejection(BaseModel):
    """Why an office rejects what is held: the sender reads it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"note": "【演练】与 3 号报告重复"}})

    note: str = Field(min_length=1, max_length=500)
