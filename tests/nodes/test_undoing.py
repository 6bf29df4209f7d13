"""A closing that lies ahead is listed, corrected and withdrawn; a mistaken one is undone. Today is 2018-08-20."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, NEIGHBOUR, NOON, OTHER_CITY, OTHER_TOWN, TOWN, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

TODAY, TOMORROW, SOON, LATER = "2018-08-20", "2018-08-21", "2018-09-20", "2018-10-01"
YESTERDAY, LAST_WEEK = "2018-08-19", "2018-08-13"
REASON = {"reason": "【演练】误撤销"}


@pytest.fixture
def admin(as_: As) -> dict[str, str]:
    return as_(CITY, "admin")


async def patch(client: httpx.AsyncClient, headers: dict[str, str], node: str, **changes: Any) -> httpx.Response:
    return await client.patch(f"/v1/nodes/{node}", json=changes, headers=headers)


async def reopen(client: httpx.AsyncClient, headers: dict[str, str], node: str, **body: Any) -> httpx.Response:
    return await client.post(f"/v1/nodes/{node}/reopen", json=REASON | body, headers=headers)


async def changes(client: httpx.AsyncClient, headers: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/nodes/changes", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_what_lies_ahead_is_listed_corrected_and_withdrawn(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=SOON)
    planned = await changes(client, admin, ahead=True)

    corrected = await patch(client, admin, VILLAGE, closed_on=LATER)
    then = await changes(client, as_(TOWN, "admin"), ahead=True)
    withdrawn = await patch(client, admin, VILLAGE, closed_on=None)

    assert [(one["node"], one["kind"], one["on"], one["ahead"]) for one in planned] == [(VILLAGE, "closed", SOON, True)]
    assert corrected.json()["closed_on"] == LATER
    assert [one["on"] for one in then] == [LATER]
    assert (withdrawn.status_code, withdrawn.json()["closed_on"]) == (200, None)
    assert await changes(client, admin, ahead=True) == []
    # What was recorded stays recorded.
    assert [(one["kind"], one["on"]) for one in await changes(client, admin)] == [
        ("withdrawn", LATER),
        ("closed", LATER),
        ("closed", SOON),
    ]
    history = (await client.get(f"/v1/nodes/{VILLAGE}/history", headers=admin)).json()["items"]
    assert [(span["since"], span["until"]) for span in history] == [("2000-01-01", None)]


async def test_planned_again_for_the_same_day_it_is_listed_once(
    client: httpx.AsyncClient, admin: dict[str, str], app: FastAPI
) -> None:
    for closed_on in (SOON, None, SOON):
        await patch(client, admin, VILLAGE, closed_on=closed_on)
        app.state.clock.advance(timedelta(minutes=1))

    assert [one["on"] for one in await changes(client, admin, ahead=True)] == [SOON]
    assert [one["kind"] for one in await changes(client, admin, ahead=False)] == ["withdrawn", "closed"]


async def test_the_changes_come_in_pages_and_of_ones_own_subtree_alone(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    for name in ("甲村", "乙村", "丙村"):
        await patch(client, admin, VILLAGE, name=name)
    first = (await client.get("/v1/nodes/changes?limit=2", headers=admin)).json()
    rest = (await client.get("/v1/nodes/changes", params={"cursor": first["next"]}, headers=admin)).json()

    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    for node in (OTHER_TOWN, NEIGHBOUR, OTHER_CITY):
        assert await changes(client, as_(node, "reporter")) == []


async def test_an_office_that_closes_next_month_works_until_then(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=SOON)

    stored = await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))
    renamed = await patch(client, admin, VILLAGE, name="甲村")
    merged = await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": NEIGHBOUR}, headers=admin)

    assert (stored.status_code, renamed.status_code) == (201, 200)
    assert merged.status_code == 200, merged.text
    node = (await client.get(f"/v1/nodes/{VILLAGE}", headers=admin)).json()
    assert (node["closed_on"], node["merged_into"]) == (TODAY, NEIGHBOUR)


async def test_what_others_merge_into_may_close_next_month(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    await patch(client, admin, NEIGHBOUR, closed_on=SOON)

    merged = await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": NEIGHBOUR}, headers=admin)

    assert merged.status_code == 200, merged.text


async def test_nothing_comes_under_a_town_that_will_close_and_it_is_told_which_day(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    for village in (VILLAGE, NEIGHBOUR, "370783108203", "370783108204"):
        await patch(client, admin, village, closed_on=SOON)
    assert (await patch(client, admin, TOWN, closed_on=SOON)).status_code == 200

    new = {"code": "370783108299", "name": "新村", "tier": "village", "parent": TOWN}
    refused = await client.post("/v1/nodes", json=new, headers=admin)
    kept = await patch(client, admin, VILLAGE, closed_on=None)
    await patch(client, admin, TOWN, closed_on=None)
    made = await client.post("/v1/nodes", json=new, headers=admin)

    assert (refused.status_code, refused.json()["code"]) == (409, "node_closing")
    assert SOON in refused.json()["detail"]
    # Its town would be closed above it.
    assert (kept.status_code, kept.json()["code"]) == (409, "node_closing")
    assert made.status_code == 201


async def test_a_mistaken_closing_is_undone_as_if_it_had_not_been_and_says_why(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=LAST_WEEK)
    gone = await client.get("/v1/me", headers=as_(VILLAGE, "reporter"))

    undone = await reopen(client, admin, VILLAGE)
    again = await reopen(client, admin, VILLAGE)

    assert gone.status_code == 401
    assert (undone.status_code, undone.json()["closed_on"]) == (200, None)
    assert again.json() == undone.json()
    assert (await client.get("/v1/me", headers=as_(VILLAGE, "reporter"))).status_code == 200
    assert (await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))).status_code == 201
    last = (await changes(client, admin))[0]
    assert (last["kind"], last["on"], last["reason"]) == ("reopened", LAST_WEEK, "【演练】误撤销")
    for day in (LAST_WEEK, YESTERDAY, TODAY):
        tree = (await client.get("/v1/nodes", params={"parent": TOWN, "on": day}, headers=admin)).json()["items"]
        assert VILLAGE in [node["code"] for node in tree], day


async def test_from_a_later_day_the_gap_stays_in_the_history(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    await patch(client, admin, VILLAGE, closed_on=LAST_WEEK)

    too_early = await reopen(client, admin, VILLAGE, effective_on="2018-08-12")
    ahead = await reopen(client, admin, VILLAGE, effective_on=TOMORROW)
    undone = await reopen(client, admin, VILLAGE, effective_on=YESTERDAY)

    assert {(one.status_code, one.json()["code"]) for one in (too_early, ahead)} == {(422, "node_date_wrong")}
    assert undone.status_code == 200
    history = (await client.get(f"/v1/nodes/{VILLAGE}/history", headers=admin)).json()["items"]
    assert [(span["since"], span["until"]) for span in history] == [("2000-01-01", LAST_WEEK), (YESTERDAY, None)]


async def test_reopening_withdraws_what_lies_ahead_with_the_reason(
    client: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=SOON)

    undone = await reopen(client, admin, VILLAGE)

    assert undone.json()["closed_on"] is None
    last = (await changes(client, admin))[0]
    assert (last["kind"], last["on"], last["reason"]) == ("withdrawn", SOON, "【演练】误撤销")


async def test_what_was_merged_is_split_not_reopened(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": NEIGHBOUR}, headers=admin)

    refused = await reopen(client, admin, VILLAGE)

    assert (refused.status_code, refused.json()["code"]) == (409, "node_not_closed")
    assert NEIGHBOUR in refused.json()["detail"]


async def test_under_a_closed_town_nothing_is_reopened(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    for village in (VILLAGE, NEIGHBOUR, "370783108203", "370783108204"):
        await patch(client, admin, village, closed_on=LAST_WEEK)
    await patch(client, admin, TOWN, closed_on=LAST_WEEK)

    refused = await reopen(client, admin, VILLAGE)
    town = await reopen(client, admin, TOWN)
    after = await reopen(client, admin, VILLAGE)

    assert (refused.status_code, refused.json()["code"]) == (422, "node_closed")
    assert (town.status_code, after.status_code) == (200, 200)


async def test_it_stands_again_under_what_its_town_is_part_of_now(
    client: httpx.AsyncClient, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=LAST_WEEK)
    merged = await client.post(f"/v1/nodes/{TOWN}/merge", json={"into": OTHER_TOWN}, headers=admin)
    assert merged.status_code == 200, merged.text

    undone = await reopen(client, admin, VILLAGE)

    assert (undone.status_code, undone.json()["parent"]) == (200, OTHER_TOWN)


async def test_its_alerts_and_reports_are_its_own_again(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    stored = await raise_alert(client, as_, VILLAGE)
    await patch(client, admin, VILLAGE, closed_on=TODAY)

    await reopen(client, admin, VILLAGE)

    seen = await client.get(f"/v1/alerts/{stored['alert_id']}", headers=as_(VILLAGE, "desk"))
    taken = await client.post(f"/v1/alerts/{stored['alert_id']}/acknowledge", headers=as_(VILLAGE, "desk"))
    assert (seen.status_code, taken.json()["applied"]) == (200, True)


async def test_what_was_written_while_it_was_closed_by_mistake_is_a_report(
    client: httpx.AsyncClient, as_: As, admin: dict[str, str]
) -> None:
    await patch(client, admin, VILLAGE, closed_on=LAST_WEEK)
    written = report(submitted_at=(NOON - timedelta(days=2)).isoformat(), observed_at=None)
    refused = await client.post("/v1/reports", json=written, headers=as_(VILLAGE, "reporter"))

    await reopen(client, admin, VILLAGE)
    stored = await client.post("/v1/reports", json=written, headers=as_(VILLAGE, "reporter"))

    assert refused.status_code in (202, 403)
    assert stored.status_code in (200, 201, 202), stored.text
