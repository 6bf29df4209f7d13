"""When offices change: what one holds and has not taken on is with another since, and is never with nobody."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.clock import Clock, day_of, start_of
from app.core.database import Database
from app.nodes.models import Node
from app.reports import moves, stepping
from app.reports.models import Custody, Report

_COURSE = ("state", "since", "due_at", "bypass_at", "opened_at", "acknowledge_by", "note")


async def run_due(database: Database, *, clock: Clock) -> datetime | None:
    """Hand over what offices hold whose last day has passed; when the next closes.

    Also what reached an office in the moment it was closed or merged. What it is killed amid is due again.
    """
    async with database.reading() as conn:
        closed = await _closed(conn, clock.now())
    for office in closed:
        async with database.writing() as conn:
            await hand_over(conn, city_id=office.city_id, old=office.code, new=office.successor, now=clock.now())
    async with database.reading() as conn:
        query = select(func.min(Node.closed_on)).where(Node.closed_on > day_of(clock.now()))
        following = (await conn.execute(query)).scalar_one()
    return start_of(following) if following is not None else None


async def hand_over(
    conn: AsyncConnection, *, city_id: str, old: str, new: str, now: datetime, of: str | None = None
) -> None:
    """What one office holds and has not taken on, another holds from now on; all of it, or one node's (`of`).

    What that one holds already, the first one has passed on to it; what that one had and passed on is with it again.
    Each is a step of the report's way.
    """
    offices = await conn.execute(select(Node.code, Node.tier).where(Node.code.in_([old, new])))
    tiers = {row.code: row.tier for row in offices}
    # Only an office that the rules gave a report is bypassed, for the one above it.
    kept = {} if tiers[new] == tiers[old] else {"bypass_at": None}
    waiting = (
        Custody.city_id == city_id,
        Custody.node_code == old,
        Custody.state.in_(moves.WAITING),
        *([] if of is None else [exists().where(_report_of(of))]),
    )
    # Locked before it is looked at, in the order of whoever acts on a report: that one is done, or sees what came.
    reports = select(Custody.report_id).where(*waiting).correlate(None)
    await conn.execute(
        select(Custody.report_id)
        .where(Custody.city_id == city_id, Custody.report_id.in_(reports))
        .order_by(Custody.report_id, Custody.node_code)
        .with_for_update()
    )
    has = aliased(Custody)
    theirs = and_(has.city_id == Custody.city_id, has.report_id == Custody.report_id, has.node_code == new)
    told = (Custody.report_id, Custody.due_at)
    moved = (
        update(Custody)
        .where(*waiting, not_(exists().where(theirs).correlate(Custody)))
        .values({"node_code": new, "tier": tiers[new], **kept})
    )
    handed = list(await conn.execute(moved.returning(*told)))
    await _again(conn, and_(*waiting, theirs), has=has, new=new, kept=kept)
    passed = {"state": "forwarded", "forwarded_at": now, "forwarded_to": new, "bypass_at": None}
    handed += await conn.execute(update(Custody).where(*waiting).values(passed).returning(*told))
    steps = [
        stepping.step(
            city_id=city_id,
            report_id=one.report_id,
            type="report.handed_over",
            at=now,
            node=old,
            tier=tiers[old],
            to=new,
            due_at=one.due_at,
        )
        for one in handed
    ]
    await stepping.keep(conn, steps)


async def _again(
    conn: AsyncConnection, waiting: ColumnElement[bool], *, has: Any, new: str, kept: Mapping[str, None]
) -> None:
    """What the successor had passed on, and the other has still before it, the successor has as that one has it."""
    query = (
        select(*Custody.__table__.columns, has.since.label("had_since"), has.due_at.label("had_due_at"))
        .add_columns(has.given_by.label("had_from"))
        .where(waiting, has.state == "forwarded")
        .order_by(Custody.report_id)
    )
    rows = (await conn.execute(query)).mappings().all()
    if not rows:
        return
    # That it held the report from the first on is told by its custody, which is another one from here on.
    await stepping.keep(
        conn,
        [
            stepping.received({**row, "node_code": new, "since": row["had_since"], "due_at": row["had_due_at"]})
            for row in rows
            if row["had_from"] is None
        ],
    )
    await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == bindparam("in_city"),
            Custody.report_id == bindparam("of_report"),
            Custody.node_code == new,
        )
        .values(
            {column: bindparam(f"new_{column}") for column in (*_COURSE, "given_by")}
            | {"acknowledged_at": None, "forwarded_at": None, "forwarded_to": None, **kept}
        ),
        [
            {f"new_{column}": row[column] for column in _COURSE}
            | {"new_given_by": row["node_code"] if row["given_by"] in (None, new) else row["given_by"]}
            | {"in_city": row["city_id"], "of_report": row["report_id"]}
            for row in rows
        ],
    )


async def _closed(conn: AsyncConnection, now: datetime) -> Sequence[Any]:
    """The closed offices that hold what they have not taken on, lower ones first, with who holds it since."""
    waiting = exists().where(
        Custody.city_id == Node.city_id, Custody.node_code == Node.code, Custody.state.in_(moves.WAITING)
    )
    query = (
        select(Node.code, Node.city_id, func.coalesce(Node.merged_into, Node.parent_code).label("successor"))
        .where(Node.closed_on <= day_of(now), Node.parent_code.is_not(None), waiting)
        .order_by(Node.tier.desc(), Node.code)
    )
    return (await conn.execute(query)).all()


def _report_of(node_code: str) -> ColumnElement[bool]:
    return and_(Report.city_id == Custody.city_id, Report.id == Custody.report_id, Report.node_code == node_code)
