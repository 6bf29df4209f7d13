from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.standing import SAME, ended
from app.core import problems
from app.core.caller import Caller
from app.core.database import announce, insert_into
from app.core.errors import Problem
from app.core.ids import new_id
from app.feed.cursors import START, Position
from app.feed.models import FeedAudience, FeedEvent, FeedHead
from app.nodes.scope import visible

# The topic of what no reader is told: it moves the end of the log, and so wakes those who wait.
INTERNAL = "internal"

_INSERT = insert(FeedEvent)
_INSERT_AUDIENCE = insert(FeedAudience)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one subject; `body` is the subject as it is now.

    It is seen wherever `node_code`, or a node of `also`, is in scope.
    """

    type: str
    topic: str
    subject_id: UUID
    version: int
    node_code: str
    body: dict[str, Any]
    also: tuple[str, ...] = ()
    drill_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Advanced:
    """Announced after commit: the city's log now ends at `position`."""

    city_id: str
    position: Position


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its place in the log."""

    position: Position
    at: datetime
    type: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entries:
    """What a reader gets: `position` is where to go on from, `pending` how many entries wait beyond it."""

    entries: tuple[Entry, ...]
    position: Position
    pending: int


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a city's log."""

    position: Position
    last_at: datetime | None


async def append(
    conn: AsyncConnection, *, city_id: str, operations: Sequence[Sequence[Event]], now: datetime
) -> Position:
    """Give the events the city's next numbers, without a gap, and store them.

    Call it last: from here to the commit every other writer of the city waits. Each inner sequence is one
    operation, whose events no answer ever separates.
    """
    count = sum(len(operation) for operation in operations)
    first = {"city_id": city_id, "epoch": new_id(), "last_seq": count, "kept_from": 1, "last_at": now}
    taken = (await conn.execute(_take_numbers(conn.dialect.name), first)).one()
    seq = taken.last_seq - count
    rows = []
    audience = []
    for operation in operations:
        last = seq + len(operation)
        for event in operation:
            seq += 1
            audience += [{"city_id": city_id, "seq": seq, "node_code": node} for node in event.also]
            rows.append(
                {
                    "city_id": city_id,
                    "seq": seq,
                    "last_of_operation": last,
                    "at": now,
                    "type": event.type,
                    "topic": event.topic,
                    "subject_id": event.subject_id,
                    "version": event.version,
                    "node_code": event.node_code,
                    "body": event.body,
                    "drill_id": event.drill_id,
                }
            )
    await conn.execute(_INSERT, rows)
    if audience:
        await conn.execute(_INSERT_AUDIENCE, audience)
    position = Position(taken.epoch, taken.last_seq)
    announce(conn, Advanced(city_id, position))
    return position


@cache
def _take_numbers(dialect: str) -> Any:
    # An upsert, since a city's first event finds no row.
    head = insert_into(dialect, FeedHead)
    return head.on_conflict_do_update(
        index_elements=["city_id"],
        set_={"last_seq": FeedHead.last_seq + head.excluded.last_seq, "last_at": head.excluded.last_at},
    ).returning(FeedHead.epoch, FeedHead.last_seq)


def within(caller: Caller) -> ColumnElement[bool]:
    """The condition that keeps a reader of the log inside the caller's subtree, and from what is internal."""
    told = FeedEvent.topic != INTERNAL
    own = visible(caller, FeedEvent)
    if caller.tier == "city":
        return and_(told, own)
    also = exists().where(
        FeedAudience.city_id == FeedEvent.city_id, FeedAudience.seq == FeedEvent.seq, visible(caller, FeedAudience)
    )
    return and_(told, or_(own, also))


async def head(conn: AsyncConnection, *, city_id: str) -> Head:
    """The end of the city's log; `START` when nothing has happened yet."""
    row = (
        await conn.execute(
            select(FeedHead.epoch, FeedHead.last_seq, FeedHead.last_at).where(FeedHead.city_id == city_id)
        )
    ).one_or_none()
    return Head(Position(row.epoch, row.last_seq), row.last_at) if row else Head(START, None)


