from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.clock import day_of
from app.core.errors import Problem
from app.core.ids import new_id
from app.deliveries import channels, guard, reading, signing
from app.deliveries.apart import apart
from app.deliveries.fanout import queued
from app.deliveries.models import Delivery, Receipt, Receiver
from app.deliveries.queue import TEST
from app.feed import service as feed
from app.nodes import lookup
from app.nodes.scope import visible

Row = Mapping[str, Any]
COLUMNS = list(Receiver.__table__.columns)
DELIVERIES = list(Delivery.__table__.columns)


async def create(
    conn: AsyncConnection,
    *,
    caller: Caller,
    kind: str,
    label: str,
    url: str,
    node: str | None,
    events: list[str],
    levels: list[str],
    drills: bool,
    private_targets: bool,
    now: datetime,
) -> Row:
    """A new receiver at a node of the caller's subtree; it hears what happens from now on.

    A Problem (403) when the caller may not read what it is to hear, (422) when the address cannot be one, (503) when
    channels need Apprise and it is not installed.
    """
    _may_read(caller, events)
    await _check(kind, url, private_targets)
    code = node or caller.node
    place = (await lookup.places(conn, {code})).get(code)
    if place is None or place.city_id != caller.city_id or caller.node not in place.path:
        raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=code)
    if place.closed_on is not None and place.closed_on <= day_of(now):
        raise Problem(problems.NODE_CLOSED, pointer="/node", code=code, date=place.closed_on.isoformat())
    head = await feed.head(conn, city_id=caller.city_id)
    row = {
        "city_id": caller.city_id,
        "id": new_id(),
        "version": 1,
        "kind": kind,
        "node_code": code,
        "label": label,
        "url": url,
        "events": events or (["alert.*"] if kind == "webhook" else []),
        "levels": levels,
        "drills": drills,
        "secrets": signing.rotated([], signing.new_secret(), now) if kind == "webhook" else [],
        "state": "active",
        "reason": None,
        "reason_zh": None,
        "disabled_at": None,
        "created_at": now,
        "epoch": head.position.epoch,
        "seq": head.position.seq,
    }
    await conn.execute(insert(Receiver), [row])
    return row


async def _check(kind: str, url: str, private_targets: bool) -> None:
    try:
        found = httpx.URL(url)
        sound = bool(found.host) and 0 < (found.port or 443) < 65536 and not found.userinfo and not found.fragment
    except httpx.InvalidURL:
        sound = False
    if kind == "webhook":
        schemes = ("https", "http") if private_targets else ("https",)
        if not sound or found.scheme not in schemes:
            raise Problem(problems.TARGET_WRONG, pointer="/url")
        # What a name leads to is asked at each try; an address in its place is known now.
        if guard.is_address(found.host) and not (private_targets or guard.is_public(found.host)):
            raise Problem(problems.TARGET_WRONG, pointer="/url")
        return
    if not channels.is_installed():
        raise Problem(problems.CHANNELS_MISSING)
    # Its first import takes a while: not on the event loop.
    if not await apart(channels.is_known, url):
        raise Problem(problems.CHANNEL_WRONG, pointer="/url", schemes=", ".join(sorted(channels.SCHEMES)))


