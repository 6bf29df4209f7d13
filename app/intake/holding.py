"""What was written in time and comes too late: held, until the parent desk decides."""

from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.clock import ZONE, day_of
from app.core.database import Contention, insert_into
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.feed.service import Event
from app.hazards.policy import Policy
from app.hazards.triage import Situation, triage
from app.intake.models import Quarantined
from app.intake.plausibility import time_doubt
from app.intake.submission import Submission
from app.nodes import recorded
from app.nodes.models import Node
from app.reports.events import TOPIC

Row = dict[str, Any]

COLUMNS = list(Quarantined.__table__.columns)


async def known(conn: AsyncConnection, *, city_id: str, held_id: UUID) -> Row | None:
    """What is held, or was, under this id."""
    query = select(*COLUMNS).where(Quarantined.city_id == city_id, Quarantined.id == held_id)
    row = (await conn.execute(query)).one_or_none()
    return row._asdict() if row else None


def correction_id(one: Submission, base_version: int) -> UUID:
    """What a correction is held under: the same for the same correction, however often it is sent."""
    return uuid5(one.id, f"{base_version} {one.digest}")


async def corrections(conn: AsyncConnection, *, city_id: str, report_id: UUID) -> int:
    """How many corrections of a report were held and not released: to its device each is a version."""
    held = select(func.count()).where(
        Quarantined.city_id == city_id, Quarantined.report_id == report_id, Quarantined.state != "released"
    )
    return (await conn.execute(held)).scalar_one()


async def base_of(conn: AsyncConnection, row: Row, *, version: int) -> int:
    """The version that a held correction builds on, now that the report stands at `version`.

    What was written after it knew nothing of corrections that a desk has rejected: they count as never said.
    """
    base: int = row["base_version"]
    if version >= base:
        return base
    rejected = select(func.count()).where(
        Quarantined.city_id == row["city_id"],
        Quarantined.report_id == row["report_id"],
        Quarantined.state == "rejected",
        Quarantined.base_version < base,
    )
    return base - int((await conn.execute(rejected)).scalar_one())


async def hold(
    conn: AsyncConnection,
    one: Submission,
    *,
    refused: Problem | None,
    policy: Policy,
    now: datetime,
    base_version: int | None = None,
) -> tuple[Row, Event | None]:
    """Hold a report that its sender may not send any more, but might when it was written; its row and its event.

    With `base_version` it is a correction of that version. Held already, it has no event.

    A Problem when it might not even then (`refused`, or 403), when it is too old, when another report has its id or
    too many are held of this sign-in (409).
    """
    lapse = one.caller.lapse
    lapsed = problems.SIGN_IN_LAPSED
    if time_doubt("submitted_at", one.submitted_at, now, policy.plausibility) is not None:
        # Nobody can know when it was written: the desk asks, where the office might have sent it at all.
        written_at = now - policy.quarantine.within
    else:
        written_at = one.submitted_at
        if lapse is not None and written_at >= lapse.at:
            raise Problem(lapsed, at=_clock(lapse.at), days=policy.quarantine.days)
        if written_at <= now - policy.quarantine.within:
            raise refused or Problem(lapsed, at=_clock(lapse.at if lapse else now), days=policy.quarantine.days)
    if not await _was_entitled(conn, one, written_at):
        raise refused or Problem(lapsed, at=_clock(lapse.at if lapse else now), days=policy.quarantine.days)
    sign_in_id = one.caller.account_id or one.caller.key_id
    assert sign_in_id is not None
    held_id = one.id if base_version is None else correction_id(one, base_version)
    waiting = await known(conn, city_id=one.caller.city_id, held_id=held_id)
    if waiting is not None:
        return _same(waiting, one), None
    await _leave_room(conn, one, sign_in_id, policy.quarantine.most_held)
    node = await _node(conn, one.node)
    reason, text, text_zh = _reason(one, node)
    desk = await _desk(conn, node, day_of(now))
    level = triage(
        policy,
        Situation(
            hazard=one.hazard,
            urgency=one.urgency,
            severity=one.severity,
            certainty=one.certainty,
            figures=one.figures,
            kind=one.kind,
            neighbours=0,
        ),
    ).level
    row: Row = {
        "city_id": one.caller.city_id,
        "id": held_id,
        "node_code": one.node,
        "desk_code": desk.code,
        "state": "held",
        "reason": reason,
        "text": text,
        "text_zh": text_zh,
        "body": {**one.said, "masked": one.masked, "cleaned": one.cleaned},
        "digest": one.digest,
        "level": str(level),
        "hazard": one.hazard.code,
        "submitted_at": one.submitted_at,
        "received_at": one.received_at,
        "due_at": one.received_at + policy.custody.due(desk.tier, level),
        "filed_by": one.caller.node,
        "sign_in_id": sign_in_id,
        "report_id": None if base_version is None else one.id,
        "base_version": base_version,
        "drill_id": one.drill_id,
        "decided_at": None,
        "decided_by": None,
        "note": None,
        "bypassed": None,
    }
    claim = insert_into(conn.dialect.name, Quarantined).values(row)
    claim = claim.on_conflict_do_nothing(index_elements=["city_id", "id"]).returning(Quarantined.id)
    if (await conn.execute(claim)).one_or_none() is None:
        # Another writer held it a moment ago.
        raise Contention
    return row, event("report.quarantined", row)


