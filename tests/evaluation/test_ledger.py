"""GET /v1/ledger/warnings: of all urgent reports of a period, how fast each was warned of."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from rich.console import Console
from sqlalchemy import insert

from app.alerts.models import AlertSighting
from app.core.clock import ManualClock
from app.core.database import Database
from app.evaluation import command
from app.evaluation import ledger as ledger_of_warning
from tests.alerts.acts import act, got, pass_time
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    NOON,
    OTHER_CITY,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.intake.test_statements import statements

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

PERIOD = {"from": NOON.isoformat(), "to": (NOON + timedelta(days=1)).isoformat()}


async def send(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=report(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def ledger(client: httpx.AsyncClient, headers: dict[str, str], **params: Any) -> dict[str, Any]:
    return await got(client, headers, "/v1/ledger/warnings", **(PERIOD | params))


def figure(found: dict[str, Any], name: str) -> tuple[int, int, float | None, float | None, float | None]:
    one = next(one for one in found["figures"] if one["figure"] == name)
    return one["count"], one["missing"], one["p50_s"], one["p90_s"], one["worst_s"]


async def test_one_report_from_received_to_acknowledged(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    city, town = as_(CITY, "desk"), as_(TOWN, "desk")
    stored = await send(client, as_(VILLAGE, "reporter"), **EXTREME)
    await send(client, as_(VILLAGE, "reporter"), hazard="fire.building")

    clock.advance(timedelta(seconds=3))
    await client.get("/v1/alerts", headers=city)
    clock.advance(timedelta(seconds=4))
    await client.get("/v1/alerts/changes", headers=town)
    clock.advance(timedelta(seconds=13))
    await client.get(f"/v1/reports/{stored['id']}", headers=town)
    clock.advance(timedelta(seconds=10))
    assert (await act(client, city, stored["alert_id"], "acknowledge")).json()["applied"]
    await app.state.sightings.flush(app.state.database)
    found = await ledger(client, city)

    assert (found["reports"], found["alerted"], found["drill_id"]) == (1, 1, None)
    assert found["rows"] == [
        {
            "report_id": stored["id"],
            "node": VILLAGE,
            "level": "red",
            "received_at": stored["received_at"],
            "alert_id": stored["alert_id"],
            "seconds": {
                "raised": 0.0,
                "carried.village": None,
                "carried.town": 7.0,
                "carried.city": 3.0,
                "opened.town": 20.0,
                "opened.city": 30.0,
                "acknowledged.any": 30.0,
                "acknowledged.village": None,
                "acknowledged.town": None,
                "acknowledged.city": 30.0,
            },
        }
    ]
    assert figure(found, "carried.city") == (1, 0, 3.0, 3.0, 3.0)
    assert figure(found, "carried.village") == (1, 1, None, None, None)
    assert found["from"] == PERIOD["from"].replace("+00:00", "Z")


async def test_an_owned_alert_takes_one_more_report_at_once_and_a_worse_one_anew(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    village, town = as_(VILLAGE, "reporter"), as_(TOWN, "desk")
    first = await send(client, village, **URGENT)
    clock.advance(timedelta(seconds=60))
    await act(client, town, first["alert_id"], "acknowledge")
    clock.advance(timedelta(seconds=60))
    more = await send(client, village, kind="followup", **URGENT)
    clock.advance(timedelta(seconds=60))
    worse = await send(client, village, kind="followup", **EXTREME)
    clock.advance(timedelta(seconds=5))
    await act(client, town, first["alert_id"], "acknowledge")

    assert first["alert_id"] == more["alert_id"] == worse["alert_id"]
    rows = {row["report_id"]: row["seconds"] for row in (await ledger(client, town))["rows"]}
    assert {
        key: (rows[one["id"]]["raised"], rows[one["id"]]["acknowledged.any"], rows[one["id"]]["acknowledged.town"])
        for key, one in (("first", first), ("more", more), ("worse", worse))
    } == {"first": (0.0, 60.0, 60.0), "more": (0.0, 0.0, 0.0), "worse": (0.0, 5.0, 5.0)}


async def test_a_poll_counts_only_when_it_carried_the_report(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    city = as_(CITY, "desk")
    first = await send(client, as_(VILLAGE, "reporter"), **EXTREME)
    clock.advance(timedelta(seconds=2))
    await client.get("/v1/alerts", headers=city)
    second = await send(client, as_(VILLAGE, "reporter"), kind="followup", **EXTREME)
    await app.state.sightings.flush(app.state.database)
    rows = (await ledger(client, city))["rows"]
    assert [row["seconds"]["carried.city"] for row in rows] == [2.0, None]

    clock.advance(timedelta(seconds=9))
    await client.get("/v1/alerts", headers=city)
    await app.state.sightings.flush(app.state.database)

    rows = (await ledger(client, city))["rows"]
    assert {row["report_id"]: row["seconds"]["carried.city"] for row in rows} == {first["id"]: 2.0, second["id"]: 9.0}


async def test_only_urgent_reports_of_the_period_and_of_the_callers_subtree_are_counted(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    for node in (VILLAGE, FAR_VILLAGE, OTHER_CITY_VILLAGE):
        await send(client, as_(node, "reporter"), **EXTREME)
    await send(client, as_(NEIGHBOUR, "reporter"))
    clock.advance(timedelta(hours=1))
    late = await send(client, as_(TOWN, "desk"), hazard="fire.building", **EXTREME)

    async def nodes(who: str, **params: Any) -> list[str]:
        return sorted(row["node"] for row in (await ledger(client, as_(who, "desk"), **params))["rows"])

    assert await nodes(CITY) == sorted([VILLAGE, FAR_VILLAGE, TOWN])
    assert await nodes(TOWN) == sorted([VILLAGE, TOWN])
    assert await nodes(OTHER_TOWN) == [FAR_VILLAGE]
    assert await nodes(VILLAGE) == [VILLAGE]
    assert await nodes(OTHER_CITY) == [OTHER_CITY_VILLAGE]
    assert await nodes(CITY, **{"from": late["received_at"]}) == [TOWN]
    assert await nodes(CITY, to=late["received_at"]) == sorted([VILLAGE, FAR_VILLAGE])
    # The office that filed it has nothing to open; a town's report concerns no village.
    (row,) = (await ledger(client, as_(TOWN, "desk"), **{"from": late["received_at"]}))["rows"]
    assert set(row["seconds"]) == {
        "raised",
        "carried.town",
        "carried.city",
        "opened.city",
        "acknowledged.any",
        "acknowledged.town",
        "acknowledged.city",
    }


async def test_the_rows_behind_a_figure_are_exactly_those_and_the_worst_come_first(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    city, hazards = as_(CITY, "desk"), ("flood.river", "fire.building", "flood.waterlogging", "fire.forest")
    sent = [await send(client, as_(VILLAGE, "reporter"), hazard=hazard, **EXTREME) for hazard in hazards]
    await send(client, as_(CITY, "desk"), **EXTREME)
    for minutes, stored in ((1, sent[1]), (2, sent[3]), (1, sent[0])):
        await pass_time(app, minutes)
        await client.get(f"/v1/reports/{stored['id']}", headers=as_(TOWN, "desk"))

    async def pages(limit: int, **params: str) -> list[tuple[str, float | None]]:
        found, cursor = [], None
        while True:
            given = PERIOD | params | {"figure": "opened.town"} | ({"cursor": cursor} if cursor else {})
            page = await got(client, city, "/v1/ledger/warnings/rows", limit=limit, **given)
            assert len(page["items"]) <= limit
            found += [(item["report_id"], item["seconds"]["opened.town"]) for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    worst = [(sent[2]["id"], None), (sent[0]["id"], 240.0), (sent[3]["id"], 180.0), (sent[1]["id"], 60.0)]
    for limit in (1, 2, 3, 4, 500):
        assert await pages(limit, order="worst") == worst
        assert sorted(await pages(limit)) == sorted(worst)
    whole = await ledger(client, city)
    assert figure(whole, "opened.town") == (4, 1, 180.0, 240.0, 240.0)
    assert figure(whole, "raised")[0] == 5
    paged = await ledger(client, city, limit=3)
    rest = await ledger(client, city, limit=3, cursor=paged["next"])
    assert paged["rows"] + rest["rows"] == whole["rows"]
    assert paged["figures"] == rest["figures"] == whole["figures"]


async def test_a_wrong_period_figure_or_cursor_is_refused(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(CITY, "desk")
    path, rows = "/v1/ledger/warnings", "/v1/ledger/warnings/rows"

    async def code(path: str, **params: str) -> tuple[int, str]:
        answer = await client.get(path, headers=headers, params=params)
        return answer.status_code, answer.json()["code"]

    assert await code(path) == (400, "query_invalid")
    assert await code(path, **PERIOD | {"to": PERIOD["from"]}) == (400, "period_wrong")
    assert await code(path, **PERIOD | {"to": "2018-08-21"}) == (400, "query_invalid")
    assert await code(path, **PERIOD, until=PERIOD["to"]) == (400, "query_unknown")
    assert await code(rows, **PERIOD) == (400, "query_invalid")
    assert await code(rows, **PERIOD, figure="opened.village") == (400, "query_invalid")
    for cursor in ("x", "WyJsZWRnZXIub3BlbmVkLnRvd24iLCJuZXZlcnMiLCIwMCJd"):
        assert await code(rows, **PERIOD, figure="opened.town", order="worst", cursor=cursor) == (400, "cursor_invalid")
    assert (await client.get(path, params=PERIOD)).status_code == 401


async def test_a_night_of_reports_costs_as_many_statements_as_one_report_and_loads_no_text(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    city = as_(CITY, "desk")
    await send(client, as_(VILLAGE, "reporter"), **EXTREME)
    await ledger(client, city)
    with statements(database) as few:
        await ledger(client, city)
    hazards = ("flood.river", "fire.building", "flood.waterlogging")
    for node in (VILLAGE, NEIGHBOUR, FAR_VILLAGE):
        items = [report(hazard=hazards[number % 3], **EXTREME) for number in range(100)]
        await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(node, "reporter"))
    with statements(database) as many:
        found = await ledger(client, city)

    assert found["reports"] == found["alerted"] == 301
    assert len(few) == len(many) == 4, many
    assert not [statement for statement in many if "summary" in statement or "text" in statement]


async def test_the_command_prints_what_the_api_answers(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = await send(client, as_(VILLAGE, "reporter"), **EXTREME)
    async with database.writing() as conn:
        seen: dict[str, Any] = {"alert_id": UUID(stored["alert_id"]), "version": 1, "tier": "city"}
        seen["carried_at"] = NOON + timedelta(seconds=8)
        await conn.execute(insert(AlertSighting), [{"city_id": CITY, **seen}])
    period = ledger_of_warning.period(command.moment("2018-08-20"), command.moment("2018-08-20", ends=True), None)

    found = await command.warnings(database, city=CITY, period=period)
    command.show(found, Console(width=100))

    said = capsys.readouterr().out
    assert "橙色、红色报告 1 份，已触发警报 1 份" in said
    assert [cell.strip() for cell in said.split("送达市")[1].splitlines()[0].split("│")[1:-1]] == [
        "1",
        "0",
        "8.0",
        "8.0",
        "8.0",
    ]
    over_http = await ledger_of_day(client, as_(CITY, "desk"))
    assert json.loads(found.model_dump_json(by_alias=True)) == over_http
    with pytest.raises(ValueError, match="2 cities"):
        await command.warnings(database, city=None, period=period)
    with pytest.raises(ValueError, match="no city 1"):
        await command.warnings(database, city="1", period=period)


async def ledger_of_day(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    return await ledger(client, headers, **{"from": "2018-08-20T00:00:00+08:00", "to": "2018-08-21T00:00:00+08:00"})
