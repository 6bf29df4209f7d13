"""Uploads that may come in parts, late and twice. The bytes go to the store first; the row is what holds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import ClientDisconnect

from app.attachments import media, rows
from app.attachments.models import Attachment
from app.attachments.offers import Offer, cover, range_wrong
from app.attachments.store import Store
from app.attachments.views import AttachmentView, attachment_view
from app.core import problems
from app.core.caller import Caller
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import Problem
from app.core.settings import Settings
from app.feed import service as feed
from app.reports.events import event

Row = Mapping[str, Any]

# What is held in memory of a file while it comes; what of it has arrived survives a link that drops.
PIECE = 1024 * 1024
# Another file may take a slot that was begun and left so long ago.
GIVES_WAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of what was sent."""

    status: Literal["uploading", "stored", "replayed"]
    attachment: AttachmentView


async def take(
    database: Database,
    store: Store,
    *,
    caller: Caller,
    offer: Offer,
    body: AsyncIterator[bytes],
    clock: Clock,
    settings: Settings,
) -> Taken:
    """Take a file, or a part of it; when all of it is there, make it anew and store that.

    1. The slot is found or begun. One that is stored with the same digest is answered, and nothing is read.
    2. What is new of the body goes to the store piece by piece; the row then says how far it has come.
    3. The whole is checked against its digest, made anew, and put under its name in the store.
    4. Last, in one transaction: the row says `stored`, and the log that the report has an attachment.

    Whatever is killed in between, sending the same again ends there. A Problem otherwise.
    """
    async with database.writing() as conn:
        row = await _begin(conn, caller=caller, offer=offer, clock=clock, most=settings.attachments_per_report)
    if row["state"] == "uploading":
        row = await _receive(database, store, row, offer, body)
    if row["state"] == "stored":
        return Taken("replayed", attachment_view(row))
    if row["received"] == row["size"]:
        limits = media.Limits(
            pixels=settings.attachments_max_pixels,
            longest_side=settings.attachments_longest_side,
            seconds=settings.attachments_max_seconds,
        )
        return await _finish(database, store, row, clock=clock, limits=limits)
    return Taken("uploading", attachment_view(row))


async def _begin(conn: AsyncConnection, *, caller: Caller, offer: Offer, clock: Clock, most: int) -> Row:
    # Locked: two new names at once are counted one after the other.
    await rows.report_for_sender(conn, caller=caller, report_id=offer.report_id, hold=True)
    slot = rows.Slot(caller.city_id, offer.report_id, offer.name)
    fresh = {
        "sha256": offer.sha256,
        "size": offer.size,
        "received": 0,
        "store_key": rows.upload_key(slot),
        "begun_at": clock.now(),
        "filed_by": caller.node,
    }
    known = await rows.find(conn, slot, hold=True)
    if known is None:
        if await rows.count(conn, city_id=caller.city_id, report_id=offer.report_id) >= most:
            raise Problem(problems.ATTACHMENTS_FULL, most=most)
        await conn.execute(insert(Attachment).values(**slot._asdict(), **fresh, state="uploading"))
    elif known["sha256"] != offer.sha256 or known["size"] != offer.size:
        gives_way = known["sha256"] == offer.sha256 or known["begun_at"] + GIVES_WAY <= fresh["begun_at"]
        if known["state"] == "stored" or not gives_way:
            raise Problem(problems.ATTACHMENT_CONFLICT)
        await conn.execute(update(Attachment).where(rows.upload_of(known)).values(fresh))
    else:
        return known
    begun = await rows.find(conn, slot)
    assert begun is not None
    return begun


async def _receive(database: Database, store: Store, row: Row, offer: Offer, body: AsyncIterator[bytes]) -> Row:
    """Keep what is new of the body, as far as it comes; the row after it."""
    if offer.first > row["received"]:
        raise _offset_wrong(row)
    at, held = offer.first, bytearray()
    try:
        async for some in body:
            held += some
            if at + len(held) > offer.end:
                raise range_wrong(offer.size)
            while len(held) >= PIECE:
                row = await _keep(database, store, row, at, bytes(held[:PIECE]))
                del held[:PIECE]
                at += PIECE
    except (ClientDisconnect, Problem) as error:
        # Cut off by the link, or for its slowness: what has come is kept.
        is_cut = not isinstance(error, Problem) or error.kind is problems.BODY_SLOW
        if is_cut and len(held) >= offer.least:
            await _keep(database, store, row, at, bytes(held))
        raise
    if at + len(held) != offer.end:
        raise range_wrong(offer.size)
    return await _keep(database, store, row, at, bytes(held))


async def _keep(database: Database, store: Store, row: Row, at: int, data: bytes) -> Row:
    """Keep what is new of `data`, which begins at `at` in the file; the row after it."""
    end = at + len(data)
    while row["state"] == "uploading" and row["received"] < end:
        start = row["received"]
        if start < at:
            raise _offset_wrong(row)
        if start == 0 and len(data) >= media.HEAD_BYTES and media.sort_of(data) is None:
            await _drop(database, row)
            raise _refusal(media.Unfit("type"), None)
        await store.put(f"{row['store_key']}/{start}-{end}", data[start - at :])
        async with database.writing() as conn:
            # Compare-and-set: of two who send the same at once, one moves it on.
            await conn.execute(
                update(Attachment).where(rows.upload_of(row), Attachment.received == start).values(received=end)
            )
            row = await _again(conn, row)
    return row


