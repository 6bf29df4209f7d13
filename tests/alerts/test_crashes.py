"""The clock of alerts, killed at every point and run by several processes at once: each step is told exactly once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from app.alerts import engine
from app.alerts.models import Alert, AlertStep
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.models import FeedEvent
from app.main import create_app
from app.reports.models import Custody
from tests.alerts.acts import act, got
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE
from tests.conftest import running
from tests.crashes import killed_everywhere
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

LATE = timedelta(minutes=31)

# What must have been told of each alert in the end: type and step.
BYPASSED_AND_ESCALATED = [("alert.raised", 1), ("alert.bypassed", 2), ("alert.escalated", 3)]
ESCALATED = [("alert.raised", 1), ("alert.escalated", 2), ("alert.escalated", 3)]
REARMED = [("alert.raised", 1), ("alert.acknowledged", 1), ("alert.rearmed", 1)]
EXPECTED = {VILLAGE: BYPASSED_AND_ESCALATED, NEIGHBOUR: REARMED, FAR_VILLAGE: ESCALATED}


@asynccontextmanager
async def serving(url: str, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    """An application on the database, and its client; closed before anything is forked."""
    settings = Settings(database_url=url, database_pool=3, timers_poll_seconds=0, log_level="error")
    app = create_app(settings, clock=clock)
    transport = httpx.ASGITransport(app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
        yield client


async def make_late(url: str, as_: As) -> ManualClock:
    """One alert with steps due whose town is to be bypassed, one whose acknowledgement ends, one with steps alone."""
    clock = ManualClock(NOON)
    async with serving(url, clock) as client:
        await raise_alert(client, as_, village=VILLAGE)
        owned = await raise_alert(client, as_, village=NEIGHBOUR)
        until = (NOON + timedelta(minutes=20)).isoformat()
        await act(client, as_(TOWN, "desk"), owned["alert_id"], "acknowledge", until=until)
        opened = await raise_alert(client, as_, village=FAR_VILLAGE)
        await got(client, as_(OTHER_TOWN, "desk"), f"/v1/reports/{opened['id']}")
    clock.advance(LATE)
    return clock


async def life(database: Database) -> tuple[int, dict[str, list[tuple[str, int]]]]:
    """How many entries the log has, and by village what it tells of its alert; both are sound."""
    log = await rows(database, FeedEvent)
    assert sorted(event.seq for event in log) == list(range(1, len(log) + 1))
    told: dict[str, list[tuple[str, int]]] = {}
    alerts = {alert.id: alert for alert in await rows(database, Alert)}
    noted = {(step.alert_id, step.version): (step.type, step.step) for step in await rows(database, AlertStep)}
    for event in sorted((event for event in log if event.topic == "alert"), key=lambda event: event.seq):
        found = told.setdefault(event.node_code, [])
        found.append((event.type, event.body["escalation"]["step"]))
        assert event.version == len(found)
        if event.type != "alert.raised":
            assert noted.pop((event.subject_id, event.version)) == found[-1]
    assert noted == {}
    for alert in alerts.values():
        assert len(told[alert.node_code]) == alert.version
        assert told[alert.node_code][-1][1] == alert.escalation_step
    # Whoever was bypassed was told of, once; whoever was told of, was bypassed.
    bypassed = [(event.subject_id, event.body["bypassed"]) for event in log if event.type == "report.bypassed"]
    held = [(one.report_id, one.node_code) for one in await rows(database, Custody) if one.bypassed_at is not None]
    assert sorted(bypassed) == sorted(held)
    return len(log), told


async def finish(url: str, clock: ManualClock) -> None:
    """Once more to the end, then everything has happened exactly once and nothing is due."""
    database = Database(url)
    due = await engine.run_due(database, clock=clock)
    _, told = await life(database)
    held = [one.node_code for one in await rows(database, Custody) if one.bypassed_at is not None]
    await database.close()
    assert told == EXPECTED
    assert held == [TOWN]
    assert due is not None
    assert due > clock.now()


async def test_killed_before_every_statement_every_step_is_told_exactly_once(database_url: str, as_: As) -> None:
    clock = await make_late(database_url, as_)
    lengths = []

    for _ in killed_everywhere(database_url, lambda database: engine.run_due(database, clock=clock)):
        database = Database(database_url)
        lengths.append((await life(database))[0])
        await database.close()

    # All of it in one commit: nothing, and from then on everything.
    assert len(lengths) > 10
    assert lengths == sorted(lengths)
    assert sorted(set(lengths)) == [lengths[0], lengths[0] + 6]
    await finish(database_url, clock)


async def test_killed_between_batches_the_next_run_does_the_rest(database_url: str, as_: As) -> None:
    clock = await make_late(database_url, as_)
    lengths = []

    # A batch is one alert, so that there are three commits: each run gets as far as the next one's midst.
    for _ in killed_everywhere(database_url, lambda database: engine.run_due(database, clock=clock, batch=1)):
        database = Database(database_url)
        lengths.append((await life(database))[0])
        await database.close()

    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
    await finish(database_url, clock)


async def test_several_runs_at_once_tell_every_step_exactly_once(database_url: str, as_: As) -> None:
    clock = await make_late(database_url, as_)
    together = threading.Barrier(3)

    async def one_process() -> None:
        database = Database(database_url)
        try:
            async with database.reading():
                await asyncio.to_thread(together.wait, 10)
            # One that meets the others at every alert gives up early; the timer would ask again.
            for _ in range(4):
                await engine.run_due(database, clock=clock, batch=1)
        finally:
            await database.close()

    def in_its_own_loop(_: int) -> None:
        asyncio.run(one_process())

    await asyncio.gather(*(asyncio.to_thread(in_its_own_loop, number) for number in range(3)))

    await finish(database_url, clock)


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_an_alert_that_another_holds_is_left_to_it_and_the_others_are_done(database_url: str, as_: As) -> None:
    clock = await make_late(database_url, as_)
    here, there = Database(database_url), Database(database_url)

    async with asyncio.timeout(20), there.writing() as conn:
        await conn.execute(select(Alert.id).where(Alert.city_id == CITY, Alert.node_code == VILLAGE).with_for_update())
        due = await engine.run_due(here, clock=clock)
        _, told = await life(here)
    await here.close()
    await there.close()

    assert told == EXPECTED | {VILLAGE: [("alert.raised", 1)]}
    # What the other leaves is found at the next poll: nobody runs in a circle meanwhile.
    assert due is None
    await finish(database_url, clock)
