"""Deliveries, killed at every point: each entry of the log becomes one delivery, and each arrives under one id."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, insert, update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.deliveries.models import Delivery, Receipt, Receiver
from app.deliveries.queue import LEASE
from app.deliveries.sending import Sender
from app.feed.models import FeedEvent, FeedHead
from app.main import create_app
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NOON
from tests.conftest import running
from tests.crashes import killed_at
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

TAKES, GONE = "takes.example", "gone.example"


@asynccontextmanager
async def serving(url: str, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(database_url=url, database_pool=3, timers_poll_seconds=0, log_level="error")
    app = create_app(settings, clock=clock)
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://beacon.test") as client,
    ):
        yield client


class Start:
    """How the tables stood before anything was queued, to begin there again for each point."""

    async def take(self, database: Database) -> None:
        self.receivers = [one._asdict() for one in await rows(database, Receiver)]
        self.log = sorted(one.seq for one in await rows(database, FeedEvent) if one.topic == "alert")
        self.last_seq = max(one.last_seq for one in await rows(database, FeedHead))

    async def begin_again(self, database: Database) -> None:
        async with database.writing() as conn:
            for table in (Receipt, Delivery, Receiver):
                await conn.execute(delete(table))
            await conn.execute(delete(FeedEvent).where(FeedEvent.city_id == CITY, FeedEvent.seq > self.last_seq))
            await conn.execute(update(FeedHead).where(FeedHead.city_id == CITY).values(last_seq=self.last_seq))
            await conn.execute(insert(Receiver), self.receivers)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool=2)
    yield database
    await database.close()


async def test_killed_at_every_point_each_event_is_queued_once_and_arrives_under_one_id(
    database_url: str, as_: As, tmp_path: Path
) -> None:
    clock, arrived = ManualClock(NOON), tmp_path / "arrived"

    def answer(request: httpx.Request) -> httpx.Response:
        # What has arrived stays arrived, whatever becomes of the sender.
        with arrived.open("a") as file:
            file.write(f"{request.headers['host']} {request.headers['webhook-id']}\n")
        return httpx.Response(204 if request.headers["host"] == TAKES else 410)

    async def resolve(host: str, port: int) -> list[str]:
        return ["1.1.1.1"]

    async def work(database: Database) -> None:
        transport = httpx.MockTransport(answer)
        sender = Sender(database, clock, resolve=resolve, transport=transport, draw=lambda: 0.0)
        await sender.run_due()
        await sender.settled()
        await sender.stop()

    async with serving(database_url, clock) as client:
        for host in (TAKES, GONE):
            levels = ["red"] if host == TAKES else []
            body = {"label": host, "url": f"https://{host}/hook", "events": ["alert.*"], "levels": levels}
            made = await client.post("/v1/webhooks", json=body, headers=as_(CITY, "admin"))
            assert made.status_code == 201, made.text
        await raise_alert(client, as_)
        await raise_alert(client, as_, village=FAR_VILLAGE, **EXTREME)
    start = Start()
    async with opened(database_url) as database:
        await start.take(database)
    owner = {one["id"]: one["label"] for one in start.receivers}

    point, dies, repeated = 0, True, 0
    while dies:
        point += 1
        arrived.write_text("")
        dies = killed_at(database_url, work, point)
        # What the dead process had claimed is due again when its lease has run out.
        clock.advance(LEASE + timedelta(seconds=1))
        async with opened(database_url) as database:
            await work(database)
            deliveries, receipts = await rows(database, Delivery), await rows(database, Receipt)
            told = [one for one in await rows(database, FeedEvent) if one.seq > start.last_seq]
            await start.begin_again(database)

        sent = Counter(line for line in arrived.read_text().splitlines())
        repeated += sum(sent.values()) > 2
        for host, log, states in ((TAKES, start.log[1:], ["delivered"]), (GONE, start.log, ["failed", "pending"])):
            mine = sorted((one for one in deliveries if owner[one.receiver_id] == host), key=lambda one: one.seq)
            assert [one.seq for one in mine] == log, point
            assert [one.state for one in mine] == states, point
            tried = [one for one in mine if one.state != "pending"]
            assert {line for line in sent if line.startswith(host)} == {f"{host} msg_{one.id.hex}" for one in tried}
            numbers = [one.number for one in receipts if one.delivery_id in {one.id for one in mine}]
            assert numbers == [1] * len(tried), point
        # Its end is told once, with the log's next number.
        assert [(one.type, one.seq) for one in told] == [("receiver.disabled", start.last_seq + 1)], point

    assert point > 40
    # Killed between a try and its receipt it is made again: at least once.
    assert repeated >= 3