async def read(
    conn: AsyncConnection,
    *,
    city_id: str,
    topic: str,
    within: ColumnElement[bool],
    since: Position,
    limit: int,
    drill_id: UUID | None = None,
    of_tree: str | None = None,
    standing: ColumnElement[str | None] | None = None,
) -> Entries:
    """The entries after `since` in order, about `limit` of them, cut only between operations.

    Of what is real, or of one drill; `of_tree` is a type that tells of the tree, which is the same in every drill.

    One statement, so that the entries and the end of the log are of one moment. A Problem (410) when
    `since` is older than what is kept or of another epoch: nothing is ever skipped silently. A Problem (401) when
    `standing` (of accounts) says that the reader's sign-in has ended: what was revoked before an entry hides it.
    """
    of_drill = FeedEvent.drill_id.is_(None) if drill_id is None else FeedEvent.drill_id == drill_id
    if of_tree is not None:
        of_drill = or_(of_drill, FeedEvent.type == of_tree)
    wanted = and_(
        FeedEvent.city_id == FeedHead.city_id,
        FeedEvent.city_id == city_id,
        FeedEvent.seq > since.seq,
        FeedEvent.topic == topic,
        of_drill,
        within,
    )
    rows = (
        await conn.execute(
            select(
                FeedHead.epoch,
                FeedHead.last_seq,
                FeedHead.kept_from,
                FeedEvent.seq,
                FeedEvent.last_of_operation,
                FeedEvent.at,
                FeedEvent.type,
                FeedEvent.body,
                (literal(SAME) if standing is None else standing).label("standing"),
            )
            .select_from(FeedHead)
            .join(FeedEvent, wanted, isouter=True)
            .where(FeedHead.city_id == city_id)
            .order_by(FeedEvent.seq)
            .limit(limit + 1)
        )
    ).all()
    if not rows:
        if since != START:
            raise Problem(problems.CURSOR_EXPIRED)
        return Entries((), START, 0)
    if rows[0].standing != SAME:
        raise ended(rows[0].standing)
    epoch, last_seq, kept_from = rows[0].epoch, rows[0].last_seq, rows[0].kept_from
    if since == START:
        expired = kept_from > 1
    else:
        expired = since.epoch != epoch or since.seq < kept_from - 1 or since.seq > last_seq
    if expired:
        raise Problem(problems.CURSOR_EXPIRED)
    rows = [row for row in rows if row.seq is not None]
    ends_at, pending = last_seq, 0
    if len(rows) > limit:
        cut = rows[limit].last_of_operation
        kept = [row for row in rows if row.last_of_operation != cut]
        if not kept:
            kept = await _operation(conn, city_id=city_id, wanted=wanted, last=cut)
        if not kept:
            # Pruned between the two reads.
            raise Problem(problems.CURSOR_EXPIRED)
        rows = kept
        ends_at = rows[-1].last_of_operation
        pending = (
            await conn.execute(
                select(func.count())
                .select_from(FeedEvent)
                .where(
                    FeedEvent.city_id == city_id,
                    FeedEvent.seq > ends_at,
                    FeedEvent.topic == topic,
                    of_drill,
                    within,
                )
            )
        ).scalar_one()
    entries = tuple(Entry(Position(epoch, row.seq), row.at, row.type, row.body) for row in rows)
    return Entries(entries, Position(epoch, ends_at), pending)


async def _operation(conn: AsyncConnection, *, city_id: str, wanted: ColumnElement[bool], last: int) -> list[Any]:
    """All wanted entries of the one operation that is larger than the limit."""
    return list(
        (
            await conn.execute(
                select(FeedEvent.seq, FeedEvent.last_of_operation, FeedEvent.at, FeedEvent.type, FeedEvent.body)
                .join(FeedHead, FeedHead.city_id == FeedEvent.city_id)
                .where(wanted, FeedEvent.seq <= last)
                .order_by(FeedEvent.seq)
            )
        ).all()
    )


async def prune(conn: AsyncConnection, *, city_id: str, before: datetime) -> int:
    """Forget the entries older than `before`; cursors from before them get 410. Answers how many."""
    newest = (
        await conn.execute(
            select(func.max(FeedEvent.last_of_operation)).where(FeedEvent.city_id == city_id, FeedEvent.at < before)
        )
    ).scalar_one()
    if newest is None:
        return 0
    await conn.execute(
        update(FeedHead)
        .where(FeedHead.city_id == city_id, FeedHead.kept_from <= literal(newest))
        .values(kept_from=newest + 1)
    )
    await conn.execute(delete(FeedAudience).where(FeedAudience.city_id == city_id, FeedAudience.seq <= newest))
    gone = await conn.execute(delete(FeedEvent).where(FeedEvent.city_id == city_id, FeedEvent.seq <= newest))
    return gone.rowcount


async def new_epoch(conn: AsyncConnection) -> None:
    """Make every cursor given out so far expire: after a backup was restored the numbers run again."""
    for city_id in (await conn.execute(select(FeedHead.city_id))).scalars().all():
        await conn.execute(update(FeedHead).where(FeedHead.city_id == city_id).values(epoch=new_id()))
