"""From the city log to each receiver's own queue, by the receiver's cursor.

A receiver's new deliveries and its cursor's advance are one transaction: killed anywhere, each entry of the log
becomes exactly one delivery.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.core.clock import Clock
from app.core.database import Database, insert_into
from app.core.ids import new_id
from app.deliveries.channels import TOLD
from app.deliveries.models import Delivery, Receiver
from app.deliveries.retrying import is_urgent
from app.feed import service as feed
from app.feed.cursors import START
from app.feed.models import FeedEvent, FeedHead
from app.nodes.models import Node

WINDOW = 1000
RECEIVERS = list(Receiver.__table__.columns)
_BEHIND = and_(
    Receiver.state == "active",
    or_(Receiver.epoch != FeedHead.epoch, Receiver.seq != FeedHead.last_seq),
)


async def fan_out(database: Database, *, city_id: str, clock: Clock) -> None:
    """Queue what is new in a city for each of its receivers."""
    async with database.reading() as conn:
        query = select(Receiver.id).join(FeedHead, FeedHead.city_id == Receiver.city_id)
        behind = (await conn.execute(query.where(Receiver.city_id == city_id, _BEHIND).order_by(Receiver.id))).scalars()
        receivers = behind.all()
    for receiver_id in receivers:
        more = True
        while more:
            async with database.writing() as conn:
                more = await _queue(conn, city_id=city_id, receiver_id=receiver_id, now=clock.now())


async def _queue(conn: AsyncConnection, *, city_id: str, receiver_id: UUID, now: datetime) -> bool:
    """Queue the next entries of one receiver; whether there may be more."""
    query = (
        select(*RECEIVERS, Node.tier, FeedHead.epoch.label("head_epoch"), FeedHead.last_seq, FeedHead.kept_from)
        .join(Node, Node.code == Receiver.node_code)
        .join(FeedHead, FeedHead.city_id == Receiver.city_id)
        .where(Receiver.city_id == city_id, Receiver.id == receiver_id, _BEHIND)
        .with_for_update(of=Receiver, skip_locked=True)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return False
    # One that was made before anything had happened follows the log from its first entry.
    same_log = row.epoch in (row.head_epoch, START.epoch)
    if not same_log or row.seq < row.kept_from - 1:
        await _begin_again(conn, row, now)
        return False
    until = min(row.seq + WINDOW, row.last_seq)
    caller = Caller(city_id, row.node_code, row.tier, frozenset(), row.label)
    wanted = FeedEvent.drill_id.is_not(None) if row.drills else FeedEvent.drill_id.is_(None)
    events = await conn.execute(
        select(FeedEvent.seq, FeedEvent.at, FeedEvent.type, FeedEvent.version, FeedEvent.body)
        .where(
            FeedEvent.city_id == city_id,
            FeedEvent.seq > row.seq,
            FeedEvent.seq <= until,
            wanted,
            feed.within(caller),
        )
        .order_by(FeedEvent.seq)
    )
    new = [_delivery(row, event) for event in events if is_wanted(row._asdict(), event.type, event.body)]
    await _store(conn, new)
    await _advance(conn, row, row.head_epoch, until)
    return bool(until < row.last_seq)


def is_wanted(receiver: Mapping[str, Any], kind: str, body: Mapping[str, Any]) -> bool:
    """Whether a receiver is told of an event that it may see: by its types and levels.

    A channel without types is told when an alert's escalation names the channels.
    """
    if receiver["levels"] and body.get("level") is not None and body["level"] not in receiver["levels"]:
        return False
    if not receiver["events"] and receiver["kind"] == "channel":
        return kind in TOLD and "channels" in body.get("escalation", {}).get("to", ())
    return any(_fits(pattern, kind) for pattern in receiver["events"])


def _fits(pattern: str, kind: str) -> bool:
    return pattern in ("*", kind) or (pattern.endswith(".*") and kind.startswith(pattern[:-1]))


def _delivery(receiver: Any, event: Any) -> dict[str, Any]:
    return {
        "city_id": receiver.city_id,
        "id": new_id(),
        "receiver_id": receiver.id,
        "seq": event.seq,
        "type": event.type,
        "at": event.at,
        "urgent": is_urgent(event.type, event.body.get("level")),
        "body": {"version": event.version, **event.body, "city_id": receiver.city_id},
        "state": "pending",
        "tries": 0,
        "next_at": event.at,
    }


async def _begin_again(conn: AsyncConnection, row: Any, now: datetime) -> None:
    """The receiver's place in the log is kept no more: it is told so, and goes on from the end."""
    gap = {
        "city_id": row.city_id,
        "id": new_id(),
        "receiver_id": row.id,
        "seq": None,
        "type": "beacon.gap",
        "at": now,
        "urgent": False,
        "body": {
            "city_id": row.city_id,
            "text": "Events were missed that are kept no more. List what you follow again.",
            "text_zh": "有事件因超过保存期未能送达，请重新列出所关注的内容。",
        },
        "state": "pending",
        "tries": 0,
        "next_at": now,
    }
    await _store(conn, [gap])
    reason = f"Events before {now.isoformat(timespec='seconds')} were missed: they are kept no more."
    await conn.execute(
        update(Receiver).where(Receiver.city_id == row.city_id, Receiver.id == row.id).values(reason=reason)
    )
    await _advance(conn, row, row.head_epoch, row.last_seq)


async def _store(conn: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        new = insert_into(conn.dialect.name, Delivery)
        await conn.execute(new.on_conflict_do_nothing(index_elements=["city_id", "receiver_id", "seq"]), list(rows))


async def _advance(conn: AsyncConnection, row: Any, epoch: UUID, seq: int) -> None:
    await conn.execute(
        update(Receiver).where(Receiver.city_id == row.city_id, Receiver.id == row.id).values(epoch=epoch, seq=seq)
    )
