"""What a desk does with reports that are held: read, release, reject."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import Account
from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import Contention, Database
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.feed import service as feed
from app.hazards.cap import Certainty, Severity, Urgency
from app.hazards.catalogue import HAZARDS
from app.hazards.policy import Policy
from app.intake import applying, holding
from app.intake.models import Quarantined
from app.intake.service import AlreadyStored, accept, settle
from app.intake.submission import Submission
from app.intake.views import QuarantineView, quarantine_view
from app.nodes import lookup
from app.nodes.scope import visible
from app.reports import service as reports
from app.reports.views import ReportView

TRIES = 20


async def list_held(
    conn: AsyncConnection, *, caller: Caller, state: str, drill_id: UUID | None, limit: int, cursor: str | None
) -> tuple[list[QuarantineView], str | None]:
    """What is held, or was, for the caller's subtree or its desks, the first due first; the next page's cursor."""
    query = select(*holding.COLUMNS).where(
        _readable(caller), Quarantined.state == state, of_drill(Quarantined, drill_id)
    )
    if cursor is not None:
        query = query.where(tuple_(Quarantined.due_at, Quarantined.id) > paging.decode_moment("quarantine", cursor))
    rows = (await conn.execute(query.order_by(Quarantined.due_at, Quarantined.id).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("quarantine", rows[-1].due_at, rows[-1].id)
    return [quarantine_view(row._asdict()) for row in rows], after


async def get(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> QuarantineView:
    """One report that is held, or was; a Problem (404) when the caller may not see it."""
    return quarantine_view(await _one(conn, select(*holding.COLUMNS).where(_readable(caller)), report_id))


async def release(
    database: Database, *, policy: Policy, caller: Caller, report_id: UUID, note: str, now: datetime
) -> ReportView:
    """Store a report that is held, with all it causes; again, it answers the same report.

    A Problem (404) when its desk is not in the caller's subtree, (409) when it was rejected, or what accepting it says.
    """
    for _ in range(TRIES):
        try:
            async with database.writing() as conn:
                return await _release(conn, policy=policy, caller=caller, report_id=report_id, note=note, now=now)
        except (Contention, AlreadyStored):
            # Another writer was first, maybe with this very report.
            continue
    raise Contention


async def reject(conn: AsyncConnection, *, caller: Caller, report_id: UUID, note: str, now: datetime) -> QuarantineView:
    """Refuse a report that is held, with the reason; again, it changes nothing. Problems as `release`."""
    row = await _locked(conn, caller, report_id)
    if row["state"] == "released":
        raise await _decided(conn, row)
    if row["state"] == "held":
        row = await _decide(conn, row, caller, "rejected", note, now)
        # Where it came another way the report stays: only what was held of it is gone.
        stays = await reports.stored(conn, city_id=row["city_id"], report_id=row["id"]) is not None
        happened = holding.event("report.dismissed" if stays else "report.rejected", row)
        await feed.append(conn, city_id=row["city_id"], operations=[[happened]], now=now)
        # Looked up while the log is held: whoever stores it another way tells of it before this, or after.
        if not stays and await reports.stored(conn, city_id=row["city_id"], report_id=row["id"]) is not None:
            raise Problem(problems.STORED_MEANWHILE)
    return quarantine_view(row)


async def _release(
    conn: AsyncConnection, *, policy: Policy, caller: Caller, report_id: UUID, note: str, now: datetime
) -> ReportView:
    row = await _locked(conn, caller, report_id)
    if row["state"] == "rejected":
        raise await _decided(conn, row)
    submission = await _submission(conn, row, now)
    if row["report_id"] is None:
        await _store(conn, policy, submission, now)
        report = await reports.get(conn, caller=caller, report_id=submission.id)
    else:
        report = await _correct(conn, policy, submission, row, caller, now)
    if row["state"] == "held":
        row = await _decide(conn, row, caller, "released", note, now)
        await feed.append(conn, city_id=row["city_id"], operations=[[holding.event("report.released", row)]], now=now)
    return report


async def _store(conn: AsyncConnection, policy: Policy, submission: Submission, now: datetime) -> None:
    result = await settle(conn, submission)
    if result is None:
        (result,) = await accept(conn, policy=policy, submissions=[submission], now=now)
    if result.problem is not None and result.problem.kind is problems.INCIDENT_UNKNOWN:
        # It named an incident that is not its office's to see: then where it belongs is decided as of any other.
        (result,) = await accept(conn, policy=policy, submissions=[replace(submission, incident_id=None)], now=now)
    if result.problem is not None:
        raise result.problem


async def _correct(
    conn: AsyncConnection, policy: Policy, submission: Submission, row: holding.Row, caller: Caller, now: datetime
) -> ReportView:
    found = await reports.stored(conn, city_id=row["city_id"], report_id=row["report_id"])
    if found is None:
        raise Problem(problems.REPORT_FIRST)
    base = await holding.base_of(conn, row, version=found[0]["version"])
    done = await applying.apply(conn, policy=policy, one=submission, base_version=base, reader=caller, now=now)
    assert done.report is not None
    return done.report


async def _locked(conn: AsyncConnection, caller: Caller, report_id: UUID) -> holding.Row:
    mine = visible(caller, Quarantined, Quarantined.desk_code)
    if caller.tier != "village":
        # The node may have come under another office while it was held.
        mine = or_(mine, and_(visible(caller, Quarantined), Quarantined.node_code != caller.node))
    return await _one(conn, select(*holding.COLUMNS).where(mine).with_for_update(), report_id)


async def _one(conn: AsyncConnection, query: Any, report_id: UUID) -> holding.Row:
    row = (await conn.execute(query.where(Quarantined.id == report_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    found: holding.Row = row._asdict()
    return found


async def _decide(
    conn: AsyncConnection, row: holding.Row, caller: Caller, state: str, note: str, now: datetime
) -> holding.Row:
    decided = {"state": state, "decided_at": now, "decided_by": caller.node, "note": note}
    await conn.execute(
        update(Quarantined).where(Quarantined.city_id == row["city_id"], Quarantined.id == row["id"]).values(decided)
    )
    return {**row, **decided}


async def _decided(conn: AsyncConnection, row: holding.Row) -> Problem:
    office = (await lookup.places(conn, {row["decided_by"]}))[row["decided_by"]]
    return Problem(problems.ALREADY_DECIDED, office=office.name, state=row["state"])


async def _submission(conn: AsyncConnection, row: holding.Row, now: datetime) -> Submission:
    """What was held, as it came."""
    said = row["body"]
    urgency, severity, certainty = said["triad"]
    lat, lon, accuracy_m = said["location"] or (None, None, None)
    account = select(Account.id).where(Account.id == row["sign_in_id"], Account.city_id == row["city_id"])
    by_account = (await conn.execute(account)).scalar_one_or_none()
    office = (await lookup.places(conn, {row["filed_by"]}))[row["filed_by"]]
    return Submission(
        caller=Caller(
            row["city_id"], office.code, office.tier, frozenset(), "", account_id=by_account, key_id=row["sign_in_id"]
        ),
        id=row["report_id"] or row["id"],
        kind=said["kind"],
        node=said["node"],
        hazard=HAZARDS[said["hazard"]],
        urgency=Urgency(urgency),
        severity=Severity(severity),
        certainty=Certainty(certainty),
        observed_at=datetime.fromisoformat(said["observed_at"]),
        submitted_at=row["submitted_at"],
        received_at=row["received_at"],
        summary=said["summary"],
        description=said["description"],
        lat=lat,
        lon=lon,
        accuracy_m=accuracy_m,
        figures=said["figures"],
        incident_id=UUID(said["incident_id"]) if said["incident_id"] else None,
        drill_id=row["drill_id"],
        masked=said["masked"],
        # What was held before this was counted says nothing of it.
        cleaned=said.get("cleaned", 0),
        digest=row["digest"],
        said=said,
        released_at=now,
    )


def _readable(caller: Caller) -> ColumnElement[bool]:
    """What is held is seen by the desk that decides and above it, and where the node itself is seen."""
    return or_(visible(caller, Quarantined, Quarantined.desk_code), visible(caller, Quarantined))
