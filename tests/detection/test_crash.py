"""Killed at any point, each alarm is stored once, with its alert, its event and the cursor's advance."""

import asyncio

import httpx

from app.alerts.models import Alert
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.detection.engine import run_due
from app.detection.models import Alarm, DetectionCursor
from app.feed.models import FeedEvent
from app.hazards.policy import load_policy
from tests.builders import NEIGHBOUR, NOON, THIRD, VILLAGE
from tests.conftest import running
from tests.crashes import killed_everywhere
from tests.detection.conftest import As, detecting, place, posted
from tests.tables import rows


async def fill(settings: Settings, clock: ManualClock, as_: As) -> None:
    application = detecting(settings, clock)
    async with running(application):
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
            for village in (VILLAGE, NEIGHBOUR, THIRD):
                await posted(client, as_, clock, village, None, location=place())


def test_killed_at_every_statement_an_alarm_is_told_once_or_not_at_all(
    settings: Settings, database_url: str, clock: ManualClock, as_: As
) -> None:
    asyncio.run(fill(settings, clock, as_))

    async def look(database: Database) -> None:
        await run_due(database, policy=load_policy(None), clock=ManualClock(NOON))

    async def told() -> tuple[int, int, int, int]:
        database = Database(database_url)
        alarms, alerts = await rows(database, Alarm), await rows(database, Alert)
        events = [one for one in await rows(database, FeedEvent) if one.topic == "alarm"]
        cursors = [one.seq for one in await rows(database, DetectionCursor)]
        await database.close()
        assert {one.alert_id for one in alarms} == {one.id for one in alerts}
        assert {one.id for one in alarms} == {one.subject_id for one in events}
        return len(alarms), len(alerts), len(events), len(cursors)

    seen = [asyncio.run(told()) for _ in killed_everywhere(database_url, look)]

    assert set(seen) <= {(0, 0, 0, 0), (1, 1, 1, 1)}
    assert seen[0] == (0, 0, 0, 0)
    assert len(seen) >= 15
    assert asyncio.run(told()) == (1, 1, 1, 1)
