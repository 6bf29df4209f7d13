"""The clock of roll calls, killed at every point: each is opened, closed and told of once, each silence found once."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from app.alerts.models import Alert
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.models import FeedEvent
from app.hazards.policy import load_policy
from app.incidents.models import Incident
from app.main import create_app
from app.rollcalls import engine
from app.rollcalls.models import RollCall, RollCallAnswer
from tests.builders import CITY, EXTREME, NEIGHBOUR, NOON, TOWN, VILLAGE
from tests.conftest import running
from tests.crashes import killed_everywhere
from tests.rollcalls.test_rollcalls import ask
from tests.rollcalls.test_silence import post
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@asynccontextmanager
async def serving(url: str, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(database_url=url, database_pool=3, timers_poll_seconds=0, log_level="error")
    app = create_app(settings, clock=clock)
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://beacon.test") as client,
    ):
        yield client


async def told(url: str) -> tuple[Counter[str], int, list[RollCallAnswer]]:
    """What the log tells of roll calls and alerts, how many incidents there are, and the answers."""
    database = Database(url, pool=1)
    log = await rows(database, FeedEvent)
    assert sorted(event.seq for event in log if event.city_id == CITY) == list(
        range(1, 1 + len([event for event in log if event.city_id == CITY]))
    )
    types = Counter(event.type for event in log if event.topic in ("rollcall", "alert") and event.city_id == CITY)
    incidents = len(await rows(database, Incident))
    assert len(await rows(database, Alert)) == types["alert.raised"]
    answers = await rows(database, RollCallAnswer)
    assert len({one.id for one in await rows(database, RollCall)}) == len({one.roll_call_id for one in answers})
    await database.close()
    return types, incidents, answers


async def test_killed_at_every_point_nothing_is_told_twice_or_skipped(database_url: str, as_: As) -> None:
    clock, policy = ManualClock(NOON), load_policy(None)

    async def work(database: Database) -> None:
        await engine.run_due(database, policy=policy, clock=clock)

    async with serving(database_url, clock) as client:
        await post(client, as_, VILLAGE, **EXTREME)
        await post(client, as_, NEIGHBOUR, hazard="weather.wind")
        clock.advance(timedelta(minutes=1))
        await ask(client, as_(TOWN, "desk"))
    # 00:15 where the offices are: the round is due, and the day's scheduled roll calls are to be opened.
    clock.advance(timedelta(hours=12))
    points = len(list(killed_everywhere(database_url, work)))
    types, incidents, answers = await told(database_url)

    assert points > 20
    assert types == {
        "alert.raised": 5,
        "rollcall.opened": 3,
        "rollcall.due": 1,
        "silence.found": 4,
    }
    assert incidents == 6
    assert len([one for one in answers if one.silent_since]) == 4

    async with serving(database_url, clock) as client:
        await post(client, as_, NEIGHBOUR, hazard="weather.wind", summary="【演练】恢复联系")
    clock.advance(timedelta(minutes=1))
    list(killed_everywhere(database_url, work))
    types, _, answers = await told(database_url)

    assert (types["silence.ended"], types["alert.closed"]) == (1, 1)
    assert [one.node_code for one in answers if one.heard_at] == [NEIGHBOUR]
