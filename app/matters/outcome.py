"""Who leads, and how it ended: a matter stays on the ledger until it has an outcome."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.clock import ZONE, day_of
from app.core.database import Database
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.incidents.views import Outcome, incident_view, is_ended
from app.matters import held, written
from app.matters.held import Held, Row
from app.matters.merging import ended
from app.matters.trying import trying
from app.matters.views import ENDED, IS_OPEN, LEADS, Acted
from app.matters.written import Log
from app.nodes import lookup
from app.reports.events import event as report_event
from app.reports.views import Notice


async def assign(
    database: Database,
    *,
    caller: Caller,
    incident_id: UUID,
    node: str,
    due_at: datetime | None,
    note: str,
    version: int | None = None,
    now: datetime,
) -> Acted:
    """Let an office of the caller's subtree lead, to settle it by `due_at`; the same again changes nothing.

    A Problem (422) for an office that is not there or a time that has passed, (403, 409) as for every act.
    """

    async def act(conn: AsyncConnection) -> Acted:
        found, row = await _hold(conn, caller, incident_id)
        if (row["assigned_to"], row["assigned_due_at"]) == (node, due_at):
            return _answer(found, row, LEADS)
        must_be_at(row["version"], version)
        if is_ended(row):
            raise ended(row)
        if due_at is not None and due_at <= now:
            raise Problem(problems.DUE_PAST, pointer="/due_at")
        office = (await lookup.places(conn, {node})).get(node)
        if office is None or caller.node not in office.path:
            raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=node)
        if office.closed_on is not None and office.closed_on <= day_of(now):
            raise Problem(problems.NODE_CLOSED, pointer="/node", code=node, date=office.closed_on.isoformat())
        row = await written.change(conn, row, assigned_to=node, assigned_due_at=due_at)
        log = Log(found.place, now)
        until = due_at.astimezone(ZONE).strftime("%m-%d %H:%M") if due_at else None
        await written.note(
            conn,
            log,
            row,
            kind="incident.assigned",
            text=f"{found.place.name} lets {office.name} lead"
            + (f" until {until}" if until else "")
            + (f": {note}" if note else "."),
            text_zh=f"{found.place.name}指定{office.name}牵头"
            + (f"，时限 {until}" if until else "")
            + (f"：{note}" if note else "。"),
            assigned_to=node,
            due_at=due_at.isoformat() if due_at else None,
        )
        await log.append(conn, city_id=caller.city_id)
        return _answer(found, row)

    return await trying(database, act)


async def end(
    database: Database,
    *,
    caller: Caller,
    incident_id: UUID,
    outcome: Outcome,
    text: str,
    version: int | None = None,
    now: datetime,
) -> Acted:
    """Close the matter with its outcome, which is told of each of its reports; the same again changes nothing.

    The office that leads may as well. A Problem (409) while an alert of it is open, or when it has another outcome.
    """

    async def act(conn: AsyncConnection) -> Acted:
        found, row = await _hold(conn, caller, incident_id, leads=True)
        if is_ended(row):
            if (row["outcome"], row["outcome_text"]) == (outcome, text):
                return _answer(found, row, ENDED)
            raise ended(row)
        must_be_at(row["version"], version)
        parts = [row["id"], *found.aliases[row["id"]]]
        alerts = await held.alerts_of(conn, city_id=caller.city_id, ids=parts)
        if alerts:
            alert = min(alerts.values(), key=lambda one: str(one["id"]))
            raise Problem(problems.ALERT_OPEN, alert=alert["id"], extra={"alert_id": str(alert["id"])})
        reports = await held.reports_of(conn, city_id=caller.city_id, ids=[row["id"]])
        row = await written.change(conn, row, state="closed", outcome=str(outcome), outcome_text=text, outcome_at=now)
        log = Log(found.place, now)
        said: dict[str, Any] = {"outcome": str(outcome), "called": outcome.en, "called_zh": outcome.zh, "text": text}
        await written.note(
            conn,
            log,
            row,
            kind="incident.outcome",
            text=f"{found.place.name} ends it ({outcome.en}): {text}",
            text_zh=f"{found.place.name}办结（{outcome.zh}）：{text}",
            outcome=str(outcome),
        )
        log.moved += [
            report_event("report.outcome", one, office=caller.node, at=now.isoformat(), **said)
            for one in reports[row["id"]]
        ]
        await log.append(conn, city_id=caller.city_id)
        return _answer(found, row)

    return await trying(database, act)


async def reopen(
    database: Database, *, caller: Caller, incident_id: UUID, reason: str, version: int | None = None, now: datetime
) -> Acted:
    """Open a matter again that had an outcome; on one that is open it changes nothing."""

    async def act(conn: AsyncConnection) -> Acted:
        found, row = await _hold(conn, caller, incident_id)
        if row["state"] == "open":
            return _answer(found, row, IS_OPEN)
        must_be_at(row["version"], version)
        reports = await held.reports_of(conn, city_id=caller.city_id, ids=[row["id"]])
        row = await written.change(conn, row, state="open", outcome=None, outcome_text=None, outcome_at=None)
        log = Log(found.place, now)
        await written.note(
            conn,
            log,
            row,
            kind="incident.reopened",
            text=f"{found.place.name} opens it again: {reason}",
            text_zh=f"{found.place.name}重新打开：{reason}",
        )
        log.moved += [
            report_event("report.reopened", one, office=caller.node, at=now.isoformat(), reason=reason)
            for one in reports[row["id"]]
        ]
        await log.append(conn, city_id=caller.city_id)
        return _answer(found, row)

    return await trying(database, act)


async def _hold(conn: AsyncConnection, caller: Caller, incident_id: UUID, *, leads: bool = False) -> tuple[Held, Row]:
    found = await held.hold(conn, caller=caller, incident_id=incident_id)
    row = found.rows[incident_id]
    held.must_stand(row)
    if not (leads and row["assigned_to"] == caller.node):
        await held.must_stand_above(conn, caller=caller, rows=[row])
    return found, row


def _answer(found: Held, row: Row, notice: Notice | None = None) -> Acted:
    aliases = sorted(found.aliases[row["id"]], key=lambda one: (found.rows[one]["opened_at"], one))
    return Acted(incident=incident_view(row, aliases), applied=notice is None, notice=notice)
