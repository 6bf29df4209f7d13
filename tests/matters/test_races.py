"""Reports come in while their incidents are merged and split: each ends in exactly one, and none is counted wrong."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from random import Random

import httpx
import pytest
from sqlalchemy import select

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.models import FeedEvent
from app.incidents.models import Incident, IncidentMove
from app.main import create_app
from app.reports.models import Report
from tests.alerts.acts import got
from tests.builders import CITY, NEIGHBOUR, ROUTINE, THIRD, TOWN, URGENT, VILLAGE, report
from tests.conftest import running
from tests.matters.acts import As, act, agree, post
from tests.tables import rows

pytestmark = pytest.mark.anyio

NODES = (VILLAGE, NEIGHBOUR, THIRD)


@pytest.fixture
async def clients(settings: Settings, clock: ManualClock) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two processes on one database, as far as two applications in one process are; one on SQLite."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(1 if settings.database_url.startswith("sqlite") else 2):
            application = await stack.enter_async_context(running(create_app(settings, clock=clock)))
            transport = httpx.ASGITransport(application)
            found.append(
                await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://beacon.test"))
            )
        yield found


@pytest.fixture
async def tables(settings: Settings, clients: list[httpx.AsyncClient]) -> AsyncIterator[Database]:
    database = Database(settings.database_url)
    yield database
    await database.close()


async def test_intake_races_with_merges_and_splits(clients: list[httpx.AsyncClient], tables: Database, as_: As) -> None:
    first = [await post(clients[0], as_(node, "reporter")) for node in NODES]
    incidents = [made["incident_id"] for made in first]
    desk = as_(TOWN, "desk")
    stored: list[str] = [made["id"] for made in first]
    applied = Counter[str]()

    async def device(node: str, number: int) -> None:
        client = clients[number % len(clients)]
        for at in range(15):
            triad = URGENT if at % 5 == 4 else ROUTINE
            named = {"incident_id": first[number]["incident_id"]} if at % 7 == 6 else {}
            body = report(kind="followup", **triad, **named)
            answer = await client.post("/v1/reports", json=body, headers=as_(node, "reporter"))
            # Also when what it names is part of another incident by now.
            assert answer.status_code == 201, answer.text
            stored.append(answer.json()["id"])

    async def office(number: int) -> None:
        client, random = clients[number % len(clients)], Random(number)
        for _ in range(12):
            one, other = random.sample(incidents, 2)
            if random.random() < 0.6:
                answer = await act(client, desk, one, "merge", into=other)
                verb = "merge"
            else:
                answer = await act(client, desk, one, "split", alias=other)
                verb = "split"
            assert answer.status_code in (200, 409, 422), answer.text
            applied[verb] += answer.status_code == 200 and answer.json()["applied"]

    await asyncio.gather(*(device(node, at) for at, node in enumerate(NODES)), *(office(at) for at in range(2)))

    await agree(tables)
    kept = [str(row.id) for row in await rows(tables, Report)]
    assert sorted(kept) == sorted(stored)
    assert len(set(stored)) == len(stored) == 48
    assert applied["merge"] >= 2
    await _moves_are_complete(tables)


async def _moves_are_complete(tables: Database) -> None:
    """Each report's moves lead, one after the other, from where it was told to be to where it is."""
    async with tables.reading() as conn:
        events = (
            await conn.execute(
                select(FeedEvent.type, FeedEvent.body).where(FeedEvent.topic == "report").order_by(FeedEvent.seq)
            )
        ).all()
    at = {}
    for kind, body in events:
        if kind == "report.received":
            at[body["id"]] = body["incident_id"]
        if kind == "report.moved":
            assert at[body["id"]] == body["from"]
            at[body["id"]] = body["to"]
    assert at == {str(row.id): str(row.incident_id) for row in await rows(tables, Report)}
    moves = await rows(tables, IncidentMove)
    assert len(moves) == sum(kind == "report.moved" for kind, _ in events)


async def test_of_two_that_merge_each_other_one_wins(
    clients: list[httpx.AsyncClient], tables: Database, as_: As
) -> None:
    one, other, third = [(await post(clients[0], as_(node, "reporter")))["incident_id"] for node in NODES]
    desk = as_(TOWN, "desk")

    answers = await asyncio.gather(
        act(clients[0], desk, one, "merge", into=other),
        act(clients[-1], desk, other, "merge", into=one),
        act(clients[0], desk, third, "merge", into=one),
        act(clients[-1], desk, third, "merge", into=other),
    )

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sum(answer.status_code == 200 for answer in answers[:2]) == 1
    await agree(tables)
    await _moves_are_complete(tables)
    whole = [row for row in await rows(tables, Incident) if row.merged_into is None]
    assert sum(row.reports for row in whole) == 3


async def test_a_correction_finds_its_report_wherever_it_went(
    clients: list[httpx.AsyncClient], tables: Database, as_: As
) -> None:
    body = report()
    made = [
        await post(clients[0], as_(node, "reporter"), **({"id": body["id"]} if node == THIRD else {})) for node in NODES
    ]
    one, _, third = (found["incident_id"] for found in made)
    desk = as_(TOWN, "desk")

    async def correct() -> None:
        for version in range(1, 7):
            answer = await clients[-1].put(
                f"/v1/reports/{body['id']}",
                json={**body, "summary": f"【演练】第{version}次更正", **(URGENT if version == 4 else {})},
                headers=as_(THIRD, "reporter") | {"If-Match": f'"{version}"'},
            )
            assert answer.status_code == 200, answer.text

    async def regroup() -> None:
        for _ in range(4):
            assert (await act(clients[0], desk, third, "merge", into=one)).status_code == 200
            assert (await act(clients[0], desk, one, "split", alias=third)).status_code == 200

    await asyncio.gather(correct(), regroup())

    await agree(tables)
    shown = await got(clients[0], as_(CITY, "desk"), f"/v1/incidents/{third}")
    assert (shown["level"], shown["reports"], shown["headline"]) == ("orange", 1, "【演练】第6次更正")


async def test_what_a_desk_does_with_reports_while_their_incidents_are_merged_is_done(
    clients: list[httpx.AsyncClient], as_: As
) -> None:
    desk = as_(CITY, "desk")
    for number in range(6):
        made = [await post(clients[0], as_(node, "reporter"), **URGENT) for node in (VILLAGE, THIRD)]
        one, other = (found["incident_id"] for found in made)

        async def look(report_id: str, delay: float) -> httpx.Response:
            await asyncio.sleep(delay)
            return await clients[-1].get(f"/v1/reports/{report_id}", headers=desk)

        answers = await asyncio.gather(
            act(clients[0], desk, one, "merge", into=other),
            *(look(found["id"], number * 0.003) for found in made),
        )

        assert [answer.status_code for answer in answers] == [200] * 3, [answer.text for answer in answers]
        for found in made:
            await clients[0].post(f"/v1/alerts/{found['alert_id']}/close", json={"reason": "【演练】"}, headers=desk)
        await clients[0].post(
            f"/v1/incidents/{other}/outcome", json={"outcome": "resolved", "text": "【演练】"}, headers=desk
        )
