"""Deliveries, killed at every point: each entry of the log becomes one delivery, and each arrives under one id."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.deliveries.models import Delivery, Receipt
from app.deliveries.sending import LEASE, Sender
from app.main import create_app
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, NOON
from tests.conftest import running
from tests.crashes import killed_at
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

URL = "dingtalk://tokentokentoken"


@asynccontextmanager
async def serving(url: str, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(database_url=url, database_pool=3, timers_poll_seconds=0, log_level="error")
    app = create_app(settings, clock=clock)
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://beacon.test") as client,
    ):
        yield client


async def test_killed_at_every_point_each_event_is_queued_once_and_arrives(
    database_url: str, as_: As, tmp_path: Path
) -> None:
    clock, arrived = ManualClock(NOON), tmp_path / "arrived"

    def notify(url: str, title: str, text: str, seconds: float) -> bool:
        # What has arrived stays arrived, whatever becomes of the sender.
        with arrived.open("a") as file:
            file.write(f"{text.splitlines()[0]}\n")
        return True

    async def work(database: Database) -> None:
        sender = Sender(database, clock, notify=notify, draw=lambda: 0.0)
        await sender.run_due()
        await sender.settled()
        await sender.stop()

    async with serving(database_url, clock) as client:
        made = await client.post(
            "/v1/channels", json={"label": "x", "url": URL, "events": ["alert.*"]}, headers=as_(CITY, "admin")
        )
        assert made.status_code == 201, made.text
        await raise_alert(client, as_, summary="【演练】一")
        await raise_alert(client, as_, summary="【演练】二", hazard="fire.building", **EXTREME)

    point = 1
    while killed_at(database_url, work, point):
        point += 1
        # What a dead process had claimed is due again when its lease has run out.
        clock.advance(LEASE + timedelta(seconds=1))
    database = Database(database_url, pool=1)
    deliveries = await rows(database, Delivery)
    receipts = await rows(database, Receipt)
    await database.close()

    assert point > 15
    assert len(deliveries) == len({one.seq for one in deliveries}) == 2
    assert {one.state for one in deliveries} == {"delivered"}
    assert {(one.delivery_id, one.outcome) for one in receipts} == {(one.id, "delivered") for one in deliveries}
    assert len(receipts) == 2
    lines = arrived.read_text().splitlines()
    assert {line.split("】")[1][0] for line in lines} == {"一", "二"}
    assert len(lines) >= 2