def _same(waiting: Row, one: Submission) -> Row:
    if waiting["digest"] != one.digest:
        raise Problem(problems.ID_CONFLICT, pointer="/id")
    return waiting


def event(kind: str, row: Row) -> Event:
    """The log's event of a report that is held; its desk sees it, wherever the node is now."""
    body = {
        "id": str(row["id"]),
        "version": 0,
        "node": row["node_code"],
        "hazard": row["hazard"],
        "level": row["level"],
        "state": row["state"],
        "reason": row["reason"],
        "desk": row["desk_code"],
        "due_at": row["due_at"].isoformat(),
        "corrects": str(row["report_id"]) if row["report_id"] else None,
        "decided_by": row["decided_by"],
        "note": row["note"],
        "bypassed": row["bypassed"],
    }
    desks = (row["desk_code"], *([row["bypassed"]] if row["bypassed"] else []))
    return Event(kind, TOPIC, row["id"], 0, row["node_code"], body, also=desks, drill_id=row["drill_id"])


async def _was_entitled(conn: AsyncConnection, one: Submission, at: datetime) -> bool:
    """Whether the sender's office stood at the report's node, or above it, when it was written."""
    city_id = one.caller.city_id
    return one.caller.node in await recorded.offices(conn, city_id=city_id, code=one.node, at=at)


async def _leave_room(conn: AsyncConnection, one: Submission, sign_in_id: UUID, most: int) -> None:
    held = select(func.count()).where(
        Quarantined.city_id == one.caller.city_id,
        Quarantined.sign_in_id == sign_in_id,
        Quarantined.state == "held",
        of_drill(Quarantined, one.drill_id),
    )
    if (await conn.execute(held)).scalar_one() >= most:
        raise Problem(problems.QUARANTINE_FULL, most=most)


async def _node(conn: AsyncConnection, code: str) -> Any:
    columns = (Node.code, Node.name, Node.tier, Node.city_id, Node.parent_code, Node.closed_on, Node.merged_into)
    return (await conn.execute(select(*columns).where(Node.code == code))).one()


async def _desk(conn: AsyncConnection, node: Any, today: date) -> Any:
    """The office above the node, or above what it has become part of."""
    while node.merged_into is not None:
        node = await _node(conn, node.merged_into)
    if node.tier != "village":
        return await _node(conn, node.city_id)
    town = await _node(conn, node.parent_code)
    while town.merged_into is not None:
        town = await _node(conn, town.merged_into)
    is_closed = town.closed_on is not None and town.closed_on <= today
    return await _node(conn, node.city_id) if is_closed else town


def _reason(one: Submission, node: Any) -> tuple[str, str, str]:
    lapse = one.caller.lapse
    if node.merged_into is not None:
        return (
            "node_merged",
            f"{node.name} is part of {node.merged_into} since {node.closed_on}; it was written before.",
            f"{node.name}已于 {node.closed_on} 并入 {node.merged_into}，报告写于此前。",
        )
    if node.closed_on is not None and (lapse is None or lapse.why == "node_closed"):
        return (
            "node_closed",
            f"{node.name} is closed since {node.closed_on}; it was written before.",
            f"{node.name}已于 {node.closed_on} 撤销，报告写于此前。",
        )
    if lapse is not None:
        at = _clock(lapse.at)
        return (
            lapse.why,
            f"The sign-in that sent it has ended at {at}; it was written before.",
            f"提交账号已于 {at} 失效，报告写于此前。",
        )
    return (
        "node_moved",
        f"{node.name} is no longer under {one.caller.node}, which sent it; it was when this was written.",
        f"{node.name}已不隶属于提交单位 {one.caller.node}，报告写于调整之前。",
    )


def _clock(moment: datetime) -> str:
    return moment.astimezone(ZONE).strftime("%Y-%m-%d %H:%M")