async def _again(conn: AsyncConnection, row: Row) -> Row:
    """The row now; a Problem when the upload was begun anew meanwhile, or dropped."""
    found = await rows.find(conn, rows.slot_of(row), hold=True)
    if found is None or (found["state"] == "uploading" and found["store_key"] != row["store_key"]):
        raise _offset_wrong(found)
    return found


async def _finish(database: Database, store: Store, row: Row, *, clock: Clock, limits: media.Limits) -> Taken:
    async with store.holding:
        data = await _whole(store, row)
        wrong = data is not None and await asyncio.to_thread(_digest, data) != row["sha256"]
        if data is None or wrong:
            # A part is gone when another has finished the same, or when the store was restored from a backup.
            now = await _restart(database, row)
            if now["state"] == "stored":
                return Taken("replayed", attachment_view(now))
            await _forget(store, row)
            if wrong:
                raise Problem(problems.DIGEST_WRONG, extra={"received": 0})
            return Taken("uploading", attachment_view(now))
        try:
            async with store.making:
                made = await asyncio.to_thread(media.remake, data, limits)
        except media.Unfit as unfit:
            await _drop(database, row)
            await _forget(store, row)
            raise _refusal(unfit, limits) from unfit
        digest = _digest(made.data)
        stored: dict[str, Any] = {
            "state": "stored",
            "store_key": rows.stored_key(row, digest),
            "content_type": made.content_type,
            "stored_size": len(made.data),
            "stored_sha256": digest,
            "width": made.width,
            "height": made.height,
            "stored_at": clock.now(),
        }
        await store.put(stored["store_key"], made.data)
    async with database.writing() as conn:
        done = await _announce(conn, row, stored)
    await _forget(store, row)
    return done


async def _announce(conn: AsyncConnection, row: Row, stored: dict[str, Any]) -> Taken:
    # The report first: locks are taken in one order everywhere.
    report = await rows.report(conn, city_id=row["city_id"], report_id=row["report_id"], hold=True)
    found = await _again(conn, row)
    if found["state"] == "stored":
        return Taken("replayed", attachment_view(found))
    await conn.execute(update(Attachment).where(rows.upload_of(row)).values(stored))
    shown = attachment_view({**found, **stored})
    holders = await rows.holders(conn, city_id=row["city_id"], report_id=row["report_id"])
    told = event("report.attached", report, also=holders, attachment=shown.model_dump(mode="json"))
    await feed.append(conn, city_id=row["city_id"], operations=[[told]], now=stored["stored_at"])
    return Taken("stored", shown)


async def _whole(store: Store, row: Row) -> bytes | None:
    """All of the file, of the parts that have come; None: one is missing."""
    prefix = f"{row['store_key']}/"
    names = [name.removeprefix(prefix).split("-") for name, _ in await store.names(row["store_key"])]
    chosen = cover(((int(first), int(end)) for first, end in names), row["size"])
    if chosen is None:
        return None
    data = bytearray()
    for first, end in chosen:
        part = await store.get(f"{prefix}{first}-{end}")
        if part is None:
            return None
        data += part[len(data) - first :]
    return bytes(data)


async def _restart(database: Database, row: Row) -> Row:
    """Empty the slot, unless it is stored: the same file is awaited from its beginning. The row now."""
    slot = rows.slot_of(row)
    async with database.writing() as conn:
        again = update(Attachment).where(rows.upload_of(row))
        await conn.execute(again.values(received=0, store_key=rows.upload_key(slot)))
        found = await rows.find(conn, slot)
    if found is None:
        raise _offset_wrong(None)
    return found


async def _drop(database: Database, row: Row) -> None:
    """Give the slot up: these bytes are not stored, however often they come."""
    async with database.writing() as conn:
        await rows.forget(conn, row)


async def _forget(store: Store, row: Row) -> None:
    """Delete the parts of an upload that is over. What is left of them is swept later."""
    with contextlib.suppress(Problem):
        await store.delete([name for name, _ in await store.names(row["store_key"])])


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def _offset_wrong(row: Row | None) -> Problem:
    received = row["received"] if row else 0
    return Problem(problems.OFFSET_WRONG, extra={"received": received}, received=received)


def _refusal(unfit: media.Unfit, limits: media.Limits | None) -> Problem:
    match unfit.why:
        case "pixels":
            return Problem(problems.PHOTO_TOO_LARGE, most=limits.pixels if limits else 0)
        case "seconds":
            return Problem(problems.RECORDING_TOO_LONG, most=limits.seconds if limits else 0)
        case "broken":
            return Problem(problems.ATTACHMENT_BROKEN)
        case "type":
            return Problem(problems.ATTACHMENT_TYPE)
