"""A receiver's queue: one try at a time, in the order of the log, by whichever process is first.

A try is claimed by a lease, made outside of any transaction, and written down with its receipt in one. Killed in
between, it is made again when the lease has run out, under the same webhook-id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.deliveries import signing
from app.deliveries.models import Delivery, Receipt, Receiver
from app.deliveries.retrying import Outcome, next_try
from app.feed import service as feed
from app.feed.service import Event

# A try that has not been written down by then counts as lost. Longer than a try may take.
LEASE = timedelta(seconds=30)
# Beacon's own messages are tried once: who asked for a test wants to know now.
TEST = "beacon.test"

_ENDED = {
    "gone": (
        "It answered 410: it wants nothing more. Enable it again when it does.",
        "对方回复 410，不再接收。需要时请重新启用。",
    ),
    "failed": (
        "It took nothing in {tries} tries; the last: {outcome}. Mend it, then enable it again and replay what failed.",
        "连续 {tries} 次未送达，最近一次：{outcome}。请修复后重新启用，并重发失败的消息。",
    ),
}


@dataclass(frozen=True, slots=True)
class Claimed:
    """One try that is this process's to make."""

    city_id: str
    id: UUID
    receiver_id: UUID
    kind: str
    url: str
    keys: tuple[str, ...]
    type: str
    at: datetime
    urgent: bool
    body: dict[str, Any]
    number: int
    tries_before: int


async def waiting(conn: AsyncConnection, *, city_id: str) -> Sequence[tuple[UUID, datetime]]:
    """The city's receivers with deliveries to be made, and when: where a try is under way, when that counts as lost."""
    mine = and_(Delivery.city_id == Receiver.city_id, Delivery.receiver_id == Receiver.id, Delivery.state == "pending")
    due = select(func.min(Delivery.next_at)).where(mine).correlate(Receiver).scalar_subquery()
    lost = select(func.min(Delivery.next_at)).where(mine, Delivery.trying).correlate(Receiver).scalar_subquery()
    query = (
        select(Receiver.id, func.coalesce(lost, due).label("at"))
        .where(Receiver.city_id == city_id, Receiver.state == "active")
        .order_by(Receiver.id)
    )
    return [(row.id, row.at) for row in await conn.execute(query) if row.at is not None]


async def claim(conn: AsyncConnection, *, city_id: str, receiver_id: UUID, now: datetime) -> Claimed | None:
    """The receiver's next try, this process's until the lease runs out; None: nothing is due, or others are at it."""
    # The receiver's row is the turnstile: two processes never send to it at once, so the order stays. It is held for
    # moments, here and by the fan-out: to pass over it would leave what is due until the next poll.
    receiver = (
        await conn.execute(
            select(Receiver.kind, Receiver.url, Receiver.secrets)
            .where(Receiver.city_id == city_id, Receiver.id == receiver_id, Receiver.state == "active")
            .with_for_update()
        )
    ).one_or_none()
    if receiver is None:
        return None
    mine = (Delivery.city_id == city_id, Delivery.receiver_id == receiver_id, Delivery.state == "pending")
    under_way = exists().where(*mine, Delivery.trying, Delivery.next_at > now)
    row = (
        await conn.execute(
            select(*Delivery.__table__.columns)
            .where(*mine, Delivery.next_at <= now, ~under_way)
            # First what another process began and has not ended: it is older than all that waits.
            .order_by(Delivery.trying.desc(), Delivery.next_at, Delivery.seq)
            .limit(1)
        )
    ).one_or_none()
    if row is None:
        return None
    await conn.execute(
        update(Delivery)
        .where(Delivery.city_id == city_id, Delivery.id == row.id)
        .values(trying=True, next_at=now + LEASE)
    )
    keys = tuple(signing.good(receiver.secrets, now))
    return Claimed(
        city_id,
        row.id,
        receiver_id,
        receiver.kind,
        receiver.url,
        keys,
        row.type,
        row.at,
        row.urgent,
        row.body,
        row.tries + 1,
        row.tries_before,
    )


async def note(
    conn: AsyncConnection, claimed: Claimed, outcome: Outcome, *, milliseconds: int, now: datetime, draw: float
) -> None:
    """Write down what a try came to: its receipt, and the delivery's next try, or its end and the receiver's."""
    mine = (Delivery.city_id == claimed.city_id, Delivery.id == claimed.id)
    row = (await conn.execute(select(Delivery.state, Delivery.tries).where(*mine).with_for_update())).one_or_none()
    if row is None or row.tries >= claimed.number or row.state != "pending":
        # Its lease had run out and another has written it down, or its receiver was deleted.
        return
    receipt = {
        "city_id": claimed.city_id,
        "delivery_id": claimed.id,
        "number": claimed.number,
        "at": now,
        "status": outcome.status,
        "outcome": outcome.word,
        "milliseconds": milliseconds,
    }
    await conn.execute(insert(Receipt), [receipt])
    again = None
    if outcome.word not in ("delivered", "gone") and claimed.type != TEST:
        tries = claimed.number - claimed.tries_before
        again = next_try(tries, urgent=claimed.urgent, outcome=outcome, now=now, draw=draw)
    state = "delivered" if outcome.word == "delivered" else "pending" if again else "failed"
    await conn.execute(
        update(Delivery).where(*mine).values(state=state, tries=claimed.number, trying=False, next_at=again)
    )
    if state == "failed" and (claimed.type != TEST or outcome.word == "gone"):
        await _disable(conn, claimed, outcome, now)


async def _disable(conn: AsyncConnection, claimed: Claimed, outcome: Outcome, now: datetime) -> None:
    """Nothing more is sent, and its owner is told another way: in the city's log."""
    words = _ENDED["gone" if outcome.word == "gone" else "failed"]
    tries = claimed.number - claimed.tries_before
    reason, reason_zh = (text.format(tries=tries, outcome=outcome.word) for text in words)
    row = (
        await conn.execute(
            update(Receiver)
            .where(Receiver.city_id == claimed.city_id, Receiver.id == claimed.receiver_id, Receiver.state == "active")
            .values(
                state="disabled",
                reason=reason,
                reason_zh=reason_zh,
                disabled_at=now,
                version=Receiver.version + 1,
            )
            .returning(Receiver.node_code, Receiver.label, Receiver.kind, Receiver.version)
        )
    ).one_or_none()
    if row is None:
        return
    body = {
        "id": str(claimed.receiver_id),
        "kind": row.kind,
        "label": row.label,
        "node": row.node_code,
        "reason": reason,
        "reason_zh": reason_zh,
        "failed": str(claimed.id),
    }
    event = Event("receiver.disabled", "delivery", claimed.receiver_id, row.version, row.node_code, body)
    await feed.append(conn, city_id=claimed.city_id, operations=[[event]], now=now)


async def prune(conn: AsyncConnection, *, city_id: str, before: datetime) -> int:
    """Forget what was delivered or given up of events older than `before`, with its receipts. Answers how many."""
    old = (Delivery.city_id == city_id, Delivery.at < before, Delivery.state != "pending")
    ids = select(Delivery.id).where(*old)
    await conn.execute(delete(Receipt).where(Receipt.city_id == city_id, Receipt.delivery_id.in_(ids)))
    return (await conn.execute(delete(Delivery).where(*old))).rowcount
