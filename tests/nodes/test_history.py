"""Who was whose parent, and called what, on a given day. Today is 2018-08-20."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.core.clock import ManualClock
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, OTHER_TOWN, TOWN, VILLAGE

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Patch = Callable[..., Any]


@pytest.fixture
def patch(client: httpx.AsyncClient, as_: As) -> Patch:
    async def send(node: str, **changes: Any) -> httpx.Response:
        return await client.patch(f"/v1/nodes/{node}", json=changes, headers=as_(CITY, "admin"))

    return send


@pytest.fixture
def read(client: httpx.AsyncClient, as_: As) -> Patch:
    async def send(path: str, at: str = CITY) -> Any:
        answer = await client.get(f"/v1/nodes{path}", headers=as_(at, "reporter"))
        return answer.json() if answer.status_code == 200 else answer.status_code

    return send


async def spans(read: Patch, node: str) -> list[tuple[str, str | None, str, str]]:
    items = (await read(f"/{node}/history"))["items"]
    return [(each["since"], each["until"], each["name"], each["parent"]) for each in items]


async def test_a_node_is_called_and_placed_as_it_was_on_the_day(patch: Patch, read: Patch) -> None:
    await patch(VILLAGE, name="新口子村", effective_on="2018-06-01")
    await patch(VILLAGE, parent=OTHER_TOWN, effective_on="2018-08-01")

    for day, name, parent in (
        ("2000-01-01", "口子村", TOWN),
        ("2018-05-31", "口子村", TOWN),
        ("2018-06-01", "新口子村", TOWN),
        ("2018-07-31", "新口子村", TOWN),
        ("2018-08-01", "新口子村", OTHER_TOWN),
    ):
        then = await read(f"/{VILLAGE}?on={day}")
        assert (then["name"], then["parent"]) == (name, parent), day
        tree = await read(f"/{CITY}/subtree?on={day}")
        assert {town["code"] for town in tree["children"] for each in town["children"] if each["name"] == name} == {
            parent
        }, day
        assert VILLAGE in {each["code"] for each in (await read(f"?parent={parent}&on={day}"))["items"]}, day
        assert [each["code"] for each in (await read(f"?q=口子村&on={day}"))["items"]] == [VILLAGE], day
    assert await read(f"/{VILLAGE}?on=1999-12-31") == 404
    assert await spans(read, VILLAGE) == [
        ("2000-01-01", "2018-06-01", "口子村", TOWN),
        ("2018-06-01", "2018-08-01", "新口子村", TOWN),
        ("2018-08-01", None, "新口子村", OTHER_TOWN),
    ]


async def test_a_second_change_on_the_same_day_takes_the_place_of_the_first(patch: Patch, read: Patch) -> None:
    await patch(VILLAGE, name="甲村")
    await patch(VILLAGE, name="乙村", parent=OTHER_TOWN)

    assert await spans(read, VILLAGE) == [
        ("2000-01-01", "2018-08-20", "口子村", TOWN),
        ("2018-08-20", None, "乙村", OTHER_TOWN),
    ]


@pytest.mark.parametrize("day", ["2018-05-31", "2018-08-21", "1999-01-01"])
async def test_a_change_before_the_last_one_or_in_the_future_is_refused(patch: Patch, read: Patch, day: str) -> None:
    await patch(VILLAGE, name="甲村", effective_on="2018-06-01")

    answer = await patch(VILLAGE, name="乙村", effective_on=day)

    assert (answer.status_code, answer.json()["code"]) == (422, "node_date_wrong")
    assert answer.json()["errors"][0]["pointer"] == "/effective_on"
    assert [name for _, _, name, _ in await spans(read, VILLAGE)] == ["口子村", "甲村"]


async def test_today_is_the_day_where_the_offices_are(patch: Patch, read: Patch, clock: ManualClock) -> None:
    clock.advance(timedelta(hours=12))  # 2018-08-21T00:15 in Shanghai, still the 20th in UTC

    await patch(VILLAGE, name="甲村")

    assert (await spans(read, VILLAGE))[-1][0] == "2018-08-21"


async def test_a_closed_node_leaves_the_tree_on_its_day_and_stays_in_history(
    patch: Patch, read: Patch, clock: ManualClock
) -> None:
    assert (await patch(VILLAGE, closed_on="2018-08-22")).json()["closed_on"] == "2018-08-22"

    async def is_listed(query: str = "") -> tuple[bool, bool]:
        listed = {each["code"] for each in (await read(f"?parent={TOWN}{query and '&' + query}"))["items"]}
        tree = {each["code"] for each in (await read(f"/{TOWN}/subtree{query and '?' + query}"))["children"]}
        return VILLAGE in listed, VILLAGE in tree

    assert await is_listed() == (True, True)
    clock.advance(timedelta(days=2))
    assert await is_listed() == (False, False)
    assert await is_listed("on=2018-08-21") == (True, True)
    assert await is_listed("on=2018-08-22") == (False, False)
    assert (await read(f"/{VILLAGE}"))["closed_on"] == "2018-08-22"
    assert await spans(read, VILLAGE) == [("2000-01-01", "2018-08-22", "口子村", TOWN)]
    refused = await patch(VILLAGE, name="甲村")
    assert (refused.status_code, refused.json()["code"]) == (422, "node_closed")


async def test_a_node_that_will_close_can_still_be_renamed_and_given_another_day(patch: Patch, read: Patch) -> None:
    await patch(VILLAGE, closed_on="2018-09-01")
    await patch(VILLAGE, name="甲村")
    await patch(VILLAGE, closed_on="2018-10-01")

    assert await spans(read, VILLAGE) == [
        ("2000-01-01", "2018-08-20", "口子村", TOWN),
        ("2018-08-20", "2018-10-01", "甲村", TOWN),
    ]


async def test_a_closing_day_follows_the_last_change(patch: Patch) -> None:
    await patch(VILLAGE, name="甲村", effective_on="2018-06-01")

    assert (await patch(VILLAGE, closed_on="2018-06-01")).json()["code"] == "node_date_wrong"
    assert (await patch(VILLAGE, closed_on="2018-06-02")).status_code == 200


async def test_a_town_closes_only_when_nothing_is_under_it_nor_was_after_its_day(patch: Patch) -> None:
    assert (await patch(OTHER_TOWN, closed_on="2018-08-20")).json()["code"] == "node_has_children"
    await patch(FAR_VILLAGE, parent=TOWN, effective_on="2018-08-10")

    assert (await patch(OTHER_TOWN, closed_on="2018-08-09")).json()["code"] == "node_has_children"
    assert (await patch(OTHER_TOWN, closed_on="2018-08-10")).status_code == 200


async def test_nothing_comes_under_a_town_that_will_close_and_nothing_there_outlives_it(
    patch: Patch, client: httpx.AsyncClient, as_: As
) -> None:
    await patch(FAR_VILLAGE, closed_on="2018-09-01")
    assert (await patch(OTHER_TOWN, closed_on="2018-09-01")).status_code == 200

    assert (await patch(VILLAGE, parent=OTHER_TOWN)).json()["code"] == "node_closing"
    new = {"code": "n-1", "name": "村", "tier": "village", "parent": OTHER_TOWN}
    assert (await client.post("/v1/nodes", json=new, headers=as_(CITY, "admin"))).json()["code"] == "node_closing"
    assert (await patch(FAR_VILLAGE, closed_on="2018-09-02")).json()["code"] == "node_date_wrong"
    assert (await patch(FAR_VILLAGE, closed_on="2018-08-31")).status_code == 200


async def test_a_node_cannot_stand_under_one_that_was_not_there_yet(
    patch: Patch, client: httpx.AsyncClient, as_: As
) -> None:
    new = {"code": "t-1", "name": "镇", "tier": "town", "parent": CITY, "effective_on": "2018-08-01"}
    assert (await client.post("/v1/nodes", json=new, headers=as_(CITY, "admin"))).status_code == 201

    refused = await patch(VILLAGE, parent="t-1", effective_on="2018-07-31")

    assert refused.json()["code"] == "node_date_wrong"
    assert (await patch(VILLAGE, parent="t-1", effective_on="2018-08-01")).status_code == 200


async def test_a_town_sees_what_is_its_own_now_also_in_the_past(patch: Patch, read: Patch) -> None:
    await patch(VILLAGE, parent=OTHER_TOWN, effective_on="2018-08-01")

    assert await read(f"/{VILLAGE}?on=2018-07-01", TOWN) == 404
    then = await read(f"/{TOWN}/subtree?on=2018-07-01", TOWN)
    assert VILLAGE not in {each["code"] for each in then["children"]}
    assert NEIGHBOUR in {each["code"] for each in then["children"]}
    assert (await read(f"/{VILLAGE}?on=2018-07-01", OTHER_TOWN))["parent"] == TOWN


@pytest.mark.parametrize(
    "day", [1534723200, "1534723200", "2018-08-20T00:00:00", 0, True, "20180820", "２０１８-08-20"]
)
async def test_a_day_is_written_as_a_day_and_nothing_else(
    patch: Patch, client: httpx.AsyncClient, as_: As, day: object
) -> None:
    for key in ("closed_on", "effective_on"):
        refused = await patch(VILLAGE, **{"name": "甲村", key: day})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
        assert refused.json()["errors"][0]["pointer"] == f"/{key}"
    asked = await client.get("/v1/nodes", params={"on": str(day)}, headers=as_(CITY, "reporter"))
    assert (asked.status_code, asked.json()["code"]) == (400, "query_invalid")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
async def test_the_first_and_the_last_day_of_all_are_days_like_others(
    patch: Patch, client: httpx.AsyncClient, as_: As, day: str
) -> None:
    assert (await patch(VILLAGE, name="甲村", effective_on=day)).json()["code"] == "node_date_wrong"
    assert (await client.get(f"/v1/nodes?on={day}", headers=as_(CITY, "reporter"))).status_code == 200
    closed = await patch(FAR_VILLAGE, closed_on=day)
    assert closed.status_code == (200 if day > "2018-08-20" else 422)
