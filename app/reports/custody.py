"""Who holds a report: received, opened, acknowledged; and whoever left it unopened is bypassed."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, exists, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.caller import Caller
from app.core.database import among
from app.reports.models import Custody, Report


def opens(caller: Caller) -> bool:
    """Whether a report that this caller reads is opened by it: a person at a desk, not a machine that polls."""
    return caller.account_id is not None and "alerts:act" in caller.scopes


async def open_report(conn: AsyncConnection, *, city_id: str, node_code: str, report_id: UUID, now: datetime) -> None:
    """The office has opened the report; only the first time counts."""
    await _open(conn, city_id, node_code, Custody.report_id == report_id, now)


async def open_alert(conn: AsyncConnection, *, city_id: str, node_code: str, alert_id: UUID, now: datetime) -> None:
    """The office has opened the alert, and with it all its reports."""
    await _open(conn, city_id, node_code, Custody.report_id.in_(_reports_of(city_id, alert_id)), now)


async def unopened(conn: AsyncConnection, *, city_id: str, node_code: str, alert_id: UUID) -> bool:
    """Whether the office holds a report of the alert that it has not opened."""
    query = select(Custody.report_id).where(
        Custody.city_id == city_id,
        Custody.node_code == node_code,
        Custody.state == "received",
        Custody.report_id.in_(_reports_of(city_id, alert_id)),
    )
    return (await conn.execute(query.limit(1))).first() is not None


async def acknowledge(conn: AsyncConnection, *, city_id: str, node_code: str, alert_id: UUID, now: datetime) -> None:
    """The office has taken the alert on, and with it all its reports that it holds."""
    await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == city_id,
            Custody.node_code == node_code,
            Custody.state.in_(("received", "opened")),
            Custody.report_id.in_(_reports_of(city_id, alert_id)),
        )
        .values(
            state="acknowledged", acknowledged_at=now, opened_at=func.coalesce(Custody.opened_at, now), bypass_at=None
        )
    )


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


async def hand_over(conn: AsyncConnection, *, city_id: str, old: str, new: str) -> None:
    """What one office holds and has not taken on, another holds from now on."""
    has = aliased(Custody)
    theirs = (
        exists()
        .where(has.city_id == Custody.city_id, has.report_id == Custody.report_id, has.node_code == new)
        .correlate(Custody)
    )
    await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == city_id,
            Custody.node_code == old,
            Custody.state.in_(("received", "opened")),
            not_(theirs),
        )
        .values(node_code=new)
    )


async def _open(conn: AsyncConnection, city_id: str, node_code: str, which: Any, now: datetime) -> None:
    await conn.execute(
        update(Custody)
        .where(Custody.city_id == city_id, Custody.node_code == node_code, Custody.state == "received", which)
        .values(state="opened", opened_at=now, bypass_at=None)
    )


def _reports_of(city_id: str, alert_id: UUID) -> Any:
    return select(Report.id).where(Report.city_id == city_id, Report.alert_id == alert_id)
