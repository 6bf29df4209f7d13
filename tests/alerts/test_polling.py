import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.feed import service as feed
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NOON,
    OTHER_CITY,
    OTHER_TOWN,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def raise_alert(client: httpx.AsyncClient, as_: As, village: str = VILLAGE, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=report(**(URGENT | changes)), headers=as_(village, "reporter"))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_list_and_its_cursor_are_of_one_moment(client: httpx.AsyncClient, as_: As) -> None:
    await raise_alert(client, as_)

    listed = (await client.get("/v1/alerts", headers=as_(CITY, "desk"))).json()
    nothing = await client.get("/v1/alerts/changes", params={"since": listed["cursor"]}, headers=as_(CITY, "desk"))
    await raise_alert(client, as_, hazard="fire.building")
    changes = await client.get("/v1/alerts/changes", params={"since": listed["cursor"]}, headers=as_(CITY, "desk"))

    assert len(listed["items"]) == 1
    assert nothing.json() == {"results": [], "cursor": listed["cursor"], "pending": 0}
    assert [(change["type"], change["alert"]["hazard"]) for change in changes.json()["results"]] == [
        ("alert.raised", "fire.building")
    ]


async def test_every_step_of_an_alert_is_an_event_in_order(client: httpx.AsyncClient, as_: As) -> None:
    city = as_(CITY, "desk")
    start = (await client.get("/v1/alerts", headers=city)).json()["cursor"]

    alert = (await raise_alert(client, as_, severity="Severe"))["alert_id"]
    await raise_alert(client, as_, kind="followup")
    await client.post(f"/v1/alerts/{alert}/acknowledge", headers=city)
    await raise_alert(client, as_, kind="followup", **EXTREME)
    await client.post(f"/v1/alerts/{alert}/close", json={"reason": "【演练】水退"}, headers=city)

    changes = (await client.get("/v1/alerts/changes", params={"since": start}, headers=city)).json()["results"]
    assert [(change["type"], change["alert"]["version"], change["alert"]["state"]) for change in changes] == [
        ("alert.raised", 1, "raised"),
        ("alert.updated", 2, "raised"),
        ("alert.acknowledged", 3, "acknowledged"),
        ("alert.rearmed", 4, "raised"),
        ("alert.closed", 5, "closed"),
    ]
    assert changes[3]["alert"]["reasons"][0]["rule"] == "alert.rearmed"
    assert changes[3]["alert"]["level"] == "red"
    assert changes[4]["alert"]["close_reason"] == "【演练】水退"


async def test_following_in_small_pages_gives_every_event_once(client: httpx.AsyncClient, as_: As) -> None:
    city = as_(CITY, "desk")
    start = (await client.get("/v1/alerts", headers=city)).json()["cursor"]
    hazards = ("flood.river", "fire.building")
    for number in range(6):
        await raise_alert(client, as_, hazard=hazards[number % 2])

    seen, pendings, cursor = [], [], start
    while True:
        page = (await client.get("/v1/alerts/changes", params={"since": cursor, "limit": 2}, headers=city)).json()
        if not page["results"]:
            break
        seen += [(change["alert"]["id"], change["alert"]["version"]) for change in page["results"]]
        pendings.append(page["pending"])
        cursor = page["cursor"]

    assert len(seen) == len(set(seen)) == 6
    assert pendings == [4, 2, 0]


async def test_waiting_ends_when_something_happens(client: httpx.AsyncClient, as_: As) -> None:
    city = as_(CITY, "desk")
    start = (await client.get("/v1/alerts", headers=city)).json()["cursor"]

    waiting = asyncio.create_task(
        client.get("/v1/alerts/changes", params={"since": start, "wait": 30}, headers=city, timeout=40)
    )
    await asyncio.sleep(0)
    await raise_alert(client, as_)

    assert [change["type"] for change in (await waiting).json()["results"]] == ["alert.raised"]


async def test_a_cursor_moves_on_when_what_happened_is_outside_the_scope(client: httpx.AsyncClient, as_: As) -> None:
    other_town = as_(OTHER_TOWN, "desk")
    start = (await client.get("/v1/alerts", headers=other_town)).json()["cursor"]
    await raise_alert(client, as_)

    page = (await client.get("/v1/alerts/changes", params={"since": start}, headers=other_town)).json()

    assert page["results"] == []
    assert page["cursor"] != start


async def test_an_unchanged_list_is_304_and_a_changed_one_is_not(
    client: httpx.AsyncClient, as_: As, app: FastAPI
) -> None:
    await app.state.heads.refresh()
    city = as_(CITY, "desk")
    await raise_alert(client, as_)
    first = await client.get("/v1/alerts", headers=city)
    tag = {"If-None-Match": first.headers["etag"]}

    same = await client.get("/v1/alerts", headers=city | tag)
    other_filter = await client.get("/v1/alerts?level=red", headers=city | tag)
    other_caller = await client.get("/v1/alerts", headers=as_(TOWN, "desk") | tag)
    await raise_alert(client, as_, hazard="fire.building")
    changed = await client.get("/v1/alerts", headers=city | tag)

    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["cache-control"] == "private, no-cache"
    assert [answer.status_code for answer in (other_filter, other_caller, changed)] == [200, 200, 200]
    assert len(changed.json()["items"]) == 2


