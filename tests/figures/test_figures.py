from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, update

from app.core.database import Database
from app.core.ids import new_id
from app.figures import statements
from app.nodes.models import Node, NodeSpan
from app.reports.models import Report
from tests.alerts.acts import got
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    NEIGHBOUR,
    NOON,
    OTHER_CITY,
    OTHER_TOWN,
    THIRD,
    TOWN,
    VILLAGE,
)
from tests.conftest import OPENED
from tests.drills.acts import begin
from tests.figures.acts import filed, merge_offices, table
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

PERIOD = {"from": (NOON - timedelta(days=1)).isoformat(), "to": (NOON + timedelta(days=1)).isoformat()}


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes - 60)).isoformat()


async def flood(client: httpx.AsyncClient, as_: As) -> dict[str, Any]:
    """Three villages of two towns speak of one flood; the first one's report is answered."""
    first = await filed(client, as_(VILLAGE, "reporter"), observed_at=at(0), dead=1, affected=320)
    incident = first["incident_id"]
    await filed(client, as_(TOWN, "desk"), node=NEIGHBOUR, incident_id=incident, observed_at=at(1), dead=0, affected=80)
    await filed(client, as_(CITY, "desk"), node=FAR_VILLAGE, incident_id=incident, observed_at=at(2), affected=5)
    return first


async def test_an_incidents_figures_are_rolled_up_the_tree(client: httpx.AsyncClient, as_: As) -> None:
    first = await flood(client, as_)
    await filed(
        client,
        as_(VILLAGE, "reporter"),
        kind="followup",
        incident_id=first["incident_id"],
        observed_at=at(3),
        affected=350,
        crop_area_lost_ha=0.1,
    )

    found = await got(client, as_(CITY, "desk"), f"/v1/incidents/{first['incident_id']}/figures")

    assert [row["office"]["code"] for row in found["rows"]] == [
        CITY,
        OTHER_TOWN,
        FAR_VILLAGE,
        TOWN,
        VILLAGE,
        NEIGHBOUR,
    ]
    assert table(found) == {
        CITY: {"affected": 435, "dead": 1, "crop_area_lost_ha": 0.1},
        OTHER_TOWN: {"affected": 5},
        FAR_VILLAGE: {"affected": 5},
        TOWN: {"affected": 430, "dead": 1, "crop_area_lost_ha": 0.1},
        VILLAGE: {"affected": 350, "dead": 1, "crop_area_lost_ha": 0.1},
        NEIGHBOUR: {"affected": 80, "dead": 0},
    }
    assert found["total"] == found["rows"][0]["figures"]
    assert found["rows"][4]["office"] == {"code": VILLAGE, "name": "口子村", "tier": "village", "parent": TOWN}
    assert found["rows"][4]["figures"][1] == {
        "figure": "dead",
        "zh": "死亡人口",
        "en": "dead",
        "unit": "persons",
        "value": 1,
        "source": "own",
        "reports": [first["id"]],
        "own": None,
        "children_sum": None,
        "children_changed_since": False,
        "merged": [],
    }
    assert (found["reports"], found["left_out"], found["borders"], found["day"]) == (4, 0, "today", "2018-08-20")


async def test_a_towns_final_overrides_its_villages_and_says_so(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await flood(client, as_))["incident_id"]
    final = await filed(client, as_(TOWN, "desk"), kind="final", incident_id=incident, observed_at=at(9), affected=390)

    found = await got(client, as_(CITY, "desk"), f"/v1/incidents/{incident}/figures")

    town = next(row for row in found["rows"] if row["office"]["code"] == TOWN)["figures"][0]
    assert (town["value"], town["source"], town["children_sum"], town["reports"]) == (
        390,
        "verified",
        400,
        [final["id"]],
    )
    assert table(found)[CITY] == {"affected": 395, "dead": 1}


