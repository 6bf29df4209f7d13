"""What an office does with a report that it holds: take it on, ask back, pass it on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.feed import service as feed
from app.feed.service import Event
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.models import Node
from app.reports import custody, moves, service, stepping
from app.reports.models import Custody, Report
from app.reports.views import Notice, ReportActed

TAKEN = Notice(
    code="report_yours", text="Your office has it already: nothing was changed.", text_zh="本单位已受理，未作更改。"
)
PASSED = Notice(
    code="report_passed", text="Your office has passed it on: nothing was changed.", text_zh="本单位已转交，未作更改。"
)
ASKED = Notice(
    code="report_asked",
    text="The same is asked there already: nothing was changed.",
    text_zh="已提出相同问题，未作更改。",
)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """A report, who holds it, and of those what is part of the caller's office; locked until the transaction ends."""

    report: Row
    custody: Mapping[str, Row]
    parts: tuple[str, ...]

    def by(self, office: str) -> Row:
        """The custody of an office, or of one that was merged into it; a Problem (409) tells who holds it instead."""
        for code in (office, *self.parts):
            if code in self.custody:
                return self.custody[code]
        raise Problem(problems.CUSTODY_ELSEWHERE, offices=", ".join(sorted(self.custody)))


async def acknowledge(
    conn: AsyncConnection, *, caller: Caller, report_id: UUID, note: str, version: int | None = None, now: datetime
) -> ReportActed:
    """Acknowledge the report; again, it changes nothing.

    A Problem (409) for an office that does not hold it, (412) when it is not at `version`.
    """
    held = await _locked(conn, caller, report_id)
    mine = held.by(caller.node)
    state = moves.after(mine["state"], "acknowledge")
    if state is None:
        return await _acted(conn, caller, report_id, TAKEN if mine["state"] == "acknowledged" else PASSED)
    must_be_at(held.report["version"], version)
    await _write(
        conn,
        mine,
        state=state,
        acknowledged_at=now,
        opened_at=func.coalesce(Custody.opened_at, now),
        bypass_at=None,
    )
    events = await stepping.take(conn, [held.report], type="report.acknowledged", caller=caller, now=now, note=note)
    return await _done(conn, caller, report_id, events, now)


async def give_back(
    conn: AsyncConnection,
    *,
    policy: Policy,
    caller: Caller,
    report_id: UUID,
    question: str,
    version: int | None = None,
    now: datetime,
) -> ReportActed:
    """Return the report with a question to the office that gave it, or filed it; one's own custody waits.

    Unopened, it is opened by this. A Problem (409) for an office that does not hold it, (412) when it is not at
    `version`, (422) when there is no other office to ask.
    """
    held = await _locked(conn, caller, report_id)
    mine = held.by(caller.node)
    place = await _origin(conn, held, mine, caller, day_of(now))
    asked = held.custody.get(place.code)
    if asked is not None and asked["given_by"] == caller.node and asked["note"] == question and _waits(asked):
        return await _acted(conn, caller, report_id, ASKED)
    must_be_at(held.report["version"], version)
    events = []
    if moves.after(mine["state"], "ask") != mine["state"]:
        events = await custody.open_report(conn, caller=caller, report_id=report_id, policy=policy, now=now)
    due = await _give(conn, held, place, caller, policy, question, now)
    events += await stepping.take(
        conn,
        [held.report],
        type="report.returned",
        caller=caller,
        now=now,
        to=place.code,
        due={report_id: due},
        note=question,
    )
    return await _done(conn, caller, report_id, events, now)


async def forward(
    conn: AsyncConnection,
    *,
    policy: Policy,
    caller: Caller,
    report_id: UUID,
    to: str,
    note: str,
    version: int | None = None,
    now: datetime,
) -> ReportActed:
    """Pass the report on: to the office above, to one right below, and from the city to any of its offices.

    An office that holds a report may read it. A Problem (409) for an office that does not hold it, (412) when it is
    not at `version`, (422) for one that it cannot be passed to.
    """
    held = await _locked(conn, caller, report_id)
    mine = held.by(caller.node)
    place = (await lookup.places(conn, {to})).get(to)
    own = (await lookup.places(conn, {caller.node}))[caller.node]
    if place is None or not _may_pass(own, place, day_of(now)):
        raise Problem(problems.FORWARD_WRONG, pointer="/to", to=to)
    there = held.custody.get(to)
    if mine["forwarded_to"] == to and there is not None and there["note"] == note and _waits(there):
        return await _acted(conn, caller, report_id, PASSED)
    must_be_at(held.report["version"], version)
    await _write(
        conn,
        mine,
        state=moves.after(mine["state"], "pass"),
        forwarded_at=now,
        forwarded_to=to,
        opened_at=func.coalesce(Custody.opened_at, now),
        bypass_at=None,
    )
    due = await _give(conn, held, place, caller, policy, note, now)
    events = await stepping.take(
        conn, [held.report], type="report.forwarded", caller=caller, now=now, to=to, due={report_id: due}, note=note
    )
    return await _done(conn, caller, report_id, events, now)


