"""A report is corrected: a new version, triaged again. What it said before stays readable; no alert is lowered."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.database import Contention, Database
from app.core.errors import Problem
from app.feed import service as feed
from app.hazards.policy import Policy
from app.intake import applying, holding
from app.intake.applying import Corrected, moves
from app.intake.submission import Submission
from app.intake.views import quarantine_view
from app.reports import service as reports
from app.reports import versions
from app.reports.views import report_view

TRIES = 20


async def node_of(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> str:
    """The node of a report of the caller's city that is stored or held; a Problem (404) when there is none."""
    found = await reports.stored(conn, city_id=caller.city_id, report_id=report_id)
    row = found[0] if found else await holding.known(conn, city_id=caller.city_id, held_id=report_id)
    if row is None:
        raise Problem(problems.NOT_FOUND)
    node: str = row["node_code"]
    return node


async def correct(
    database: Database, *, policy: Policy, submission: Submission, node: str, base_version: int, now: datetime
) -> Corrected:
    """Store the next version of a report of `node` that stands at `base_version`; the same again changes nothing.

    Written in time by an office that may not send it any more, it is held; to any other office it is a Problem (404).
    Also a Problem (409) with both versions when another correction was first, (422) when it would change what a
    correction cannot.
    """
    for _ in range(TRIES):
        try:
            async with database.writing() as conn:
                here = submission.caller.node in (await applying.place_of(conn, node)).path
                if submission.node != node:
                    raise moves("node") if here else Problem(problems.NOT_FOUND)
                if submission.caller.lapse is not None or not here:
                    return await _late(conn, policy, submission, base_version, now)
                return await applying.apply(
                    conn, policy=policy, one=submission, base_version=base_version, reader=submission.caller, now=now
                )
        except Contention:
            # A desk moved the report to another incident, or acted on its alert, at this very moment.
            continue
    raise Contention


async def _late(conn: AsyncConnection, policy: Policy, one: Submission, base_version: int, now: datetime) -> Corrected:
    """What becomes of a correction whose sender may not send it any more: known already, or held."""
    city_id = one.caller.city_id
    found = await reports.stored(conn, city_id=city_id, report_id=one.id)
    if found is not None:
        then = await versions.said(conn, row=found[0], digest=one.digest)
        if then is not None:
            # Who may not read it any more learns what he said, and that it is stored.
            return Corrected("replayed", report_view(then, [], with_account=False))
    waiting = await holding.known(conn, city_id=city_id, held_id=holding.correction_id(one, base_version))
    if waiting is None or waiting["filed_by"] != one.caller.node:
        refused = None if one.caller.lapse else Problem(problems.NOT_FOUND)
        before = found[0] if found else await holding.known(conn, city_id=city_id, held_id=one.id)
        waiting, event = await holding.hold(
            conn, one, refused=refused, policy=policy, now=now, base_version=base_version
        )
        # Told to those only who were entitled: what could never be released is not taken.
        if before is None or before["drill_id"] != one.drill_id:
            raise moves("drill_id")
        version = found[0]["version"] if found is not None else 1
        if base_version > version + await holding.corrections(conn, city_id=city_id, report_id=one.id):
            raise Problem(problems.VERSION_CONFLICT, version=version)
        if event is not None:
            await feed.append(conn, city_id=city_id, operations=[[event]], now=now)
    return Corrected("quarantined", receipt=quarantine_view(waiting))
