from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import and_, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.clock import ZONE, day_of
from app.core.database import insert_into
from app.core.errors import Problem
from app.core.ids import new_id
from app.drills import service as drills
from app.drills.scope import of_drill
from app.feed import service as feed
from app.feed.service import Event
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.models import NodeSpan
from app.nodes.scope import visible
from app.reports.models import Report
from app.rollcalls.models import RollCall, RollCallAnswer

Row = Mapping[str, Any]

TOPIC = "rollcall"
COLUMNS = list(RollCall.__table__.columns)
ANSWERS = list(RollCallAnswer.__table__.columns)
# From asking until the answers are due.
LONGEST = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, of whom, until when."""

    question_zh: str
    question_en: str
    place: Place
    tiers: Sequence[str]
    opened_at: datetime
    due_at: datetime
    schedule: str | None = None
    day: date | None = None
    drill_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A roll call that was stored, and the event that tells of it."""

    row: Row
    event: Event


async def ask(
    conn: AsyncConnection,
    *,
    caller: Caller,
    question: str,
    node: str | None,
    tiers: Sequence[str],
    due_at: datetime | None,
    due_minutes: int | None,
    drill_id: UUID | None,
    now: datetime,
) -> tuple[Row, dict[str, int]]:
    """Ask the nodes of a subtree of the caller's; the roll call and its counts.

    A Problem (422) when the node is not the caller's, nobody there is of these tiers, or the time has passed.
    """
    code = node or caller.node
    place = (await lookup.places(conn, {code})).get(code)
    if place is None or place.city_id != caller.city_id or caller.node not in place.path:
        raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=code)
    pace = 1.0
    if drill_id is not None:
        drill = await drills.find(conn, city_id=caller.city_id, drill_id=drill_id, hold=True)
        if drill is None or drill.ended_at is not None or drill.node_code not in place.path:
            raise Problem(problems.DRILL_UNKNOWN, pointer="/drill_id", drill=drill_id)
        pace = drill.pace
    if due_minutes is not None:
        due_at = now + timedelta(minutes=due_minutes) / pace
    if due_at is None or not now < due_at <= now + LONGEST:
        raise Problem(problems.DUE_WRONG, pointer="/due_at", days=LONGEST.days)
    made = await open_call(conn, Asking(question, question, place, sorted(set(tiers)), now, due_at, drill_id=drill_id))
    if made is None:
        raise Problem(problems.NOBODY_ASKED, pointer="/tiers")
    await feed.append(conn, city_id=caller.city_id, operations=[[made.event]], now=now)
    return made.row, {"waiting": made.row["asked"]}


async def open_call(conn: AsyncConnection, asking: Asking) -> Made | None:
    """Store a roll call and the nodes that it expects; None when nobody is expected, or its day's is open already."""
    expected = await _expected(conn, asking.place, asking.tiers, day_of(asking.opened_at))
    if not expected:
        return None
    row = {
        "city_id": asking.place.city_id,
        "id": new_id(),
        "schedule": asking.schedule,
        "day": asking.day,
        "question_zh": asking.question_zh,
        "question_en": asking.question_en,
        "node_code": asking.place.code,
        "tiers": list(asking.tiers),
        "opened_at": asking.opened_at,
        "due_at": asking.due_at,
        "closed_at": None,
        "asked": len(expected),
        "drill_id": asking.drill_id,
    }
    new = insert_into(conn.dialect.name, RollCall).values(row).on_conflict_do_nothing().returning(RollCall.id)
    if (await conn.execute(new)).one_or_none() is None:
        return None
    await conn.execute(
        insert(RollCallAnswer),
        [
            {
                "city_id": asking.place.city_id,
                "roll_call_id": row["id"],
                "node_code": one.code,
                "tier": one.tier,
                "town_code": one.parent_code if one.tier == "village" else one.code if one.tier == "town" else None,
                "version": 1,
                "state": "waiting",
                "why": "",
                "reports": [],
                "late": False,
                "silent": False,
                "missed": 0,
            }
            for one in expected
        ],
    )
    towns = {one.parent_code if one.tier == "village" else one.code for one in expected if one.tier != "city"}
    return Made(row, _opened(row, tuple(sorted(towns - {asking.place.code}))))


async def _expected(conn: AsyncConnection, place: Place, tiers: Sequence[str], day: date) -> Sequence[Any]:
    """The nodes of a subtree that exist on a day, by the tree as it is that day."""
    within = {
        "city": NodeSpan.city_id == place.city_id,
        "town": or_(NodeSpan.code == place.code, NodeSpan.parent_code == place.code),
        "village": NodeSpan.code == place.code,
    }[place.tier]
    query = (
        select(NodeSpan.code, NodeSpan.tier, NodeSpan.parent_code)
        .where(
            NodeSpan.city_id == place.city_id,
            within,
            NodeSpan.tier.in_(list(tiers)),
            NodeSpan.since <= day,
            or_(NodeSpan.until.is_(None), NodeSpan.until > day),
        )
        .order_by(NodeSpan.code)
    )
    return (await conn.execute(query)).all()


