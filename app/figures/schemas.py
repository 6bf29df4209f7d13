from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.figures.offices import Office
from app.figures.rollup import Cell, Source, Total, number
from app.figures.service import Rolled
from app.hazards.figures import FIGURES

Number = int | float


class OfficeView(BaseModel):
    """An office."""

    code: str
    name: str
    tier: str
    parent: str | None


class _Named(BaseModel):
    figure: str
    zh: str
    en: str
    unit: str
    value: Number = Field(description="Cumulative. Zero is a figure; one that nobody gave is absent.")


class FigureView(_Named):
    """One figure of one office in one incident."""

    source: Source = Field(description="verified: the office's final report; sum: of its children; own: its latest")
    reports: list[UUID] = Field(description="the office's reports that it rests on; of a sum, see the rows below")
    own: Number | None = Field(description="what the office last said itself, where that is not what counts")
    children_sum: Number | None = Field(description="what its children add up to, where its own figure counts")
    children_changed_since: bool = Field(description="a child spoke of this figure after the office verified it")
    merged: list[str] = Field(description="offices that are part of this one and whose own figures are added")


class TotalView(_Named):
    """One figure of one office in several incidents."""

    source: Source = Field(description="what all incidents have in common; sum otherwise")
    incidents: int = Field(description="in how many incidents this office has it")
    verified: int = Field(description="in how many of them it is verified")
    children_changed_since: int = Field(description="in how many a child spoke of it after it was verified")


class FiguresRow(BaseModel):
    """One office with its figures in one incident."""

    office: OfficeView
    figures: list[FigureView]


class TotalsRow(BaseModel):
    """One office with its figures in several incidents."""

    office: OfficeView
    figures: list[TotalView]


class _Moment(BaseModel):
    as_of: datetime = Field(description="what was known at this moment")
    borders: Literal["then", "today"]
    day: date = Field(description="whose borders they are")
    reports: int = Field(description="how many reports they rest on")
    left_out: int = Field(description="offices of the subtree under these borders whose reports you may not see today")


class IncidentFigures(_Moment):
    """One incident's figures in the caller's subtree: the total first, then towns, each before its villages."""

    incident_id: UUID = Field(description="an alias answers for the incident that it was merged into")
    total: list[FigureView]
    rows: list[FiguresRow]


class PeriodFigures(_Moment):
    """The figures of all incidents of a period: different incidents add, within one nothing does."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    incidents: int
    total: list[TotalView]
    rows: list[TotalsRow]


def incident_figures(incident_id: UUID, found: Rolled[Cell]) -> IncidentFigures:
    """One incident's figures as the wire shows them."""
    rows = [
        FiguresRow(
            office=_office(row.office), figures=[_cell(name, row.figures[name]) for name in _in_order(row.figures)]
        )
        for row in found.rows
    ]
    return IncidentFigures(
        incident_id=incident_id,
        as_of=found.as_of,
        borders=found.borders,
        day=found.day,
        reports=found.reports,
        left_out=found.left_out,
        total=rows[0].figures,
        rows=rows,
    )


def period_figures(since: datetime, until: datetime, found: Rolled[Total]) -> PeriodFigures:
    """A period's figures as the wire shows them."""
    rows = [
        TotalsRow(
            office=_office(row.office), figures=[_total(name, row.figures[name]) for name in _in_order(row.figures)]
        )
        for row in found.rows
    ]
    return PeriodFigures(
        since=since,
        until=until,
        incidents=found.incidents,
        as_of=found.as_of,
        borders=found.borders,
        day=found.day,
        reports=found.reports,
        left_out=found.left_out,
        total=rows[0].figures,
        rows=rows,
    )


def _in_order(figures: Mapping[str, object]) -> list[str]:
    return [name for name in FIGURES if name in figures]


def _office(office: Office) -> OfficeView:
    return OfficeView(code=office.code, name=office.name, tier=office.tier, parent=office.parent)


def _named(name: str, amount: Decimal) -> dict[str, Any]:
    figure = FIGURES[name]
    return {
        "figure": name,
        "zh": figure.zh,
        "en": figure.en,
        "unit": figure.unit,
        "value": number(name, amount),
    }


def _cell(name: str, cell: Cell) -> FigureView:
    return FigureView(
        **_named(name, cell.amount),
        source=cell.source,
        reports=list(cell.reports),
        own=None if cell.own is None else number(name, cell.own),
        children_sum=None if cell.children_sum is None else number(name, cell.children_sum),
        children_changed_since=cell.children_changed_since,
        merged=list(cell.merged),
    )


def _total(name: str, total: Total) -> TotalView:
    return TotalView(
        **_named(name, total.amount),
        source=total.source,
        incidents=total.incidents,
        verified=total.verified,
        children_changed_since=total.changed,
    )
