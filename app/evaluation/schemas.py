from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.drills.views import DrillView, drill_view
from app.evaluation.drills import Scored
from app.evaluation.ledger import Period
from app.evaluation.ledger_figures import Entry, Figure, seconds
from app.evaluation.scoring import WORDS


class FigureView(BaseModel):
    """How long one part of the warning took, over the reports for which it has happened."""

    figure: str = Field(description="raised, carried.TIER, opened.TIER, acknowledged.any or acknowledged.TIER")
    count: int = Field(description="reports that it concerns")
    missing: int = Field(description="of those, the ones for which it has not happened yet")
    p50_s: float | None = Field(description="seconds, nearest rank")
    p90_s: float | None
    worst_s: float | None


class WarningRow(BaseModel):
    """An urgent report, and by figure the seconds from its receipt; null: it has not happened yet."""

    report_id: UUID
    node: str
    level: str
    received_at: datetime
    alert_id: UUID | None
    seconds: dict[str, float | None] = Field(description="a figure that does not concern the report is left out")


class WarningLedger(BaseModel):
    """Of all reports at orange or red received in a period: how they were warned of, and how fast."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "from": "2018-08-19T12:00:00Z",
                "to": "2018-08-20T12:00:00Z",
                "drill_id": None,
                "reports": 1,
                "alerted": 1,
                "figures": [
                    {"figure": "raised", "count": 1, "missing": 0, "p50_s": 0.01, "p90_s": 0.01, "worst_s": 0.01},
                    {"figure": "opened.town", "count": 1, "missing": 1, "p50_s": None, "p90_s": None, "worst_s": None},
                ],
                "rows": [
                    {
                        "report_id": "0199a4c2-7f30-7000-8000-52b8a1d0c3e4",
                        "node": "370783108201",
                        "level": "red",
                        "received_at": "2018-08-19T20:12:03Z",
                        "alert_id": "0199a4c2-7f30-7000-8000-3f1f0c9d2a11",
                        "seconds": {"raised": 0.01, "carried.city": 1.4, "opened.town": None},
                    }
                ],
                "next": None,
            }
        }
    )

    since: datetime | None = Field(serialization_alias="from", description="received at or after")
    until: datetime | None = Field(serialization_alias="to", description="received before")
    drill_id: UUID | None = Field(description="the drill it is about; none: the real")
    reports: int
    alerted: int = Field(description="of those, the ones that have an alert: all")
    figures: list[FigureView]
    rows: list[WarningRow]
    next: str | None = Field(description="pass as `cursor` for the rows after")


class ScorePart(BaseModel):
    """One part of the evaluation."""

    part: str
    text: str
    text_zh: str
    weight: int
    count: int = Field(description="how many there were to judge")
    in_time: int
    pending: int = Field(description="not judged: their deadline had not come")


class DrillScore(BaseModel):
    """How timely the offices of a drill were, as known at `as_of`; it is never about people."""

    drill: DrillView
    as_of: datetime
    reports: int = Field(description="urgent ones")
    total: float | None = Field(description="0 to 100: the parts' shares by weight, those of none left out")
    parts: list[ScorePart]
    bypassed: list[str] = Field(description="codes of the offices that left a report unopened past their time")


def warning_ledger(
    period: Period, found: Sequence[Entry], figures: Sequence[Figure], rows: Sequence[Entry], after: str | None
) -> WarningLedger:
    """The period's ledger with one page of its rows."""
    return WarningLedger(
        since=period.since,
        until=period.until,
        drill_id=period.drill,
        reports=len(found),
        alerted=sum(entry.alert_id is not None for entry in found),
        figures=[figure_view(one) for one in figures],
        rows=[warning_row(entry) for entry in rows],
        next=after,
    )


def figure_view(figure: Figure) -> FigureView:
    """A figure as the wire shows it."""
    return FigureView(
        figure=figure.name,
        count=figure.count,
        missing=figure.missing,
        p50_s=figure.p50,
        p90_s=figure.p90,
        worst_s=figure.worst,
    )


def warning_row(entry: Entry) -> WarningRow:
    """A row of the ledger as the wire shows it."""
    return WarningRow(
        report_id=entry.report_id,
        node=entry.node,
        level=entry.level,
        received_at=entry.received_at,
        alert_id=entry.alert_id,
        seconds=seconds(entry),
    )


def drill_score(scored: Scored) -> DrillScore:
    """A drill's evaluation as the wire shows it."""
    return DrillScore(
        drill=drill_view(scored.drill),
        as_of=scored.as_of,
        reports=scored.reports,
        total=scored.total,
        parts=[
            ScorePart(
                part=part.name,
                text=WORDS[part.name][0],
                text_zh=WORDS[part.name][1],
                weight=part.weight,
                count=part.count,
                in_time=part.in_time,
                pending=part.pending,
            )
            for part in scored.parts
        ],
        bypassed=scored.bypassed,
    )
