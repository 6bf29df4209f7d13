"""Every version of a report: what it said before it was corrected, and what it says now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.reports import service
from app.reports.models import ReportVersion
from app.reports.views import Doubt, LocationView, Reason, as_given, doubts_of


class VersionView(BaseModel):
    """What a report said from `since` until `until`, and the office that said so."""

    version: int
    since: datetime
    until: datetime | None = Field(description="none: it stands")
    by: str
    kind: str
    hazard: str
    urgency: str
    severity: str
    certainty: str
    observed_at: datetime
    submitted_at: datetime
    summary: str
    description: str
    location: LocationView | None
    figures: dict[str, int | float]
    level: str
    reasons: list[Reason]
    doubts: list[Doubt]
    masked: int
    cleaned: int


class Versions(BaseModel):
    """The versions of one report, the first one first."""

    items: list[VersionView]


async def of_report(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> list[VersionView]:
    """All versions of a report that the caller may see, the first one first; a Problem (404) otherwise."""
    row = await service.readable(conn, caller=caller, report_id=report_id)
    before = await conn.execute(
        select(*ReportVersion.__table__.columns)
        .where(ReportVersion.city_id == caller.city_id, ReportVersion.report_id == report_id)
        .order_by(ReportVersion.version)
    )
    stands = {
        **row,
        "since": row["corrected_at"] or row["released_at"] or row["received_at"],
        "until": None,
        "by": row["corrected_by"] or row["filed_by"],
    }
    return [_view(one) for one in (*(old._asdict() for old in before), stands)]


async def said(conn: AsyncConnection, *, row: Mapping[str, Any], digest: str) -> Mapping[str, Any] | None:
    """A report's row as it was when it said this, now or before it was corrected; None: it never did."""
    if row["digest"] == digest:
        return row
    query = select(*ReportVersion.__table__.columns).where(
        ReportVersion.city_id == row["city_id"],
        ReportVersion.report_id == row["id"],
        ReportVersion.digest == digest,
    )
    before = (await conn.execute(query.order_by(ReportVersion.version).limit(1))).one_or_none()
    return None if before is None else {**row, **before._asdict()}


def _view(row: Mapping[str, Any]) -> VersionView:
    row = as_given(row)
    location = None
    if row["lat"] is not None:
        location = LocationView(lat=row["lat"], lon=row["lon"], accuracy_m=row["accuracy_m"])
    same = {name: row[name] for name in VersionView.model_fields if name not in ("location", "reasons", "doubts")}
    reasons = [Reason(**reason) for reason in row["reasons"]]
    return VersionView(**same, location=location, reasons=reasons, doubts=doubts_of(row))
