"""What nobody finished is forgotten; what is stored stays."""

from datetime import UTC, datetime, timedelta

import pytest

from app.attachments import pruning
from app.attachments.models import Attachment
from app.attachments.store import Store
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from tests.attachments.sending import Phone, Posted, picture
from tests.tables import rows

pytestmark = pytest.mark.anyio

PHOTO = picture()


async def test_an_upload_is_forgotten_when_its_days_are_over(
    phone: Phone, posted: Posted, database: Database, store: Store, clock: ManualClock, settings: Settings
) -> None:
    sent = await posted()
    await phone.send(sent["id"], "stored.jpg", PHOTO)
    await phone.send(sent["id"], "old.jpg", PHOTO, part=(0, 100))
    begun = clock.now()
    clock.advance(timedelta(hours=1))
    await phone.send(sent["id"], "young.jpg", PHOTO, part=(0, 100))

    async def run() -> datetime | None:
        return await pruning.run_due(database, store=store, clock=clock, settings=settings)

    assert await run() == begun + timedelta(days=7)
    assert len(await rows(database, Attachment)) == 3
    clock.advance(timedelta(days=7, hours=-1))
    assert await run() == begun + timedelta(days=7, hours=1)

    assert [one["name"] for one in await phone.list(sent["id"])] == ["stored.jpg", "young.jpg"]
    (left,) = await store.names("uploads")
    assert "young.jpg" in left[0]
    assert (await phone.read(sent["id"], "stored.jpg")).status_code == 200
    clock.advance(timedelta(hours=1))
    assert await run() is None
    assert await store.names("uploads") == []
    # The phone was away for long: it begins again.
    assert (await phone.send(sent["id"], "old.jpg", PHOTO)).status_code == 201


async def test_parts_that_no_upload_knows_are_swept(
    phone: Phone, posted: Posted, database: Database, store: Store, clock: ManualClock, settings: Settings
) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO)
    await store.put("uploads/city-1/left/by/killed/0-9", b"123456789")

    await pruning.run_due(database, store=store, clock=clock, settings=settings)
    assert len(await store.names("uploads")) == 1
    # Files have their times from the machine's clock.
    clock.advance(datetime.now(UTC) + timedelta(days=8) - clock.now())
    await pruning.run_due(database, store=store, clock=clock, settings=settings)

    assert await store.names("uploads") == []
    assert len(await store.names("stored")) == 1
    # Again, and at once in two processes: nothing to do is no failure.
    await pruning.run_due(database, store=store, clock=clock, settings=settings)