async def test_everyone_sees_the_figures_of_their_own_subtree(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await flood(client, as_))["incident_id"]
    await filed(client, as_(CITY, "desk"), kind="final", incident_id=incident, observed_at=at(9), affected=999)
    path = f"/v1/incidents/{incident}/figures"

    shown = {node: table(await got(client, as_(node, "desk"), path)) for node in (CITY, TOWN, OTHER_TOWN, VILLAGE)}

    assert shown[CITY][CITY]["affected"] == 999
    assert shown[TOWN] == {code: shown[CITY][code] for code in (TOWN, VILLAGE, NEIGHBOUR)}
    assert shown[OTHER_TOWN] == {code: shown[CITY][code] for code in (OTHER_TOWN, FAR_VILLAGE)}
    assert shown[VILLAGE] == {VILLAGE: shown[CITY][VILLAGE]}
    for node in (THIRD, OTHER_CITY):
        assert (await client.get(path, headers=as_(node, "desk"))).status_code == 404
    for node in (TOWN, OTHER_TOWN, VILLAGE):
        period = await got(client, as_(node, "desk"), "/v1/figures", **PERIOD)
        assert table(period) == shown[node]
    assert table(await got(client, as_(OTHER_CITY, "desk"), "/v1/figures", **PERIOD)) == {OTHER_CITY: {}}


async def test_different_incidents_add_and_within_one_nothing_does(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await flood(client, as_))["incident_id"]
    village = as_(VILLAGE, "reporter")
    await filed(client, village, kind="followup", incident_id=incident, observed_at=at(5), affected=330)
    await filed(client, village, hazard="fire.building", kind="final", observed_at=at(5), affected=4)
    await filed(client, as_(TOWN, "desk"), kind="final", incident_id=incident, observed_at=at(9), affected=1)

    found = await got(client, as_(CITY, "desk"), "/v1/figures", **PERIOD)

    assert table(found)[VILLAGE] == {"affected": 334, "dead": 1}
    assert table(found)[CITY] == {"affected": 1 + 5 + 4, "dead": 1}
    assert (found["incidents"], found["reports"]) == (2, 6)
    assert found["from"] == "2018-08-19T04:15:00Z"
    total = next(row for row in found["rows"] if row["office"]["code"] == TOWN)["figures"][0]
    assert (total["source"], total["incidents"], total["verified"], total["value"]) == ("sum", 2, 1, 5)


async def test_a_period_is_narrowed_by_family_hazard_and_when_the_incident_was_opened(
    client: httpx.AsyncClient, as_: As
) -> None:
    await flood(client, as_)
    await filed(client, as_(VILLAGE, "reporter"), hazard="fire.building", affected=4)
    city = as_(CITY, "desk")

    async def affected(**params: str) -> float | None:
        found = await got(client, city, "/v1/figures", **{**PERIOD, **params})
        return table(found)[CITY].get("affected")

    assert await affected() == 409
    assert await affected(hazard="fire.building") == 4
    assert await affected(family="natural") == 405
    assert await affected(family="accident", hazard="flood.river") is None
    assert await affected(to=NOON.isoformat()) is None
    assert await affected(**{"from": NOON.isoformat()}) == 409


