"""The list of alarms: what is asked for, and nobody else's."""

import httpx
import pytest
from fastapi import FastAPI, Request

from app.core.caller import Caller
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.detection.engine import run_due
from app.hazards.policy import load_policy
from tests.builders import CITY, NEIGHBOUR, OTHER_CITY, OTHER_TOWN, THIRD, TOWN, VILLAGE
from tests.detection.conftest import As, Post, place

pytestmark = pytest.mark.anyio

HAZARDS = ("fire.building", "flood.river", "disease.human")


@pytest.fixture
async def alarms(post: Post, database: Database, clock: ManualClock, client: httpx.AsyncClient, as_: As) -> list[str]:
    """Ids of four alarms, the last raised first: three clusters and one of a disease, at THIRD."""
    for hazard in HAZARDS:
        for village in (VILLAGE, NEIGHBOUR, THIRD):
            await post(village, location=place(), hazard=hazard)
    await run_due(database, policy=load_policy(None), clock=clock)
    items = (await client.get("/v1/alarms", headers=as_(CITY, "desk"))).json()["items"]
    return [item["id"] for item in items]


async def test_each_alarm_is_shown_with_its_sentence_in_both_languages(
    alarms: list[str], client: httpx.AsyncClient, as_: As
) -> None:
    assert len(alarms) == 4
    for alarm in alarms:
        shown = (await client.get(f"/v1/alarms/{alarm}", headers=as_(CITY, "desk"))).json()
        assert shown["id"] == alarm
        assert "reports of" in shown["sentence"]
        assert "份报告" in shown["sentence_zh"]
        assert shown["level"] == "yellow"
        assert len(shown["reports"]) == shown["observed"] >= shown["limit"]


async def test_an_alarm_is_seen_where_it_was_raised_and_above(
    alarms: list[str], client: httpx.AsyncClient, as_: As
) -> None:
    seen = {}
    for node in (CITY, TOWN, THIRD, VILLAGE, OTHER_TOWN, OTHER_CITY):
        listed = (await client.get("/v1/alarms", headers=as_(node, "supervisor"))).json()["items"]
        one = await client.get(f"/v1/alarms/{alarms[0]}", headers=as_(node, "supervisor"))
        assert (one.status_code == 200) == (alarms[0] in [item["id"] for item in listed])
        seen[node] = {item["id"] for item in listed}

    assert seen[CITY] == seen[TOWN] == set(alarms)
    assert seen[OTHER_TOWN] == seen[OTHER_CITY] == set()
    assert seen[THIRD] | seen[VILLAGE] <= set(alarms)


async def test_the_list_is_filtered_and_paged(
    alarms: list[str], client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    async def ids(query: str) -> list[str]:
        answer = await client.get(f"/v1/alarms?{query}", headers=as_(CITY, "desk"))
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]

    diseases = await ids("rule=cluster.disease")
    assert len(diseases) == 1
    assert set(await ids("rule=cluster")) == set(alarms) - set(diseases)
    assert await ids("rule=ears.c2") == []
    now = clock.now().isoformat().replace("+00:00", "Z")
    assert await ids(f"since={now}") == alarms
    assert await ids(f"until={now}") == []

    paged: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/alarms?limit=3{cursor}", headers=as_(CITY, "desk"))).json()
        paged += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert paged == alarms


async def test_who_may_read_alerts_may_read_alarms(client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
    assert (await client.get("/v1/alarms", headers=as_(VILLAGE, "reporter"))).status_code == 200
    assert (await client.get("/v1/alarms")).status_code == 401

    async def narrow(_: Request) -> Caller:
        return Caller(CITY, CITY, "city", frozenset({"reports:read"}), "narrow")

    app.state.authenticate = narrow
    for path in ("/v1/alarms", f"/v1/alarms/{new_id()}"):
        assert (await client.get(path)).status_code == 403


async def test_what_is_asked_wrongly_or_is_not_there_gets_its_problem(client: httpx.AsyncClient, as_: As) -> None:
    city = as_(CITY, "desk")
    wrong = await client.get("/v1/alarms?rule=ears.c9", headers=city)
    unknown = await client.get("/v1/alarms?family=health", headers=city)

    assert (wrong.status_code, wrong.json()["code"]) == (400, "query_invalid")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "query_unknown")
    assert (await client.get(f"/v1/alarms/{new_id()}", headers=city)).status_code == 404
