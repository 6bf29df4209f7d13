"""Sixteen writers and four pollers against real server processes: every event once, in order, without a gap."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from app.core.database import Database
from app.core.ids import new_id
from app.feed.models import FeedEvent
from app.reports.models import Report
from tests.builders import CITY, EXTREME, FOURTH, NEIGHBOUR, NOON, ROUTINE, THIRD, TOWN, URGENT, VILLAGE, report
from tests.processes import Served, serving
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

WRITERS, POLLERS, EACH = 16, 4, 12
VILLAGES = (VILLAGE, NEIGHBOUR, THIRD, FOURTH)
HAZARDS = ("flood.river", "fire.building")


async def write(url: str, headers: dict[str, str], number: int) -> list[str]:
    """Post reports of changing urgency; the ids that were answered 201."""
    answered = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        for turn in range(EACH):
            triad = (ROUTINE, URGENT, EXTREME)[(number + turn) % 3]
            body = report(**triad, hazard=HAZARDS[turn % 2])
            answer = await client.post("/v1/reports", json=body)
            assert answer.status_code == 201, answer.text
            answered.append(body["id"])
    return answered


async def city_events(database: Database) -> list[Any]:
    """The city's log. Also in the other city the timers of a real server do what the calendar asks."""
    events = [one for one in await rows(database, FeedEvent) if one.city_id == CITY]
    return sorted(events, key=lambda event: event.seq)


async def poll(url: str, headers: dict[str, str], cursor: str, done: asyncio.Event) -> list[tuple[str, str, int]]:
    """Follow the alerts until the writers are done and nothing is left."""
    seen = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        while True:
            finished = done.is_set()
            params: dict[str, str | int] = {"since": cursor, "limit": 7, "wait": 0 if finished else 2}
            answer = await client.get("/v1/alerts/changes", params=params)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            seen += [
                (change["cursor"], change["alert"]["id"], change["alert"]["version"]) for change in page["results"]
            ]
            cursor = page["cursor"]
            if finished and not page["results"]:
                return seen


@pytest.mark.parametrize("processes", [2])
async def test_every_poller_sees_every_event_once_in_order(database_url: str, as_: As, processes: int) -> None:
    sqlite = database_url.startswith("sqlite")
    with ExitStack() as stack:
        servers: list[Served] = [stack.enter_context(serving(database_url)) for _ in range(1 if sqlite else processes)]
        urls = [server.url for server in servers]
        city = as_(CITY, "desk")
        async with httpx.AsyncClient(base_url=urls[0], headers=city) as client:
            cursor = (await client.get("/v1/alerts")).json()["cursor"]
        done = asyncio.Event()
        pollers = [asyncio.create_task(poll(urls[number % len(urls)], city, cursor, done)) for number in range(POLLERS)]
        writers = [
            write(urls[number % len(urls)], as_(VILLAGES[number % 4], "reporter"), number) for number in range(WRITERS)
        ]
        answered = [one for ids in await asyncio.gather(*writers) for one in ids]
        done.set()
        seen = await asyncio.gather(*pollers)

    database = Database(database_url)
    events = await city_events(database)
    stored = {str(row.id) for row in await rows(database, Report)}
    await database.close()
    expected = [(str(event.subject_id), event.version) for event in events if event.topic == "alert"]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(answered) == WRITERS * EACH
    assert stored == set(answered)
    for one in seen:
        assert [(alert, version) for _, alert, version in one] == expected
    versions: dict[str, list[int]] = {}
    for alert, version in expected:
        versions.setdefault(alert, []).append(version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())


async def test_what_was_answered_survives_kill_9(database_url: str, as_: As) -> None:
    answered: list[str] = []
    enough = asyncio.Event()

    async def pour(url: str, village: str) -> None:
        async with httpx.AsyncClient(base_url=url, headers=as_(village, "reporter"), timeout=10) as client:
            try:
                while True:
                    body = report(**EXTREME)
                    if (await client.post("/v1/reports", json=body)).status_code == 201:
                        answered.append(body["id"])
                    if len(answered) >= 40:
                        enough.set()
            except httpx.TransportError:
                return

    with serving(database_url) as server:
        pouring = [asyncio.create_task(pour(server.url, village)) for village in VILLAGES for _ in range(2)]
        async with asyncio.timeout(60):
            await enough.wait()
        server.kill()
        await asyncio.gather(*pouring)

    with serving(database_url) as server:
        database = Database(database_url)
        stored = await rows(database, Report)
        events = await city_events(database)
        await database.close()
        assert set(answered) <= {str(row.id) for row in stored}
        assert all(row.alert_id for row in stored)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert {str(row.id) for row in stored} == {str(e.subject_id) for e in events if e.topic == "report"}
        async with httpx.AsyncClient(base_url=server.url, headers=as_(VILLAGE, "reporter")) as client:
            body = report(new_id(), observed_at=NOON.isoformat())
            assert (await client.post("/v1/reports", json=body)).status_code == 201
        async with httpx.AsyncClient(base_url=server.url, headers=as_(TOWN, "desk")) as client:
            assert (await client.get("/v1/alerts")).json()["items"]