def _opened(row: Row, towns: tuple[str, ...]) -> Event:
    """The log's event of a new roll call, seen by every town that it concerns; a village looks up what it owes."""
    return _event("rollcall.opened", row, {"due_at": row["due_at"].isoformat(), "asked": row["asked"]}, also=towns)


def due(row: Row, counts: Mapping[str, int], silent: Sequence[str]) -> Event:
    """The log's event of a roll call that has closed, with its counts and the first of those silent."""
    return _event("rollcall.due", row, {"counts": dict(counts), "silent": len(silent), "nodes": list(silent[:50])})


def subject_of(roll_call_id: UUID, node_code: str) -> UUID:
    """What the log calls one node's part in a roll call: it has versions of its own."""
    return uuid5(roll_call_id, node_code)


def _event(kind: str, row: Row, more: dict[str, Any], *, also: tuple[str, ...] = ()) -> Event:
    body = {
        "id": str(row["id"]),
        "schedule": row["schedule"],
        "question_zh": row["question_zh"],
        "question_en": row["question_en"],
        "node": row["node_code"],
        "tiers": row["tiers"],
        **more,
    }
    version = 1 if kind == "rollcall.opened" else 2
    return Event(kind, TOPIC, row["id"], version, row["node_code"], body, also=also, drill_id=row["drill_id"])