async def list_receivers(
    conn: AsyncConnection, *, caller: Caller, kind: str, limit: int, cursor: str | None
) -> tuple[list[tuple[Row, dict[str, int]]], str | None]:
    """The receivers of the caller's subtree, the last made first, each with how many deliveries wait or have failed."""
    query = select(*COLUMNS).where(_mine(caller, kind))
    if cursor is not None:
        query = query.where(tuple_(Receiver.created_at, Receiver.id) < paging.decode_moment("receivers", cursor))
    rows = (await conn.execute(query.order_by(Receiver.created_at.desc(), Receiver.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("receivers", rows[-1].created_at, rows[-1].id)
    counts = await _counts(conn, caller.city_id, [row.id for row in rows])
    return [(row._asdict(), counts[row.id]) for row in rows], after


async def get(conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID) -> tuple[Row, dict[str, int]]:
    """One receiver of the caller's subtree; a Problem (404) otherwise."""
    row = await _row(conn, caller, kind, receiver_id)
    return row, (await _counts(conn, caller.city_id, [receiver_id]))[receiver_id]


async def change(
    conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID, changes: Mapping[str, Any], now: datetime
) -> None:
    """Change what a receiver is told of; enabled again, what waits for it is tried now.

    A Problem (403) when the caller may not read what it hears, or is to hear.
    """
    row = await _row(conn, caller, kind, receiver_id, lock=True)
    if "events" in changes:
        _may_read(caller, changes["events"])
    if kind == "webhook" and changes.get("events") == []:
        changes = {**changes, "events": ["alert.*"]}
    if "state" in changes and changes["state"] != row["state"]:
        enabled = changes["state"] == "active"
        told = (None, None) if enabled else ("Disabled by its owner.", "已由管理者停用。")
        changes = {
            **changes,
            "reason": told[0],
            "reason_zh": told[1],
            "disabled_at": None if enabled else now,
        }
        if enabled:
            await conn.execute(
                update(Delivery)
                .where(
                    Delivery.city_id == caller.city_id,
                    Delivery.receiver_id == receiver_id,
                    Delivery.state == "pending",
                    ~Delivery.trying,
                )
                .values(next_at=now)
            )
    if changes:
        await _write(conn, row, changes)


async def rotate(conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID, now: datetime) -> Row:
    """Give the receiver a new secret; each one before it signs as well until a day after it was replaced.

    A Problem (409) when too many are good.
    """
    row = await _row(conn, caller, kind, receiver_id, lock=True)
    if kind == "channel":
        # It has none.
        raise Problem(problems.NOT_FOUND)
    if len(signing.good(row["secrets"], now)) >= signing.MOST_SECRETS:
        raise Problem(problems.SECRETS_MANY, most=signing.MOST_SECRETS)
    secrets = signing.rotated(row["secrets"], signing.new_secret(), now)
    await _write(conn, row, {"secrets": secrets})
    return {**row, "secrets": secrets}


async def delete(conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID) -> None:
    """Tell it nothing more. What was sent stays on record, its address and secrets do not."""
    row = await _row(conn, caller, kind, receiver_id, lock=True)
    await conn.execute(
        update(Delivery)
        .where(Delivery.city_id == caller.city_id, Delivery.receiver_id == receiver_id, Delivery.state == "pending")
        .values(state="failed", trying=False, next_at=None)
    )
    await _write(conn, row, {"state": "deleted", "url": "", "secrets": []})


async def send_test(conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID, now: datetime) -> Row:
    """Queue a `beacon.test` message for the receiver, to be tried once; the delivery. A Problem (409) when disabled."""
    row = await _active(conn, caller, kind, receiver_id)
    body = {
        "city_id": caller.city_id,
        "drill_id": None,
        "label": row.label,
        "text": "This is a test.",
        "text_zh": "这是一条测试消息。",
    }
    delivery = queued(row, kind=TEST, at=now, body=body, now=now)
    await conn.execute(insert(Delivery), [delivery])
    return delivery


async def list_deliveries(
    conn: AsyncConnection,
    *,
    caller: Caller,
    kind: str,
    receiver_id: UUID,
    state: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[Row], str | None]:
    """What was, or is to be, sent to a receiver, the latest first."""
    await _row(conn, caller, kind, receiver_id)
    query = select(*DELIVERIES).where(Delivery.city_id == caller.city_id, Delivery.receiver_id == receiver_id)
    if state is not None:
        query = query.where(Delivery.state == state)
    if cursor is not None:
        query = query.where(tuple_(Delivery.at, Delivery.id) < paging.decode_moment("deliveries", cursor))
    rows = (await conn.execute(query.order_by(Delivery.at.desc(), Delivery.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("deliveries", rows[-1].at, rows[-1].id)
    return [row._asdict() for row in rows], after


async def get_delivery(
    conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID, delivery_id: UUID
) -> tuple[Row, list[Row]]:
    """One delivery and its receipts; a Problem (404) otherwise, (403) when the caller may not read what was sent."""
    row = await _delivery(conn, caller, kind, receiver_id, delivery_id)
    if not row["type"].startswith("beacon."):
        _may_read(caller, [row["type"]])
    receipts = await conn.execute(
        select(*Receipt.__table__.columns)
        .where(Receipt.city_id == caller.city_id, Receipt.delivery_id == delivery_id)
        .order_by(Receipt.number)
    )
    return row, [one._asdict() for one in receipts]


async def replay(
    conn: AsyncConnection, *, caller: Caller, kind: str, receiver_id: UUID, delivery_id: UUID, now: datetime
) -> Row:
    """Send it again, now, under the same webhook-id, its schedule begun anew. A Problem (409) when disabled.

    One whose try is under way stays as it is.
    """
    await _active(conn, caller, kind, receiver_id)
    row = await _delivery(conn, caller, kind, receiver_id, delivery_id, lock=True)
    if row["trying"]:
        return row
    changes = {"state": "pending", "next_at": now, "tries_before": row["tries"]}
    await conn.execute(
        update(Delivery).where(Delivery.city_id == caller.city_id, Delivery.id == delivery_id).values(**changes)
    )
    return {**row, **changes}


def _mine(caller: Caller, kind: str) -> Any:
    return visible(caller, Receiver) & (Receiver.kind == kind) & (Receiver.state != "deleted")


def _may_read(caller: Caller, events: Sequence[str]) -> None:
    """A Problem (403) unless the caller may read all that these types and patterns tell of."""
    lacking = reading.scopes_of(events) - caller.scopes
    if lacking:
        raise Problem(problems.SCOPES_TOO_WIDE, scopes=", ".join(sorted(lacking)))


async def _row(conn: AsyncConnection, caller: Caller, kind: str, receiver_id: UUID, *, lock: bool = False) -> Row:
    """A receiver of the caller's subtree; with `lock`, to be changed by one who may read what it hears."""
    query = select(*COLUMNS).where(_mine(caller, kind), Receiver.id == receiver_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    if lock:
        _may_read(caller, row.events)
    return row._asdict()


async def _active(conn: AsyncConnection, caller: Caller, kind: str, receiver_id: UUID) -> Any:
    """The receiver, which is not disabled nor deleted until this transaction ends."""
    query = select(*COLUMNS).where(_mine(caller, kind), Receiver.id == receiver_id)
    row = (await conn.execute(query.with_for_update())).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    _may_read(caller, row.events)
    if row.state != "active":
        raise Problem(problems.RECEIVER_DISABLED)
    return row


async def _delivery(
    conn: AsyncConnection, caller: Caller, kind: str, receiver_id: UUID, delivery_id: UUID, *, lock: bool = False
) -> Row:
    await _row(conn, caller, kind, receiver_id)
    query = select(*DELIVERIES).where(
        Delivery.city_id == caller.city_id, Delivery.receiver_id == receiver_id, Delivery.id == delivery_id
    )
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row._asdict()


async def _write(conn: AsyncConnection, row: Row, changes: Mapping[str, Any]) -> None:
    await conn.execute(
        update(Receiver)
        .where(Receiver.city_id == row["city_id"], Receiver.id == row["id"])
        .values(**changes, version=row["version"] + 1)
    )


async def _counts(conn: AsyncConnection, city_id: str, ids: Collection[UUID]) -> dict[UUID, dict[str, int]]:
    found: dict[UUID, dict[str, int]] = defaultdict(dict)
    if not ids:
        return found
    rows = await conn.execute(
        select(Delivery.receiver_id, Delivery.state, func.count())
        .where(Delivery.city_id == city_id, Delivery.receiver_id.in_(list(ids)), Delivery.state != "delivered")
        .group_by(Delivery.receiver_id, Delivery.state)
    )
    for receiver_id, state, count in rows:
        found[receiver_id][state] = count
    return found