async def test_drills_and_the_real_never_add(client: httpx.AsyncClient, as_: As) -> None:
    await flood(client, as_)
    drill = (await begin(client, as_(CITY, "desk")))["id"]
    await filed(client, as_(VILLAGE, "reporter"), drill_id=drill, affected=7000)

    real = await got(client, as_(CITY, "desk"), "/v1/figures", **PERIOD)
    exercise = await got(client, as_(CITY, "desk"), "/v1/figures", **PERIOD, drill=drill)

    assert table(real)[CITY]["affected"] == 405
    assert table(exercise)[CITY] == {"affected": 7000}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"from": PERIOD["to"], "to": PERIOD["from"]}, "period_wrong"),
        ({"from": PERIOD["to"]}, "query_invalid"),
        (PERIOD | {"borders": "tomorrow"}, "query_invalid"),
        (PERIOD | {"family": "rumour"}, "query_invalid"),
        (PERIOD | {"limit": "5"}, "query_unknown"),
    ],
)
async def test_wrong_queries_are_refused(client: httpx.AsyncClient, as_: As, query: dict[str, str], code: str) -> None:
    for path in ("/v1/figures", "/v1/export/figures.csv", "/v1/export/figures.xlsx"):
        answer = await client.get(path, headers=as_(CITY, "desk"), params=query)
        assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_figures_are_for_those_who_read_reports(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/incidents/{new_id()}/figures")).status_code == 401
    for path in ("/v1/figures", "/v1/export/figures.csv", "/v1/export/figures.xlsx"):
        assert (await client.get(path, params=PERIOD)).status_code == 401


@pytest.mark.parametrize("limit", ["MOST_INCIDENTS", "MOST_REPORTS"])
async def test_too_large_a_period_is_refused_and_never_cut(
    client: httpx.AsyncClient, as_: As, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    for hazard in ("flood.river", "fire.building"):
        await filed(client, as_(VILLAGE, "reporter"), hazard=hazard, affected=1)
    city = as_(CITY, "desk")

    monkeypatch.setattr(statements, limit, 2)
    assert table(await got(client, city, "/v1/figures", **PERIOD))[CITY] == {"affected": 2}
    monkeypatch.setattr(statements, limit, 1)
    for path in ("/v1/figures", "/v1/export/figures.csv", "/v1/export/figures.xlsx"):
        answer = await client.get(path, headers=city, params=PERIOD)
        assert (answer.status_code, answer.json()["code"]) == (400, "figures_too_many")
    assert table(await got(client, city, "/v1/figures", **PERIOD, hazard="fire.building"))[CITY] == {"affected": 1}


async def test_a_village_that_moves_counts_to_its_new_town_or_under_the_borders_of_then_to_its_old_one(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    incident = (await flood(client, as_))["incident_id"]
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "admin")
    before = table(await got(client, city, path))
    then = app.state.clock.now().isoformat()
    app.state.clock.advance(timedelta(days=2))
    moved = await client.patch(f"/v1/nodes/{VILLAGE}", headers=city, json={"parent": OTHER_TOWN})
    assert moved.status_code == 200, moved.text

    today = table(await got(client, city, path, as_of=then))

    assert today[CITY] == before[CITY]
    assert (today[TOWN], today[OTHER_TOWN]) == ({"affected": 80, "dead": 0}, {"affected": 325, "dead": 1})
    assert table(await got(client, city, path, as_of=then, borders="then")) == before
    # Its old town may not see it any more, and is told so.
    old = await got(client, as_(TOWN, "desk"), path, as_of=then, borders="then")
    assert (table(old), old["left_out"]) == ({TOWN: today[TOWN], NEIGHBOUR: before[NEIGHBOUR]}, 1)
    new = await got(client, as_(OTHER_TOWN, "desk"), path, as_of=then)
    assert (table(new)[OTHER_TOWN], new["left_out"]) == (today[OTHER_TOWN], 0)


async def test_a_merged_village_is_part_of_its_successor_until_that_one_speaks_for_both(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    incident = (await flood(client, as_))["incident_id"]
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "desk")
    before = table(await got(client, city, path))
    then = app.state.clock.now().isoformat()
    app.state.clock.advance(timedelta(hours=2))
    now = app.state.clock.now()
    # Recorded at two o'clock, from that very day on: what was said in the morning was of two villages.
    await merge_offices(database, VILLAGE, NEIGHBOUR, NOON.date(), recorded_at=now)

    merged = await got(client, city, path)

    assert table(merged)[CITY] == before[CITY]
    assert VILLAGE not in table(merged)
    assert table(merged)[NEIGHBOUR] == {"affected": 400, "dead": 1}
    assert [row["figures"][0]["merged"] for row in merged["rows"] if row["office"]["code"] == NEIGHBOUR] == [[VILLAGE]]
    assert table(await got(client, city, path, as_of=then, borders="then"))[TOWN] == before[TOWN]

    app.state.clock.advance(timedelta(hours=1))
    later = (now + timedelta(minutes=30)).isoformat()
    await filed(client, as_(NEIGHBOUR, "reporter"), incident_id=incident, observed_at=later, affected=410)

    assert table(await got(client, city, path))[NEIGHBOUR] == {"affected": 410, "dead": 1}
    by_itself = table(await got(client, city, path, borders="then"))
    assert (by_itself[VILLAGE], by_itself[NEIGHBOUR]) == (before[VILLAGE], {"affected": 410, "dead": 0})


async def test_a_merged_town_comes_with_its_villages_and_its_verified_figure(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    incident = (await flood(client, as_))["incident_id"]
    await filed(client, as_(TOWN, "desk"), kind="final", incident_id=incident, observed_at=at(9), affected=390)
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "desk")
    before = table(await got(client, city, path))
    app.state.clock.advance(timedelta(days=3))
    on = app.state.clock.now().date()
    await merge_offices(database, TOWN, OTHER_TOWN, on, recorded_at=app.state.clock.now())

    after = await got(client, city, path)

    assert table(after)[CITY] == table(after)[OTHER_TOWN] == before[CITY]
    assert {row["office"]["code"]: row["office"]["parent"] for row in after["rows"]} == {
        CITY: None,
        OTHER_TOWN: CITY,
        VILLAGE: OTHER_TOWN,
        NEIGHBOUR: OTHER_TOWN,
        FAR_VILLAGE: OTHER_TOWN,
    }


async def test_a_village_that_had_left_its_town_is_not_of_that_towns_part_when_it_is_merged(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    incident = (await flood(client, as_))["incident_id"]
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "admin")
    app.state.clock.advance(timedelta(days=2))
    moved = await client.patch(f"/v1/nodes/{VILLAGE}", headers=city, json={"parent": OTHER_TOWN})
    assert moved.status_code == 200, moved.text
    app.state.clock.advance(timedelta(days=2))
    now = app.state.clock.now()
    final = await filed(
        client, city, node=TOWN, kind="final", incident_id=incident, observed_at=now.isoformat(), affected=70
    )
    assert final["incident_id"] == incident
    before = table(await got(client, city, path))
    await merge_offices(database, TOWN, OTHER_TOWN, now.date(), recorded_at=now + timedelta(hours=1))

    after = table(await got(client, city, path))

    assert before[OTHER_TOWN]["affected"] == 325
    assert after[OTHER_TOWN]["affected"] == after[CITY]["affected"] == before[CITY]["affected"] == 325 + 70


async def test_an_office_that_did_not_stand_on_a_day_is_where_it_stood_before(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    incident = (await flood(client, as_))["incident_id"]
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "admin")
    before = table(await got(client, city, path))
    closed, again = NOON.date() + timedelta(days=1), NOON.date() + timedelta(days=3)
    async with database.writing() as conn:
        await conn.execute(update(NodeSpan).where(NodeSpan.code == VILLAGE).values(until=closed))
        span = {"code": VILLAGE, "since": again, "city_id": CITY, "tier": "village", "name": "口子村"}
        await conn.execute(insert(NodeSpan), {**span, "parent_code": OTHER_TOWN})
        await conn.execute(update(Node).where(Node.code == VILLAGE).values(parent_code=OTHER_TOWN))
    app.state.clock.advance(timedelta(days=9))
    between = (NOON + timedelta(days=2)).isoformat()

    assert table(await got(client, city, path, as_of=between, borders="then")) == before
    assert table(await got(client, city, path, as_of=between))[OTHER_TOWN]["affected"] == 325


async def test_a_closed_village_stays_where_it_stood(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    incident = (await flood(client, as_))["incident_id"]
    path, city = f"/v1/incidents/{incident}/figures", as_(CITY, "admin")
    before = table(await got(client, city, path))
    app.state.clock.advance(timedelta(days=2))
    day = app.state.clock.now().date().isoformat()
    closed = await client.patch(f"/v1/nodes/{VILLAGE}", headers=city, json={"closed_on": day})
    assert closed.status_code == 200, closed.text

    assert table(await got(client, city, path)) == before
    assert table(await got(client, city, path, borders="then")) == before


async def test_three_hundred_villages_cost_as_many_statements_as_one(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, statements_of: Callable[[], list[str]]
) -> None:
    first = await filed(client, as_(VILLAGE, "reporter"), affected=1)
    path, city = f"/v1/incidents/{first['incident_id']}/figures", as_(CITY, "desk")
    await got(client, city, path)
    statements_of()
    await got(client, city, path)
    few = statements_of()
    await _three_hundred(database)
    statements_of()

    found = await got(client, city, path)
    many = statements_of()

    assert table(found)[CITY] == {"affected": 300, "direct_loss_cny": 29.9}
    assert len(found["rows"]) == 302
    assert len(many) == len(few) <= 7, many
    period = await got(client, city, "/v1/figures", **PERIOD)
    assert table(period) == table(found)
    assert len(statements_of()) <= 6


async def _three_hundred(database: Database) -> None:
    (like,) = await rows(database, Report)
    codes = [f"{TOWN[:9]}{index}" for index in range(400, 699)]
    node = {"city_id": CITY, "tier": "village", "parent_code": TOWN}
    async with database.writing() as conn:
        await conn.execute(
            insert(Node), [{**node, "code": code, "name": code, "opened_on": OPENED, "version": 1} for code in codes]
        )
        await conn.execute(insert(NodeSpan), [{**node, "code": code, "name": code, "since": OPENED} for code in codes])
        said = like._asdict() | {"figures": {"affected": 1, "direct_loss_cny": 0.1}}
        await conn.execute(
            insert(Report), [{**said, "id": new_id(), "node_code": code, "filed_by": code} for code in codes]
        )