async def answer(
    conn: AsyncConnection,
    *,
    caller: Caller,
    roll_call_id: UUID,
    node: str | None,
    state: str,
    why: str,
    reports: Sequence[UUID],
    now: datetime,
) -> Row:
    """A node's answer; again, it replaces the one before. After the roll call has closed it is late, and ends silence.

    A Problem (404, 422) when the node is not expected or not the caller's, `something` names no report of the
    node, or `unable` gives no reason.
    """
    code = node or caller.node
    row = (
        await conn.execute(
            select(*ANSWERS)
            .where(
                RollCallAnswer.roll_call_id == roll_call_id,
                RollCallAnswer.node_code == code,
                visible(caller, RollCallAnswer),
            )
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    # Behind the row's lock, so that a roll call which has just closed is seen closed.
    call = (
        await conn.execute(select(*COLUMNS).where(RollCall.city_id == caller.city_id, RollCall.id == roll_call_id))
    ).one()
    if state == "unable" and not why:
        raise Problem(problems.TEXT_BLANK, pointer="/why")
    names = sorted({str(one) for one in reports})
    if (state == "something") != bool(names):
        raise Problem(problems.ANSWER_REPORTS, pointer="/reports")
    if names:
        known = select(func.count()).where(
            Report.city_id == caller.city_id,
            Report.id.in_(list(set(reports))),
            Report.node_code == code,
            of_drill(Report, call.drill_id),
        )
        if (await conn.execute(known)).scalar_one() != len(names):
            raise Problem(problems.ANSWER_REPORTS, pointer="/reports")
    before = row._asdict()
    said = {"state": state, "why": why, "reports": names}
    if before["answered_at"] is not None and all(before[key] == value for key, value in said.items()):
        return before
    late = call.closed_at is not None or now > call.due_at
    changes = {
        **said,
        "answered_at": now,
        "answered_by": caller.node,
        "late": late,
        "version": before["version"] + 1,
    }
    await conn.execute(
        update(RollCallAnswer)
        .where(
            RollCallAnswer.city_id == caller.city_id,
            RollCallAnswer.roll_call_id == roll_call_id,
            RollCallAnswer.node_code == code,
        )
        .values(**changes)
    )
    after = {**before, **changes}
    if state != "nothing" or late:
        # A thousand villages that answer "nothing" in time are told of together, when the roll call closes.
        await feed.append(conn, city_id=caller.city_id, operations=[[_answered(call._asdict(), after)]], now=now)
    return after


def _answered(call: Row, row: Row) -> Event:
    body = {
        "id": str(call["id"]),
        "node": row["node_code"],
        "answer": row["state"],
        "why": row["why"],
        "reports": row["reports"],
        "late": row["late"],
    }
    subject = subject_of(call["id"], row["node_code"])
    return Event("rollcall.answered", TOPIC, subject, row["version"], row["node_code"], body, drill_id=call["drill_id"])


async def list_calls(
    conn: AsyncConnection,
    *,
    caller: Caller,
    is_open: bool | None,
    drill_id: UUID | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[tuple[Row, dict[str, int]]], str | None]:
    """Roll calls that ask a node of the caller's subtree, the last opened first, each with its counts there."""
    query = select(*COLUMNS).where(_asks(caller), of_drill(RollCall, drill_id))
    if is_open is not None:
        query = query.where(RollCall.closed_at.is_(None) if is_open else RollCall.closed_at.is_not(None))
    if cursor is not None:
        query = query.where(tuple_(RollCall.opened_at, RollCall.id) < paging.decode_moment("rollcalls", cursor))
    rows = (await conn.execute(query.order_by(RollCall.opened_at.desc(), RollCall.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("rollcalls", rows[-1].opened_at, rows[-1].id)
    counts = await _counts(conn, caller, [row.id for row in rows])
    return [(row._asdict(), counts[row.id]) for row in rows], after


async def get_call(
    conn: AsyncConnection, *, caller: Caller, roll_call_id: UUID
) -> tuple[Row, dict[str, dict[str, int]], list[Row]]:
    """One roll call that asks a node of the caller's subtree, its counts there by tier, and who is silent since.

    A Problem (404) otherwise.
    """
    row = await _call(conn, caller, roll_call_id)
    of_call = and_(visible(caller, RollCallAnswer), RollCallAnswer.roll_call_id == roll_call_id)
    counted = select(RollCallAnswer.tier, RollCallAnswer.state, func.count()).where(of_call)
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for tier, state, count in await conn.execute(counted.group_by(RollCallAnswer.tier, RollCallAnswer.state)):
        counts[tier][state] = count
    silent = await conn.execute(
        select(*ANSWERS)
        .where(of_call, RollCallAnswer.silent_since.is_not(None), RollCallAnswer.state == "waiting")
        .where(RollCallAnswer.heard_at.is_(None))
        .order_by(RollCallAnswer.node_code)
    )
    return row, counts, [one._asdict() for one in silent]


async def _call(conn: AsyncConnection, caller: Caller, roll_call_id: UUID) -> Row:
    row = (await conn.execute(select(*COLUMNS).where(_asks(caller), RollCall.id == roll_call_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row._asdict()


async def list_answers(
    conn: AsyncConnection,
    *,
    caller: Caller,
    roll_call_id: UUID,
    state: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[Row], str | None]:
    """The expected nodes of the caller's subtree, by code."""
    await _call(conn, caller, roll_call_id)
    query = select(*ANSWERS).where(RollCallAnswer.roll_call_id == roll_call_id, visible(caller, RollCallAnswer))
    if state is not None:
        query = query.where(RollCallAnswer.state == state)
    if cursor is not None:
        (last,) = paging.decode("answers", cursor, str)
        if "\x00" in last:
            raise Problem(problems.CURSOR_INVALID)
        query = query.where(RollCallAnswer.node_code > last)
    rows = (await conn.execute(query.order_by(RollCallAnswer.node_code).limit(limit + 1))).all()
    after = paging.encode("answers", rows[limit - 1].node_code) if len(rows) > limit else None
    return [row._asdict() for row in rows[:limit]], after


def _asks(caller: Caller) -> Any:
    asked = exists().where(
        RollCallAnswer.city_id == RollCall.city_id,
        RollCallAnswer.roll_call_id == RollCall.id,
        visible(caller, RollCallAnswer),
    )
    return and_(RollCall.city_id == caller.city_id, or_(visible(caller, RollCall), asked))


async def _counts(conn: AsyncConnection, caller: Caller, ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    found: dict[UUID, dict[str, int]] = defaultdict(dict)
    if not ids:
        return found
    rows = await conn.execute(
        select(RollCallAnswer.roll_call_id, RollCallAnswer.state, func.count())
        .where(visible(caller, RollCallAnswer), RollCallAnswer.roll_call_id.in_(list(ids)))
        .group_by(RollCallAnswer.roll_call_id, RollCallAnswer.state)
    )
    for call_id, state, count in rows:
        found[call_id][state] = count
    return found


async def towns_answered(conn: AsyncConnection, city_id: str, since: date, until: date) -> dict[str, set[date]]:
    """By town: the days from the first until the last on which it answered a roll call; one never asked is not in it.

    Where no town answers any, roll calls are not in use, and nobody counts as asked.
    """
    rows = await conn.execute(
        select(RollCallAnswer.node_code, RollCallAnswer.state, RollCall.opened_at)
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.tier == "town",
            RollCall.drill_id.is_(None),
            RollCall.closed_at.is_not(None),
        )
        .where(RollCall.opened_at >= _begins(since), RollCall.opened_at < _begins(until + timedelta(days=1)))
    )
    found: dict[str, set[date]] = {}
    for node, state, at in rows:
        days = found.setdefault(node, set())
        if state in ("nothing", "something"):
            days.add(day_of(at))
    return found if any(found.values()) else {}


def _begins(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZONE)
