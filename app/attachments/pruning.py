"""Uploads that nobody finished, and what is left of those that were."""

from datetime import datetime, timedelta

from sqlalchemy import func, select

from app.attachments import rows
from app.attachments.models import Attachment
from app.attachments.store import Store
from app.core.clock import Clock
from app.core.database import Database
from app.core.settings import Settings
from app.nodes.models import City

MOST_AT_ONCE = 200


async def run_due(database: Database, *, store: Store, clock: Clock, settings: Settings) -> datetime | None:
    """Free the slots of uploads older than `attachments_keep_days`, and delete all parts that old.

    Answers when the next upload is that old. What it is killed amid is due again.
    """
    keep = timedelta(days=settings.attachments_keep_days)
    before = clock.now() - keep
    oldest: list[datetime] = []
    async with database.reading() as conn:
        cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
    for city_id in cities:
        while await _free(database, store, city_id=city_id, before=before) == MOST_AT_ONCE:
            pass
        async with database.reading() as conn:
            begun = select(func.min(Attachment.begun_at)).where(
                Attachment.city_id == city_id, Attachment.state == "uploading"
            )
            at: datetime | None = (await conn.execute(begun)).scalar_one()
        oldest += [at] if at is not None else []
    # Of uploads that ended while a process was killed, and of slots that were begun anew: no row knows them.
    await store.delete([name for name, written in await store.names(rows.UPLOADS) if written <= before])
    return min(oldest) + keep if oldest else None


async def _free(database: Database, store: Store, *, city_id: str, before: datetime) -> int:
    """Free slots of one city; how many."""
    async with database.writing() as conn:
        due = await conn.execute(
            select(*Attachment.__table__.columns)
            .where(Attachment.city_id == city_id, Attachment.state == "uploading", Attachment.begun_at <= before)
            .order_by(Attachment.begun_at, Attachment.report_id, Attachment.name)
            .limit(MOST_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        found = [row._asdict() for row in due]
        for row in found:
            await rows.forget(conn, row)
    for row in found:
        await store.delete([name for name, _ in await store.names(row["store_key"])])
    return len(found)
