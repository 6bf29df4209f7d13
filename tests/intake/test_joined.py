"""One incident, several nodes, several processes."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.cursors import START
from app.incidents.models import Incident
from app.main import create_app
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    NOON,
    OTHER_TOWN,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.conftest import running
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

HERE = {"lat": 36.9, "lon": 118.9}


async def post(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=report(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_office_that_reported_an_incident_sees_its_alert(client: httpx.AsyncClient, as_: As) -> None:
    await post(client, as_(VILLAGE, "reporter"), location=HERE)
    raised = await post(client, as_(NEIGHBOUR, "reporter"), location=HERE, **URGENT)
    worse = await post(client, as_(VILLAGE, "reporter"), location=HERE, **EXTREME)

    assert worse["alert_id"] == raised["alert_id"]
    for node in (VILLAGE, NEIGHBOUR, TOWN, CITY):
        headers = as_(node, "desk")
        assert (await client.get(f"/v1/alerts/{worse['alert_id']}", headers=headers)).status_code == 200
        assert len((await client.get("/v1/alerts", headers=headers)).json()["items"]) == 1
        changes = (await client.get("/v1/alerts/changes", headers=headers)).json()["results"]
        assert [change["type"] for change in changes] == ["alert.raised", "alert.upgraded"]
    for node in (FOURTH, OTHER_TOWN):
        assert (await client.get("/v1/alerts/changes", headers=as_(node, "desk"))).json()["results"] == []


async def test_an_alert_is_seen_in_the_next_town_whose_village_reported_the_incident(
    client: httpx.AsyncClient, as_: As
) -> None:
    first = await post(client, as_(VILLAGE, "reporter"), **URGENT)
    city = as_(CITY, "desk")
    await post(client, city, node=FAR_VILLAGE, incident_id=first["incident_id"])
    start = (await client.get("/v1/alerts", headers=as_(OTHER_TOWN, "desk"))).json()

    far = await post(client, as_(FAR_VILLAGE, "reporter"), incident_id=first["incident_id"], **EXTREME)

    assert [item["id"] for item in start["items"]] == [far["alert_id"]]
    for node in (OTHER_TOWN, FAR_VILLAGE):
        page = await client.get("/v1/alerts/changes", params={"since": start["cursor"]}, headers=as_(node, "desk"))
        assert [change["alert"]["level"] for change in page.json()["results"]] == ["red"]
    closed = await client.post(f"/v1/alerts/{far['alert_id']}/close", json={"reason": "【演练】水退"}, headers=city)
    assert closed.status_code == 200
    page = await client.get("/v1/alerts/changes", params={"since": start["cursor"]}, headers=as_(OTHER_TOWN, "desk"))
    assert [change["type"] for change in page.json()["results"]] == ["alert.upgraded", "alert.closed"]


async def test_a_report_at_a_border_raises_its_own_towns_alert(client: httpx.AsyncClient, as_: As) -> None:
    first = await post(client, as_(VILLAGE, "reporter"), location=HERE, **EXTREME)
    taken = await client.post(f"/v1/alerts/{first['alert_id']}/acknowledge", json={}, headers=as_(TOWN, "desk"))
    assert taken.status_code == 200

    far = await post(client, as_(FAR_VILLAGE, "reporter"), location=HERE, **EXTREME)
    of_city = await post(client, as_(CITY, "desk"), location=HERE, **EXTREME)

    found = [first, far, of_city]
    assert len({one["incident_id"] for one in found}) == len({one["alert_id"] for one in found}) == 3
    assert not [reason for one in found for reason in one["reasons"] if reason["rule"].startswith("match.")]
    own = await client.post(f"/v1/alerts/{far['alert_id']}/acknowledge", json={}, headers=as_(OTHER_TOWN, "desk"))
    assert own.status_code == 200, own.text
    again = await post(client, as_(CITY, "desk"), location=HERE)
    assert again["incident_id"] == of_city["incident_id"]


async def test_a_report_joins_an_incident_of_the_next_town_that_its_own_town_is_in(
    client: httpx.AsyncClient, as_: As
) -> None:
    first = (await post(client, as_(VILLAGE, "reporter"), location=HERE))["incident_id"]
    far = (await post(client, as_(FAR_VILLAGE, "reporter"), location=HERE))["incident_id"]
    city = as_(CITY, "desk")
    apart = await post(client, as_(OTHER_TOWN, "desk"), location=HERE)
    merged = await client.post(f"/v1/incidents/{far}/merge", json={"into": first, "reason": "同一险情"}, headers=city)
    assert merged.status_code == 200, merged.text

    near = await post(client, as_(OTHER_TOWN, "desk"), hazard="flood.river", location=HERE)
    of_city = await post(client, city, location=HERE)
    named = await post(client, city, incident_id=first)
    again = await post(client, city, location=HERE)

    assert [one["incident_id"] for one in (apart, near, named)] == [far, first, first]
    assert near["reasons"][-1]["rule"] == "match.nearby"
    assert of_city["incident_id"] not in (first, far)
    # Its own first: that is where the city's first report is.
    assert again["incident_id"] == of_city["incident_id"]


async def test_a_town_that_named_the_next_towns_incident_joins_it_from_then_on(
    client: httpx.AsyncClient, as_: As
) -> None:
    first = (await post(client, as_(VILLAGE, "reporter"), location=HERE))["incident_id"]
    items = [
        report(node=OTHER_TOWN, location=HERE, hazard="flood.flash", summary="【演练】"),
        report(node=OTHER_TOWN, incident_id=first),
        report(node=FAR_VILLAGE, location=HERE),
    ]
    answer = await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(CITY, "desk"))

    together = [one["report"]["incident_id"] for one in answer.json()["results"]]
    later = await post(client, as_(FAR_VILLAGE, "reporter"), location=HERE)

    assert together[0] != first
    assert [*together[1:], later["incident_id"]] == [first, first, first]


async def test_an_incident_goes_with_its_village_to_the_next_town(client: httpx.AsyncClient, as_: As) -> None:
    first = await post(client, as_(VILLAGE, "reporter"), location=HERE, **URGENT)
    moved = await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    assert moved.status_code == 200

    near = await post(client, as_(NEIGHBOUR, "reporter"), location=HERE, **URGENT)
    far = await post(client, as_(FAR_VILLAGE, "reporter"), location=HERE)
    named = await post(client, as_(OTHER_TOWN, "desk"), node=VILLAGE, incident_id=first["incident_id"])

    assert near["incident_id"] != first["incident_id"]
    assert far["incident_id"] == named["incident_id"] == first["incident_id"]
    for node, alert in ((TOWN, near), (OTHER_TOWN, first)):
        alerts = (await client.get("/v1/alerts", headers=as_(node, "desk"))).json()["items"]
        assert alert["alert_id"] in [one["id"] for one in alerts]


async def test_a_move_changes_the_etag_of_every_list(client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
    alert = (await post(client, as_(VILLAGE, "reporter"), **URGENT))["alert_id"]
    await client.post(f"/v1/alerts/{alert}/close", json={"reason": "【演练】水退"}, headers=as_(CITY, "desk"))
    await app.state.heads.refresh()
    town = as_(TOWN, "desk")
    closed = await client.get("/v1/alerts?state=closed", headers=town)
    tag = {"If-None-Match": closed.headers["etag"]}
    assert (await client.get("/v1/alerts?state=closed", headers=town | tag)).status_code == 304

    await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))

    assert (await client.get("/v1/alerts?state=closed", headers=town | tag)).status_code == 200


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_several_processes_open_one_incident_for_reports_that_come_at_once(
    database_url: str, as_: As, clock: ManualClock
) -> None:
    settings = Settings(database_url=database_url, database_pool=4)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(3):
            application = await stack.enter_async_context(running(create_app(settings, clock=clock)))
            transport = httpx.ASGITransport(application)
            clients.append(
                await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://beacon.test"))
            )
        stored = await asyncio.gather(
            *(post(client, as_(VILLAGE, "reporter"), **EXTREME) for client in clients for _ in range(12))
        )
    database = Database(database_url)
    incidents = await rows(database, Incident)
    await database.close()

    assert len({one["incident_id"] for one in stored}) == len(incidents) == 1
    assert len({one["alert_id"] for one in stored}) == 1
    assert incidents[0].reports == 36


async def test_a_reader_from_the_beginning_is_woken_by_the_first_event(
    client: httpx.AsyncClient, as_: As, app: FastAPI
) -> None:
    await post(client, as_(VILLAGE, "reporter"), **URGENT)

    async with asyncio.timeout(5):
        await app.state.heads.wait(CITY, beyond=START, seconds=60)


async def test_the_poll_of_the_log_survives_whatever_goes_wrong(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = app.state.heads
    real, failed = heads.refresh, asyncio.Event()

    async def fail() -> None:
        failed.set()
        raise RuntimeError

    monkeypatch.setattr(heads, "refresh", fail)
    async with asyncio.timeout(10):
        await failed.wait()
    again = asyncio.Event()

    async def work() -> None:
        await real()
        again.set()

    monkeypatch.setattr(heads, "refresh", work)
    async with asyncio.timeout(10):
        await again.wait()
    assert heads.latest(CITY) == START


async def test_reports_that_name_a_merged_incident_are_of_what_it_is_part_of(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    alias = (await post(client, as_(VILLAGE, "reporter")))["incident_id"]
    whole = (await post(client, as_(NEIGHBOUR, "reporter"), hazard="flood.flash"))["incident_id"]
    merged = await client.post(
        f"/v1/incidents/{alias}/merge", json={"into": whole, "reason": "【演练】同一险情"}, headers=as_(TOWN, "desk")
    )
    assert merged.status_code == 200, merged.text
    me = as_(VILLAGE, "reporter")
    items = [report(incident_id=alias), report(incident_id=whole), report(incident_id=alias), report()]

    results = (await client.post("/v1/reports/batch", json={"reports": items}, headers=me)).json()["results"]

    # The last one names none: it is found by the place of the alias.
    assert [one["report"]["incident_id"] for one in results] == [whole] * 4
    corrected = await client.put(
        f"/v1/reports/{items[0]['id']}",
        json=items[0] | {"summary": "【演练】更正"},
        headers=me | {"If-Match": '"1"'},
    )
    assert (corrected.status_code, corrected.json()["incident_id"]) == (200, whole)
    stored = {str(one.id): one for one in await rows(database, Incident)}
    assert (stored[whole].reports, stored[alias].merged_into) == (6, stored[whole].id)


async def test_an_office_that_was_merged_is_of_the_town_that_it_is_part_of(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    of_city = (await post(client, as_(CITY, "desk"), location=HERE))["incident_id"]
    await post(client, as_(CITY, "desk"), node=VILLAGE, incident_id=of_city)
    merged = await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": FAR_VILLAGE}, headers=as_(CITY, "admin"))
    assert merged.status_code == 200, merged.text

    far = await post(client, as_(FAR_VILLAGE, "reporter"), location=HERE)
    near = await post(client, as_(NEIGHBOUR, "reporter"), location=HERE)

    assert far["incident_id"] == of_city != near["incident_id"]


@pytest.mark.parametrize("together", [False, True])
async def test_a_late_report_joins_in_the_course_of_an_incident_alone_or_in_a_parcel(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, together: bool
) -> None:
    # An office far away, without a place: only its own incident can be found.
    me = as_(VILLAGE, "reporter")
    hours = (0, 20, 40, 10)
    items = [report(observed_at=(NOON + timedelta(hours=one - 40)).isoformat()) for one in hours]
    if together:
        results = (await client.post("/v1/reports/batch", json={"reports": items}, headers=me)).json()["results"]
        found = [one["report"]["incident_id"] for one in results]
    else:
        found = [(await client.post("/v1/reports", json=item, headers=me)).json()["incident_id"] for item in items]

    assert len(set(found)) == 1
