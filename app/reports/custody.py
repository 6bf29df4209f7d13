"""Who holds a report: received, opened, acknowledged; and whoever left it unopened is bypassed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.core.clock import day_of
from app.core.database import among
from app.drills import service as drills
from app.feed.service import Event
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.reports import moves, stepping
from app.reports.models import Custody, Report


def opens(caller: Caller) -> bool:
    """Whether a report that this caller reads is opened by it: a person at a desk, not a machine that polls.

    In a village whoever is signed in is its desk: it holds what it is asked.
    """
    return caller.sees and caller.account_id is not None and ("alerts:act" in caller.scopes or caller.tier == "village")


async def open_report(
    conn: AsyncConnection, *, caller: Caller, report_id: UUID, policy: Policy, now: datetime
) -> list[Event]:
    """The caller's office has opened the report; only the first time counts, and is told."""
    return await _open(conn, caller, Custody.report_id == report_id, policy, now)


async def open_alert(
    conn: AsyncConnection, *, caller: Caller, alert_id: UUID, policy: Policy, now: datetime
) -> list[Event]:
    """The caller's office has opened the alert, and with it all its reports that it holds."""
    return await _open(conn, caller, Custody.report_id.in_(_reports_of(caller.city_id, alert_id)), policy, now)


async def unopened(conn: AsyncConnection, *, city_id: str, node_code: str, alert_id: UUID) -> bool:
    """Whether the office holds a report of the alert that it has not opened."""
    query = select(Custody.report_id).where(
        Custody.city_id == city_id,
        Custody.node_code == node_code,
        Custody.state == "received",
        Custody.report_id.in_(_reports_of(city_id, alert_id)),
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def acknowledge(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, now: datetime) -> list[Event]:
    """The caller's office has taken the alert on, and with it all its reports that it holds."""
    taken = await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == caller.city_id,
            Custody.node_code == caller.node,
            Custody.state.in_(moves.before("acknowledge")),
            Custody.report_id.in_(_reports_of(caller.city_id, alert_id)),
        )
        .values(
            state="acknowledged", acknowledged_at=now, opened_at=func.coalesce(Custody.opened_at, now), bypass_at=None
        )
        .returning(Custody.report_id)
    )
    rows = await stepping.rows_of(conn, city_id=caller.city_id, ids=taken.scalars().all())
    return await stepping.take(conn, rows, type="report.acknowledged", caller=caller, now=now)


async def overdue(conn: AsyncConnection, *, city_id: str, alerts: Collection[UUID], now: datetime) -> Sequence[Any]:
    """The unopened custody, past its time, of these alerts' reports; locked until the transaction ends."""
    query = (
        select(
            Custody.report_id,
            Custody.node_code,
            Custody.tier,
            Report.alert_id,
            Report.version,
            Report.node_code.label("report_node"),
            Report.drill_id,
        )
        .join(Report, and_(Report.city_id == Custody.city_id, Report.id == Custody.report_id))
        .where(
            Custody.city_id == city_id,
            Custody.bypass_at <= now,
            among(conn.dialect.name, Report.alert_id, "alerts"),
        )
        .order_by(Custody.bypass_at, Custody.report_id, Custody.node_code)
        .with_for_update(of=Custody)
    )
    return (await conn.execute(query, {"alerts": list(alerts)})).all()


async def bypass(conn: AsyncConnection, *, city_id: str, held: Sequence[Any], now: datetime) -> None:
    """These offices did not open these reports in time."""
    await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == city_id,
            Custody.report_id == bindparam("held_report"),
            Custody.node_code == bindparam("held_by"),
        )
        .values(bypass_at=None, bypassed_at=now),
        [{"held_report": one.report_id, "held_by": one.node_code} for one in held],
    )


async def spare(conn: AsyncConnection, *, city_id: str, alerts: Collection[UUID]) -> None:
    """These alerts are over: nobody is bypassed any more for leaving their reports unopened."""
    reports = select(Report.id).where(Report.city_id == city_id, among(conn.dialect.name, Report.alert_id, "alerts"))
    await conn.execute(
        update(Custody)
        .where(Custody.city_id == city_id, Custody.bypass_at.is_not(None), Custody.report_id.in_(reports))
        .values(bypass_at=None),
        {"alerts": list(alerts)},
    )


async def tempo(conn: AsyncConnection, *, policy: Policy, city_id: str, drill_id: UUID | None, now: datetime) -> float:
    """What the times allowed are multiplied by now: less in a duty period, and in a drill by its pace."""
    drill = await drills.find(conn, city_id=city_id, drill_id=drill_id) if drill_id else None
    return policy.tempo(day_of(now)) / (drill.pace if drill else 1.0)


async def _open(conn: AsyncConnection, caller: Caller, which: Any, policy: Policy, now: datetime) -> list[Event]:
    opened = await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == caller.city_id,
            Custody.node_code == caller.node,
            Custody.state.in_(moves.before("open")),
            which,
        )
        .values(state="opened", opened_at=now, bypass_at=None)
        .returning(Custody.report_id)
    )
    rows = await stepping.rows_of(conn, city_id=caller.city_id, ids=opened.scalars().all())
    tempos = {
        drill_id: await tempo(conn, policy=policy, city_id=caller.city_id, drill_id=drill_id, now=now)
        for drill_id in {row["drill_id"] for row in rows}
    }
    by = {row["id"]: now + policy.custody.acknowledge(Level(row["level"])) * tempos[row["drill_id"]] for row in rows}
    if by:
        await conn.execute(
            update(Custody)
            .where(
                Custody.city_id == caller.city_id,
                Custody.node_code == caller.node,
                Custody.report_id == bindparam("opened_id"),
            )
            .values(acknowledge_by=bindparam("by")),
            [{"opened_id": report_id, "by": at} for report_id, at in by.items()],
        )
    return await stepping.take(conn, rows, type="report.opened", caller=caller, now=now, due=by)


def _reports_of(city_id: str, alert_id: UUID) -> Any:
    return select(Report.id).where(Report.city_id == city_id, Report.alert_id == alert_id)
