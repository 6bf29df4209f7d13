"""Which attachments there are, and who may add to a report and read what it has."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.attachments.models import Attachment
from app.attachments.views import AttachmentView, attachment_view
from app.core import problems
from app.core.caller import Caller
from app.core.clock import ZONE
from app.core.errors import Problem
from app.core.ids import new_id
from app.nodes.scope import visible
from app.reports import service as reports
from app.reports.models import Custody, Report

Row = Mapping[str, Any]

UPLOADS = "uploads"

# Of a file's name in the store: so much of its digest tells it from any other in its slot.
_DIGEST_LETTERS = 32


class Slot(NamedTuple):
    """A name among the attachments of one report."""

    city_id: str
    report_id: UUID
    name: str


def upload_key(slot: Slot) -> str:
    """Where the parts of a new attempt to send a file lie in the store: below this name, which no other has."""
    return f"{UPLOADS}/city-{slot.city_id}/{slot.report_id}/{slot.name}/{new_id().hex}"


def stored_key(row: Row, stored_sha256: str) -> str:
    """Where what is stored lies in the store: whoever makes the same of the same upload writes the same there."""
    return f"stored/city-{row['city_id']}/{row['report_id']}/{row['name']}/{stored_sha256[:_DIGEST_LETTERS]}"


def slot_of(row: Row) -> Slot:
    """The slot that the row fills."""
    return Slot(row["city_id"], row["report_id"], row["name"])


def upload_of(row: Row) -> ColumnElement[bool]:
    """The condition that finds this very upload: not stored, and not begun anew meanwhile."""
    return and_(
        Attachment.city_id == row["city_id"],
        Attachment.report_id == row["report_id"],
        Attachment.name == row["name"],
        Attachment.state == "uploading",
        Attachment.store_key == row["store_key"],
    )


async def find(conn: AsyncConnection, slot: Slot, *, hold: bool = False) -> Row | None:
    """The row of a slot, whoever asks; with `hold` locked until the transaction ends."""
    query = select(*Attachment.__table__.columns).where(
        Attachment.city_id == slot.city_id, Attachment.report_id == slot.report_id, Attachment.name == slot.name
    )
    found = (await conn.execute(query.with_for_update() if hold else query)).one_or_none()
    return found._asdict() if found else None


async def count(conn: AsyncConnection, *, city_id: str, report_id: UUID) -> int:
    """How many slots of the report are taken."""
    query = (
        select(func.count())
        .select_from(Attachment)
        .where(Attachment.city_id == city_id, Attachment.report_id == report_id)
    )
    return (await conn.execute(query)).scalar_one()


async def forget(conn: AsyncConnection, row: Row) -> None:
    """Free the slot of this upload, if it is not stored and was not begun anew."""
    await conn.execute(delete(Attachment).where(upload_of(row)))


async def report(conn: AsyncConnection, *, city_id: str, report_id: UUID, hold: bool = False) -> Row:
    """The row of a report, whoever asks; a Problem (404) when there is none."""
    return await _report(conn, and_(Report.city_id == city_id, Report.id == report_id), hold)


async def report_for_sender(conn: AsyncConnection, *, caller: Caller, report_id: UUID, hold: bool = False) -> Row:
    """The row of a report that the caller may add to: one of its subtree, or one that its office filed.

    A sign-in that has lapsed may add only to what it sent itself, and wrote before; a Problem (403) otherwise, and
    (404) when the caller knows of no such report.
    """
    known = or_(visible(caller, Report), Report.filed_by == caller.node)
    found = await _report(conn, and_(Report.city_id == caller.city_id, Report.id == report_id, known), hold)
    lapse = caller.lapse
    if lapse is not None:
        own = found["filed_by"] == caller.node and found["account_id"] == caller.account_id
        if not own or found["submitted_at"] >= lapse.at:
            raise Problem(problems.ATTACHMENT_LAPSED, at=lapse.at.astimezone(ZONE).strftime("%Y-%m-%d %H:%M"))
    return found


async def holders(conn: AsyncConnection, *, city_id: str, report_id: UUID) -> tuple[str, ...]:
    """The offices that hold the report, wherever they stand."""
    query = select(Custody.node_code).where(Custody.city_id == city_id, Custody.report_id == report_id)
    return tuple((await conn.execute(query.order_by(Custody.node_code))).scalars())


async def of_report(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> list[AttachmentView]:
    """The attachments of a report that the caller may see, by name; a Problem (404) otherwise."""
    await reports.readable(conn, caller=caller, report_id=report_id)
    found = await conn.execute(
        select(*Attachment.__table__.columns)
        .where(Attachment.city_id == caller.city_id, Attachment.report_id == report_id)
        .order_by(Attachment.name)
    )
    return [attachment_view(row._asdict()) for row in found]


async def stored(conn: AsyncConnection, *, caller: Caller, report_id: UUID, name: str) -> Row:
    """The row of one stored attachment of a report that the caller may see; a Problem (404) otherwise."""
    await reports.readable(conn, caller=caller, report_id=report_id)
    found = await find(conn, Slot(caller.city_id, report_id, name))
    if found is None or found["state"] != "stored":
        raise Problem(problems.NOT_FOUND)
    return found


async def progress(conn: AsyncConnection, *, caller: Caller, report_id: UUID, name: str) -> AttachmentView:
    """How far a file has come of a report that the caller may add to; a Problem (404) when nothing has."""
    await report_for_sender(conn, caller=caller, report_id=report_id)
    found = await find(conn, Slot(caller.city_id, report_id, name))
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return attachment_view(found)


async def _report(conn: AsyncConnection, which: ColumnElement[bool], hold: bool) -> Row:
    query = select(*Report.__table__.columns).where(which)
    found = (await conn.execute(query.with_for_update(of=Report, key_share=True) if hold else query)).one_or_none()
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return found._asdict()