async def test_the_list_is_filtered_and_paged(client: httpx.AsyncClient, as_: As, clock: ManualClock) -> None:
    city = as_(CITY, "desk")
    for hazard in ("flood.river", "fire.building", "flood.waterlogging"):
        await raise_alert(client, as_, hazard=hazard)
        clock.advance(timedelta(seconds=1))

    first = (await client.get("/v1/alerts?limit=2", headers=city)).json()
    second = (await client.get("/v1/alerts", params={"limit": 2, "cursor": first["next"]}, headers=city)).json()
    await client.post(f"/v1/alerts/{first['items'][0]['id']}/close", json={"reason": "x"}, headers=city)
    closed = (await client.get("/v1/alerts?state=closed", headers=city)).json()
    active = (await client.get("/v1/alerts", headers=city)).json()

    assert [len(first["items"]), len(second["items"]), second["next"]] == [2, 1, None]
    assert len({item["id"] for item in first["items"] + second["items"]}) == 3
    assert [item["id"] for item in closed["items"]] == [first["items"][0]["id"]]
    assert len(active["items"]) == 2


@pytest.mark.parametrize("path", ["/v1/alerts/changes", "/v1/alerts/stream"])
async def test_a_cursor_older_than_what_is_kept_is_gone(
    client: httpx.AsyncClient, as_: As, database: Database, path: str
) -> None:
    city = as_(CITY, "desk")
    await raise_alert(client, as_)
    old = (await client.get("/v1/alerts", headers=city)).json()["cursor"]
    await raise_alert(client, as_)
    async with database.writing() as conn:
        assert await feed.prune(conn, city_id=CITY, before=NOON + timedelta(hours=1)) > 0
    await raise_alert(client, as_)

    for since in ({"since": old}, {}):
        answer = await client.get(path, params=since, headers=city)
        assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
    fresh = (await client.get("/v1/alerts", headers=city)).json()["cursor"]
    assert (await client.get("/v1/alerts/changes", params={"since": fresh}, headers=city)).status_code == 200


async def test_after_a_restore_old_cursors_are_gone(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    city = as_(CITY, "desk")
    await raise_alert(client, as_)
    old = (await client.get("/v1/alerts", headers=city)).json()["cursor"]
    async with database.writing() as conn:
        await feed.new_epoch(conn)
    await raise_alert(client, as_)

    assert (await client.get("/v1/alerts/changes", params={"since": old}, headers=city)).status_code == 410


@pytest.mark.parametrize("cursor", ["x", "W10", "WyJmZWVkIiwieCIsMV0", "WyJmZWVkIiwiMDAiLC0xXQ", "é", "A" * 600])
async def test_a_cursor_that_was_never_given_is_refused(client: httpx.AsyncClient, as_: As, cursor: str) -> None:
    answer = await client.get("/v1/alerts/changes", params={"since": cursor}, headers=as_(CITY, "desk"))

    assert answer.status_code == 400
    assert answer.json()["code"] in ("cursor_invalid", "query_invalid")


async def test_nobody_sees_another_offices_alerts(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_, FAR_VILLAGE))["alert_id"]

    for node in (TOWN, VILLAGE, OTHER_CITY):
        headers = as_(node, "desk")
        assert (await client.get("/v1/alerts", headers=headers)).json()["items"] == []
        assert (await client.get("/v1/alerts/changes", headers=headers)).json()["results"] == []
        assert (await client.get(f"/v1/alerts/{alert}", headers=headers)).status_code == 404
        assert (await client.post(f"/v1/alerts/{alert}/acknowledge", headers=headers)).status_code == 404
    for node in (OTHER_TOWN, FAR_VILLAGE, CITY):
        assert len((await client.get("/v1/alerts", headers=as_(node, "desk"))).json()["items"]) == 1


async def test_a_moved_village_takes_its_alerts_to_the_new_town(client: httpx.AsyncClient, as_: As) -> None:
    old, new = as_(TOWN, "desk"), as_(OTHER_TOWN, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]
    cursors = {
        name: (await client.get("/v1/alerts", headers=headers)).json()["cursor"]
        for name, headers in (("old", old), ("new", new))
    }

    moved = await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))

    assert moved.status_code == 200, moved.text
    for name, headers, kind in (("old", old, "alert.left_scope"), ("new", new, "alert.entered_scope")):
        page = await client.get("/v1/alerts/changes", params={"since": cursors[name]}, headers=headers)
        assert [(change["type"], change["alert"]["id"]) for change in page.json()["results"]] == [(kind, alert)]
    assert (await client.get(f"/v1/alerts/{alert}", headers=old)).status_code == 404
    assert (await client.get(f"/v1/alerts/{alert}", headers=new)).status_code == 200


async def test_a_typo_in_the_query_does_not_widen_the_answer(client: httpx.AsyncClient, as_: As) -> None:
    answer = await client.get("/v1/alerts?levle=red", headers=as_(CITY, "desk"))

    assert (answer.status_code, answer.json()["code"]) == (400, "query_unknown")
    assert "levle" in answer.json()["detail"]
