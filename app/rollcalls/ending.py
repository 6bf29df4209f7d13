"""Silence ended: who was heard from again, and the alerts that are over with it."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.alerts.found import end_found
from app.alerts.models import Alert, AlertStep
from app.core.clock import ZONE
from app.feed.service import Event
from app.nodes.models import Node
from app.reports.models import Report
from app.rollcalls.finding import event
from app.rollcalls.models import RollCall, RollCallAnswer
from app.rollcalls.silence import OF_ROLL_CALL, is_running, own_voice


def ended(city_id: str, today: date) -> Any:
    """The silent nodes of a city that are not silent any more: when each was heard from; none: it was closed.

    Any report counts, an answer to whatever was asked, and an act on an alert, from when the missed roll call was
    opened: what was under way while it closed is not lost.
    """
    reported = (
        select(func.max(Report.received_at))
        .where(
            Report.city_id == RollCallAnswer.city_id,
            Report.node_code == RollCallAnswer.node_code,
            Report.received_at >= RollCall.opened_at,
            Report.drill_id.is_not_distinct_from(RollCall.drill_id),
            own_voice(),
        )
        .correlate(RollCallAnswer, RollCall)
        .scalar_subquery()
    )
    said, asked = aliased(RollCallAnswer), aliased(RollCall)
    answered = (
        select(func.max(said.answered_at))
        .join(asked, and_(asked.city_id == said.city_id, asked.id == said.roll_call_id))
        .where(
            said.city_id == RollCallAnswer.city_id,
            said.node_code == RollCallAnswer.node_code,
            said.answered_at >= RollCall.opened_at,
            asked.drill_id.is_not_distinct_from(RollCall.drill_id),
        )
        .correlate(RollCallAnswer, RollCall)
        .scalar_subquery()
    )
    acted = (
        select(func.max(AlertStep.at))
        .join(Alert, and_(Alert.city_id == AlertStep.city_id, Alert.id == AlertStep.alert_id))
        .where(
            AlertStep.city_id == RollCallAnswer.city_id,
            AlertStep.node_code == RollCallAnswer.node_code,
            AlertStep.at >= RollCall.opened_at,
            Alert.drill_id.is_not_distinct_from(RollCall.drill_id),
        )
        .correlate(RollCallAnswer, RollCall)
        .scalar_subquery()
    )
    found = (
        select(
            RollCallAnswer.roll_call_id,
            RollCallAnswer.node_code,
            RollCallAnswer.alert_id,
            RollCallAnswer.version,
            RollCall.drill_id,
            Node.closed_on,
            reported.label("reported_at"),
            answered.label("answered_at"),
            acted.label("acted_at"),
        )
        .join(RollCall, OF_ROLL_CALL)
        .join(Node, Node.code == RollCallAnswer.node_code)
        .where(RollCallAnswer.city_id == city_id, RollCallAnswer.silent, is_running())
        .subquery()
    )
    return (
        select(found)
        .where(
            or_(
                found.c.reported_at.is_not(None),
                found.c.answered_at.is_not(None),
                found.c.acted_at.is_not(None),
                found.c.closed_on <= today,
            )
        )
        .order_by(found.c.roll_call_id, found.c.node_code)
    )


async def end(conn: AsyncConnection, rows: Sequence[Any], *, city_id: str, now: datetime) -> list[list[Event]]:
    """Note whose silence has ended, and end the alerts of which nobody is silent any more; the operations.

    Of those whose silence was no alert the log says nothing: it had not told of it either.
    """
    await conn.execute(
        update(RollCallAnswer)
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.roll_call_id == bindparam("of_call"),
            RollCallAnswer.node_code == bindparam("of_node"),
        )
        .values(silent=False, heard_at=bindparam("at"), version=RollCallAnswer.version + 1),
        [{"of_call": one.roll_call_id, "of_node": one.node_code, "at": _heard_at(one)} for one in rows],
    )
    alerts = sorted({one.alert_id for one in rows if one.alert_id is not None})
    if not alerts:
        return []
    still = await conn.execute(
        select(RollCallAnswer.alert_id).where(
            RollCallAnswer.city_id == city_id, RollCallAnswer.silent, RollCallAnswer.alert_id.in_(alerts)
        )
    )
    silent = set(still.scalars())
    operations = []
    for alert_id in alerts:
        events = []
        nodes = [one for one in rows if one.alert_id == alert_id]
        if alert_id not in silent:
            text, text_zh = _why(nodes)
            events = await end_found(conn, city_id=city_id, alert_id=alert_id, text=text, text_zh=text_zh, now=now)
        told = [
            event(
                "silence.ended",
                roll_call_id=one.roll_call_id,
                node_code=one.node_code,
                version=one.version + 1,
                alert_id=alert_id,
                drill_id=one.drill_id,
            )
            for one in nodes
        ]
        operations.append([*events, *told])
    return operations


def _heard_at(one: Any) -> datetime | None:
    return max((at for at in (one.reported_at, one.answered_at, one.acted_at) if at is not None), default=None)


def _why(nodes: Sequence[Any]) -> tuple[str, str]:
    at = max((at for one in nodes if (at := _heard_at(one)) is not None), default=None)
    if at is None:
        return "The office was closed.", "该单位已撤销。"
    clock = at.astimezone(ZONE).strftime("%H:%M")
    return f"Heard from again at {clock}.", f"{clock} 恢复联系。"