async def answered(conn: AsyncConnection, *, row: Row, caller: Caller, now: datetime) -> list[Event]:
    """The caller's office has said more of the report: a question that waits there is answered; the events."""
    done = await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == row["city_id"],
            Custody.report_id == row["id"],
            Custody.node_code == caller.node,
            Custody.given_by.is_not(None),
            Custody.state.in_(moves.before("answer")),
        )
        .values(state="acknowledged", acknowledged_at=now, opened_at=func.coalesce(Custody.opened_at, now))
        .returning(Custody.given_by)
    )
    asker = done.scalar_one_or_none()
    if asker is None:
        return []
    return await stepping.take(conn, [row], type="report.answered", caller=caller, now=now, to=asker)


async def _locked(conn: AsyncConnection, caller: Caller, report_id: UUID) -> Held:
    # Whoever changes who holds a report locks the report, and then looks: rows that another added meanwhile are seen.
    # The lock lets pass those who keep a step of it, who lock their custody only.
    await conn.execute(
        select(Report.id)
        .where(Report.city_id == caller.city_id, Report.id == report_id)
        .with_for_update(key_share=True)
    )
    row = await service.readable(conn, caller=caller, report_id=report_id)
    found = await conn.execute(
        select(*Custody.__table__.columns)
        .where(Custody.city_id == caller.city_id, Custody.report_id == report_id)
        .order_by(Custody.node_code)
        .with_for_update()
    )
    report = {key: value for key, value in row.items() if key != "filed_by_parent"}
    holders = {one.node_code: one._asdict() for one in found}
    parts: tuple[str, ...] = ()
    if caller.node not in holders:
        merged = select(Node.code).where(Node.merged_into == caller.node, Node.code.in_(sorted(holders)))
        parts = tuple((await conn.execute(merged.order_by(Node.code))).scalars())
    return Held(report, holders, parts)


def _waits(custody: Row) -> bool:
    return custody["state"] in moves.WAITING


async def _origin(conn: AsyncConnection, held: Held, mine: Row, caller: Caller, today: date) -> Place:
    """Who is to be asked: the office that gave the report, that filed it, or that it is of; as it stands today."""
    codes = [code for code in (mine["given_by"], held.report["filed_by"], held.report["node_code"]) if code is not None]
    query = select(Node.code, Node.merged_into).where(Node.code.in_(codes), Node.merged_into.is_not(None))
    whole = {row.code: row.merged_into for row in await conn.execute(query)}
    asked = [whole.get(code, code) for code in codes]
    places = await lookup.places(conn, set(asked))
    for code in asked:
        if code != caller.node and _is_open(places[code], today):
            return places[code]
    raise Problem(problems.RETURN_NOWHERE)


def _is_open(place: Place, today: date) -> bool:
    return place.opened_on <= today and (place.closed_on is None or today < place.closed_on)


def _may_pass(own: Place, to: Place, today: date) -> bool:
    if to.code == own.code or to.city_id != own.city_id or not _is_open(to, today):
        return False
    parents = to.path[-2:-1], own.path[-2:-1]
    return own.tier == "city" or parents[0] == (own.code,) or parents[1] == (to.code,)


async def _give(
    conn: AsyncConnection, held: Held, to: Place, caller: Caller, policy: Policy, note: str, now: datetime
) -> datetime:
    """The office holds it from now on; until when it has to open it."""
    report = held.report
    tempo = await custody.tempo(conn, policy=policy, city_id=caller.city_id, drill_id=report["drill_id"], now=now)
    due: datetime = now + policy.custody.due(to.tier, Level(report["level"])) * tempo
    values = {
        "state": "received",
        "since": now,
        "due_at": due,
        "bypass_at": None,
        "opened_at": None,
        "acknowledge_by": None,
        "acknowledged_at": None,
        "given_by": caller.node,
        "note": note,
        "forwarded_at": None,
        "forwarded_to": None,
    }
    known = held.custody.get(to.code)
    if known is not None:
        if known["given_by"] is None:
            # That it held the report from the first on is told by its custody, which is another one from here on.
            await stepping.keep(conn, [stepping.received(known)])
        await _write(conn, known, **values)
    else:
        key = {"city_id": report["city_id"], "report_id": report["id"], "node_code": to.code, "tier": to.tier}
        await conn.execute(insert(Custody), {**key, "bypassed_at": None, **values})
    return due


async def _write(conn: AsyncConnection, custody: Row, **values: Any) -> None:
    await conn.execute(
        update(Custody)
        .where(
            Custody.city_id == custody["city_id"],
            Custody.report_id == custody["report_id"],
            Custody.node_code == custody["node_code"],
        )
        .values(**values)
    )


async def _done(
    conn: AsyncConnection, caller: Caller, report_id: UUID, events: list[Event], now: datetime
) -> ReportActed:
    await feed.append(conn, city_id=caller.city_id, operations=[[one] for one in events], now=now)
    return await _acted(conn, caller, report_id, None)


async def _acted(conn: AsyncConnection, caller: Caller, report_id: UUID, notice: Notice | None) -> ReportActed:
    view = await service.get(conn, caller=caller, report_id=report_id)
    return ReportActed.model_construct(**view.__dict__, applied=notice is None, notice=notice)
