from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller, may_know_person
from app.core.clock import Clock, day_of
from app.core.database import Database, among, insert_into
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.feed import cursors
from app.feed import service as feed
from app.feed.cursors import START
from app.feed.following import follow
from app.feed.heads import Heads
from app.feed.models import FeedEvent
from app.feed.service import Event
from app.hazards.policy import Policy
from app.nodes.models import Node
from app.nodes.scope import subtree, visible
from app.nodes.service import TreeChange
from app.reports import custody, handover
from app.reports.events import SCOPE_CHANGED, TOMBSTONES, TOPIC, scope_changed
from app.reports.models import Activity, Custody, Report
from app.reports.views import ReportChange, ReportChanges, ReportView, report_view

Row = Mapping[str, Any]


_INSERT_CUSTODY = insert(Custody)


@dataclass(slots=True)
class Neighbours:
    """How many nodes of a town have reported a family lately, and which of those asked about."""

    count: int = 0
    among: set[str] = field(default_factory=set)

    def others(self, node: str) -> int:
        """How many nodes but this one."""
        return self.count - (node in self.among)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of reports is narrowed by."""

    node: str | None = None
    levels: Sequence[str] | None = None
    hazards: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    incident: UUID | None = None
    drill: UUID | None = None


async def store(conn: AsyncConnection, rows: Sequence[Row]) -> set[UUID]:
    """Store new reports; the ids that were stored. One that is missing was stored before."""
    return set((await conn.execute(_claim(conn.dialect.name), list(rows))).scalars())


@cache
def _claim(dialect: str) -> Any:
    return insert_into(dialect, Report).on_conflict_do_nothing(index_elements=["city_id", "id"]).returning(Report.id)


async def store_custody(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Store who holds the reports."""
    await conn.execute(_INSERT_CUSTODY, list(rows))


