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
from app.core.clock import ZONE, Clock
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
GAP = "beacon.gap"
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
    is_first = row.epoch == START.epoch
    if (not is_first and row.epoch != row.head_epoch) or not row.kept_from - 1 <= row.seq <= row.last_seq:
        await _begin_again(conn, row, now)
        return False
    until = min(row.seq + WINDOW, row.last_seq)
    caller = Caller(city_id, row.node_code, row.tier, frozenset(), row.label)
    wanted = FeedEvent.drill_id.is_not(None) if row.drills else FeedEvent.drill_id.is_(None)
    events = await conn.execute(
        select(
            FeedEvent.seq,
            FeedEvent.at,
            FeedEvent.type,
            FeedEvent.subject_id,
            FeedEvent.version,
            FeedEvent.drill_id,
            FeedEvent.body,
        )
        .where(
            FeedEvent.city_id == city_id,
            FeedEvent.seq > row.seq,
            FeedEvent.seq <= until,
            wanted,
            feed.within(caller),
        )
        .order_by(FeedEvent.seq)
    )
    new = [_delivery(row, event, now) for event in events if is_wanted(row._asdict(), event.type, event.body)]
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


def outward(city_id: str, event: Any) -> dict[str, Any]:
    """An event's body as it leaves Beacon: always with id, version and drill, of an owner only the office."""
    body = {
        "id": str(event.subject_id),
        "version": event.version,
        **event.body,
        "city_id": city_id,
        "drill_id": str(event.drill_id) if event.drill_id else None,
    }
    for name in ("owner", "last_owner"):
        if isinstance(body.get(name), dict):
            body[name] = {key: value for key, value in body[name].items() if key not in ("label", "above")}
    return body


def queued(
    receiver: Any,
    *,
    kind: str,
    at: datetime,
    body: dict[str, Any],
    now: datetime,
    seq: int | None = None,
    urgent: bool = False,
) -> dict[str, Any]:
    """A row of `deliveries` to be sent now."""
    return {
        "city_id": receiver.city_id,
        "id": new_id(),
        "receiver_id": receiver.id,
        "seq": seq,
        "type": kind,
        "at": at,
        "urgent": urgent,
        "body": body,
        "state": "pending",
        "tries": 0,
        "tries_before": 0,
        "trying": False,
        "next_at": now,
    }


def _delivery(receiver: Any, event: Any, now: datetime) -> dict[str, Any]:
    return queued(
        receiver,
        kind=event.type,
        at=event.at,
        body=outward(receiver.city_id, event),
        # Not the event's own time, which two writers may have in another order than their numbers.
        now=now,
        seq=event.seq,
        urgent=is_urgent(event.type, event.body.get("level")),
    )


async def _begin_again(conn: AsyncConnection, row: Any, now: datetime) -> None:
    """The receiver's place in the log is kept no more: it is told so, and goes on from the end."""
    at = now.astimezone(ZONE).strftime("%Y-%m-%d %H:%M")
    reason = f"Events before {at} that had not been queued were missed. List what you follow again."
    reason_zh = f"{at} 之前尚未排队的事件未能送达，请重新列出所关注的内容。"
    body = {"city_id": row.city_id, "drill_id": None, "text": reason, "text_zh": reason_zh}
    await _store(conn, [queued(row, kind=GAP, at=now, body=body, now=now)])
    await conn.execute(
        update(Receiver)
        .where(Receiver.city_id == row.city_id, Receiver.id == row.id)
        .values(reason=reason, reason_zh=reason_zh)
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
