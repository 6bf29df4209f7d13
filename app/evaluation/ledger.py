"""The ledger of warning: every urgent report of a period, and how long each part of its warning took."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert, AlertSighting, AlertStep
from app.core import paging, problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.evaluation.ledger_figures import (
    OWNING,
    Entry,
    Held,
    Step,
    first_carried,
    seconds,
    suffix_minima,
    taken,
)
from app.hazards.cap import Level
from app.nodes.models import Node
from app.nodes.scope import visible
from app.reports.models import Custody, Report

Order = Literal["received", "worst"]

URGENT = (str(Level.RED), str(Level.ORANGE))

# Before a row's seconds, since what has not happened yet is the worst.
NEVER = "never"


@dataclass(frozen=True, slots=True)
class Period:
    """Reports received at or after `since` and before `until`; a side that is None has no end. Real, or one drill's."""

    since: datetime | None = None
    until: datetime | None = None
    drill: UUID | None = None


def period(since: datetime, until: datetime, drill_id: UUID | None) -> Period:
    """The period between two moments; a Problem (400) when there is none."""
    if since >= until:
        raise Problem(problems.PERIOD_WRONG)
    return Period(since, until, drill_id)


async def entries(conn: AsyncConnection, *, caller: Caller, period: Period) -> list[Entry]:
    """The period's reports at orange or red in the caller's subtree, the first received first; no texts.

    Four statements, however many they are. `conn` must read one snapshot.
    """
    wanted = _wanted(caller, period)
    version = func.coalesce(Report.alert_version, 1).label("alert_version")
    found = await conn.execute(
        select(
            Report.id,
            Report.node_code,
            Node.tier,
            Report.level,
            Report.received_at,
            Report.alert_id,
            Alert.raised_at,
            version,
        )
        .join(Node, Node.code == Report.node_code)
        .join(Alert, and_(Alert.city_id == Report.city_id, Alert.id == Report.alert_id), isouter=True)
        .where(wanted)
        .order_by(Report.received_at, Report.id)
    )
    rows = found.all()
    carried = await _carried(conn, caller, wanted)
    steps = await _steps(conn, caller, wanted)
    held = await _held(conn, caller, wanted)
    # A night of ten thousand reports takes a while: not on the event loop.
    return await asyncio.to_thread(_entries, rows, carried, steps, held)


def _entries(
    rows: Sequence[Any],
    carried: Mapping[UUID, Mapping[str, Sequence[tuple[int, datetime]]]],
    steps: Mapping[UUID, Sequence[Step]],
    held: Mapping[UUID, Mapping[str, Held]],
) -> list[Entry]:
    return [
        Entry(
            report_id=row.id,
            node=row.node_code,
            tier=row.tier,
            level=row.level,
            received_at=row.received_at,
            alert_id=row.alert_id,
            raised_at=row.raised_at,
            carried={
                tier: at
                for tier, sightings in carried.get(row.alert_id, {}).items()
                if (at := first_carried(sightings, row.alert_version)) is not None
            },
            held=held.get(row.id, {}),
            taken=taken(steps.get(row.alert_id, ()), row.alert_version),
        )
        for row in rows
    ]


def page(
    found: Sequence[Entry], *, figure: str | None, order: Order, limit: int, cursor: str | None
) -> tuple[list[Entry], str | None]:
    """The next rows that a figure stands on (all of them without one), and the cursor of the page after.

    By the time they were received, or the worst first: before all others those that still wait.
    """
    rows = list(found) if figure is None else [entry for entry in found if figure in seconds(entry)]
    if figure is None or order == "received":
        if cursor is not None:
            after = paging.decode_moment("ledger", cursor)
            rows = [entry for entry in rows if (entry.received_at, entry.report_id) > after]
        last = rows[limit - 1] if len(rows) > limit else None
        return rows[:limit], paging.encode_moment("ledger", last.received_at, last.report_id) if last else None
    kind = f"ledger.{figure}"
    rows.sort(key=lambda entry: _worst_first(seconds(entry)[figure], entry.report_id))
    if cursor is not None:
        beyond = _worst_first(*_decode_worst(kind, cursor))
        rows = [entry for entry in rows if _worst_first(seconds(entry)[figure], entry.report_id) > beyond]
    if len(rows) <= limit:
        return rows, None
    took, last_id = seconds(rows[limit - 1])[figure], rows[limit - 1].report_id
    return rows[:limit], paging.encode(kind, NEVER if took is None else repr(took), last_id.hex)


def _worst_first(took: float | None, report_id: UUID) -> tuple[bool, float, UUID]:
    return took is not None, -(took or 0.0), report_id


def _decode_worst(kind: str, cursor: str) -> tuple[float | None, UUID]:
    took, report_id = paging.decode(kind, cursor, str, str)
    try:
        return None if took == NEVER else float(took), UUID(hex=report_id)
    except ValueError as error:
        raise Problem(problems.CURSOR_INVALID) from error


def _wanted(caller: Caller, period: Period) -> Any:
    wanted = and_(visible(caller, Report), of_drill(Report, period.drill), Report.level.in_(URGENT))
    if period.since is not None:
        wanted = and_(wanted, Report.received_at >= period.since)
    if period.until is not None:
        wanted = and_(wanted, Report.received_at < period.until)
    return wanted


async def _carried(
    conn: AsyncConnection, caller: Caller, wanted: Any
) -> dict[UUID, dict[str, list[tuple[int, datetime]]]]:
    """By alert and tier: from which version on it was first carried when."""
    rows = await conn.execute(
        select(AlertSighting.alert_id, AlertSighting.tier, AlertSighting.version, AlertSighting.carried_at).where(
            AlertSighting.city_id == caller.city_id, AlertSighting.alert_id.in_(select(Report.alert_id).where(wanted))
        )
    )
    found: dict[UUID, dict[str, list[tuple[int, datetime]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.alert_id][row.tier].append((row.version, row.carried_at))
    return {
        alert_id: {tier: suffix_minima(sightings) for tier, sightings in tiers.items()}
        for alert_id, tiers in found.items()
    }


async def _steps(conn: AsyncConnection, caller: Caller, wanted: Any) -> dict[UUID, list[Step]]:
    rows = await conn.execute(
        select(AlertStep.alert_id, AlertStep.version, AlertStep.type, AlertStep.at, AlertStep.tier).where(
            AlertStep.city_id == caller.city_id,
            AlertStep.type.in_(OWNING),
            AlertStep.alert_id.in_(select(Report.alert_id).where(wanted)),
        )
    )
    found: dict[UUID, list[Step]] = defaultdict(list)
    for row in rows:
        found[row.alert_id].append(Step(row.version, row.type, row.at, row.tier))
    return found


async def _held(conn: AsyncConnection, caller: Caller, wanted: Any) -> dict[UUID, dict[str, Held]]:
    """By report and tier: the office that holds it. Whoever filed it has nothing to open."""
    rows = await conn.execute(
        select(
            Custody.report_id,
            Custody.tier,
            Custody.node_code,
            Custody.due_at,
            Custody.opened_at,
            Custody.bypassed_at,
        )
        .join(Report, and_(Report.city_id == Custody.city_id, Report.id == Custody.report_id))
        .where(Custody.city_id == caller.city_id, wanted, Custody.node_code != Report.filed_by)
    )
    found: dict[UUID, dict[str, Held]] = defaultdict(dict)
    for row in rows:
        found[row.report_id][row.tier] = Held(row.node_code, row.due_at, row.opened_at, row.bypassed_at)
    return found