async def note_activity(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Note that these nodes of these towns have just reported these families."""
    # In one order, so that two writers cannot wait for each other.
    ordered = sorted(rows, key=lambda row: (row["town_code"], row["family"], row["node_code"]))
    await conn.execute(_note(conn.dialect.name), ordered)


@cache
def _note(dialect: str) -> Any:
    insert = insert_into(dialect, Activity)
    later = insert.excluded.last_received_at > Activity.last_received_at
    return insert.on_conflict_do_update(
        index_elements=["city_id", "town_code", "family", "node_code"],
        set_={"last_received_at": case((later, insert.excluded.last_received_at), else_=Activity.last_received_at)},
    )


async def neighbours(
    conn: AsyncConnection,
    *,
    city_id: str,
    towns: Collection[str],
    families: Collection[str],
    nodes: Collection[str],
    since: datetime,
    drill_id: UUID | None = None,
) -> dict[tuple[str, str], Neighbours]:
    """By (town, family): how many nodes have reported it since then, and which of `nodes` are among them."""
    if not towns:
        return {}
    rows = await conn.execute(
        _neighbours(conn.dialect.name) if drill_id is None else _neighbours_in_drill(conn.dialect.name, drill_id),
        {
            "city_id": city_id,
            "towns": sorted(towns),
            "families": sorted(families),
            "nodes": sorted(nodes),
            "since": since,
        },
    )
    found: dict[tuple[str, str], Neighbours] = defaultdict(Neighbours)
    for town, family, node, count in rows:
        around = found[town, family]
        around.count += count
        if node is not None:
            around.among.add(node)
    return found


@cache
def _neighbours(dialect: str) -> Any:
    # Counted in the database: of the many nodes around only those of the batch come back by name.
    mine = case((among(dialect, Activity.node_code, "nodes"), Activity.node_code)).label("mine")
    return (
        select(Activity.town_code, Activity.family, mine, func.count())
        .where(
            Activity.city_id == bindparam("city_id"),
            among(dialect, Activity.town_code, "towns"),
            among(dialect, Activity.family, "families"),
            Activity.last_received_at >= bindparam("since"),
        )
        .group_by(Activity.town_code, Activity.family, text("mine"))
    )


def _neighbours_in_drill(dialect: str, drill_id: UUID) -> Any:
    # `activity` knows the real only; a drill is small, so its reports themselves are counted.
    mine = case((among(dialect, Report.node_code, "nodes"), Report.node_code)).label("mine")
    return (
        select(Report.town_code, Report.family, mine, func.count(Report.node_code.distinct()))
        .where(
            Report.city_id == bindparam("city_id"),
            Report.drill_id == drill_id,
            among(dialect, Report.town_code, "towns"),
            among(dialect, Report.family, "families"),
            Report.received_at >= bindparam("since"),
        )
        .group_by(Report.town_code, Report.family, text("mine"))
    )


async def stored(conn: AsyncConnection, *, city_id: str, report_id: UUID) -> tuple[Row, list[Row]] | None:
    """A stored report's row and its custody, whoever asks."""
    row = (
        await conn.execute(select(*Report.__table__.columns).where(Report.city_id == city_id, Report.id == report_id))
    ).one_or_none()
    if row is None:
        return None
    held = await _custody(conn, city_id=city_id, ids=[report_id])
    return row._asdict(), held[report_id]


async def get(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> ReportView:
    """One report the caller may see; a Problem (404) otherwise."""
    rows = (await conn.execute(_readable(caller).where(Report.id == report_id))).all()
    if not rows:
        raise Problem(problems.NOT_FOUND)
    return (await _views(conn, caller, rows))[0]


async def readable(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> Row:
    """The row of one report the caller may see; a Problem (404) otherwise."""
    row = (await conn.execute(_readable(caller).where(Report.id == report_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row._asdict()


async def open_report(
    database: Database, *, policy: Policy, caller: Caller, report_id: UUID, now: datetime
) -> ReportView:
    """`get`; and where a person at a desk that holds it reads it for the first time, it is opened there."""
    async with database.reading() as conn:
        found = await get(conn, caller=caller, report_id=report_id)
    held = {one.node for one in found.custody if one.state == "received"}
    if caller.node not in held or not custody.opens(caller):
        return found
    async with database.writing() as conn:
        events = await custody.open_report(conn, caller=caller, report_id=report_id, policy=policy, now=now)
        if events:
            await feed.append(conn, city_id=caller.city_id, operations=[events], now=now)
        return await get(conn, caller=caller, report_id=report_id)


async def list_reports(
    conn: AsyncConnection, *, caller: Caller, filters: Filters, limit: int, cursor: str | None
) -> tuple[list[ReportView], str | None]:
    """Reports the caller may see, the last received first, and the cursor of the next page."""
    query = _rows(_listed(caller)).where(of_drill(Report, filters.drill))
    if filters.node is not None and filters.node != caller.city_id:
        # Looked up first: a plan for these very nodes takes their index, one for any nodes reads all that is there.
        codes = (await conn.execute(subtree(filters.node))).scalars()
        query = query.where(Report.node_code.in_(sorted(set(codes))))
    if filters.levels:
        query = query.where(Report.level.in_(filters.levels))
    if filters.hazards:
        query = query.where(or_(Report.hazard.in_(filters.hazards), Report.family.in_(filters.hazards)))
    if filters.since is not None:
        query = query.where(Report.received_at >= filters.since)
    if filters.until is not None:
        query = query.where(Report.received_at < filters.until)
    if filters.incident is not None:
        query = query.where(Report.incident_id == filters.incident)
    if cursor is not None:
        query = query.where(tuple_(Report.received_at, Report.id) < paging.decode_moment("reports", cursor))
    rows = (await conn.execute(query.order_by(Report.received_at.desc(), Report.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("reports", rows[-1].received_at, rows[-1].id)
    return await _views(conn, caller, rows), after


async def follow_tree(conn: AsyncConnection, changed: Sequence[TreeChange], now: datetime) -> list[list[Event]]:
    """Follow the tree; the operations that tell the offices which see more or less reports since to list them again.

    What a merged office holds and has not taken on, its successor holds, and what one that is closed by now does, the
    office above; and what a town holds of a village that moved, the village's new town does.
    """
    for change in changed:
        if change.new_parent is None:
            continue
        if change.kind == "merged" or (change.kind == "closed" and change.on <= day_of(now)):
            await handover.hand_over(conn, city_id=change.city_id, old=change.code, new=change.new_parent, now=now)
        elif change.kind == "moved" and change.old_parent is not None:
            await handover.hand_over(
                conn, city_id=change.city_id, old=change.old_parent, new=change.new_parent, now=now, of=change.code
            )
    return [[happened] for change in changed if (happened := scope_changed(change)) is not None]


async def changes(
    database: Database,
    heads: Heads,
    clock: Clock,
    *,
    caller: Caller,
    since: str | None,
    limit: int,
    wait: float,
    drill_id: UUID | None,
) -> ReportChanges:
    """What happened after the cursor `since` to the reports that the caller may see; waits up to `wait` seconds.

    Whoever holds a report is told all that happens to it, whoever does it.
    A Problem (400) for a cursor that is none, (410) for one older than what is kept.
    """
    found = await follow(
        database,
        heads,
        clock=clock,
        caller=caller,
        topic=TOPIC,
        within=or_(feed.within(caller), _held(caller, FeedEvent, FeedEvent.subject_id)),
        since=cursors.decode(since) if since else START,
        limit=limit,
        wait=wait,
        drill_id=drill_id,
        of_tree=SCOPE_CHANGED,
    )
    return ReportChanges(
        results=[
            ReportChange(
                cursor=cursors.encode(entry.position),
                type=entry.type,
                at=entry.at,
                deleted=entry.type in TOMBSTONES,
                list_again=entry.type == SCOPE_CHANGED and caller.node in entry.body["offices"],
                report=entry.body,
            )
            for entry in found.entries
        ],
        cursor=cursors.encode(found.position),
        pending=found.pending,
    )


def _readable(caller: Caller) -> Any:
    return _rows(seen(caller))


def _rows(which: ColumnElement[bool]) -> Any:
    return (
        select(*Report.__table__.columns, Node.parent_code.label("filed_by_parent"))
        .join(Node, Node.code == Report.filed_by)
        .where(which)
    )


def seen(caller: Caller) -> ColumnElement[bool]:
    """The reports that a caller may read: those of its subtree, and those that an office of its subtree holds.

    The door for a report and all that belongs to it.
    """
    own = visible(caller, Report)
    if caller.tier == "city":
        return own
    held = exists().where(Custody.city_id == Report.city_id, Custody.report_id == Report.id, visible(caller, Custody))
    return or_(own, held)


def _listed(caller: Caller) -> ColumnElement[bool]:
    """`seen`, for a list."""
    if caller.tier != "village":
        return or_(visible(caller, Report), _held(caller, Report, Report.id))
    # A village's are few among very many: they are looked up, not found by reading all of them from the last on.
    ids = union_all(
        select(Report.id).where(visible(caller, Report)), select(Custody.report_id).where(visible(caller, Custody))
    )
    return and_(Report.city_id == caller.city_id, Report.id.in_(ids))


def _held(caller: Caller, table: Any, report_id: Any) -> ColumnElement[bool]:
    """The same of what is held, for many rows: all that is held is looked up once, not for each row."""
    if caller.tier == "city":
        return false()
    ids = select(Custody.report_id).where(visible(caller, Custody))
    return and_(table.city_id == caller.city_id, report_id.in_(ids))


async def _views(conn: AsyncConnection, caller: Caller, rows: Sequence[Any]) -> list[ReportView]:
    held = await _custody(conn, city_id=caller.city_id, ids=[row.id for row in rows])
    return [report_view(row._asdict(), held[row.id], with_account=_knows_account(caller, row)) for row in rows]


def _knows_account(caller: Caller, row: Any) -> bool:
    return may_know_person(caller, office=row.filed_by, above=row.filed_by_parent)


async def _custody(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> dict[UUID, list[Row]]:
    held: dict[UUID, list[Row]] = defaultdict(list)
    if not ids:
        return held
    rows = await conn.execute(
        select(*Custody.__table__.columns)
        .where(Custody.city_id == city_id, Custody.report_id.in_(list(ids)))
        .order_by(Custody.tier.desc(), Custody.node_code)
    )
    for row in rows:
        held[row.report_id].append(row._asdict())
    return held
