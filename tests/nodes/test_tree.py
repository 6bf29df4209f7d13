"""The tree over HTTP: who sees what, and what may be opened, renamed, moved and closed."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncConnection

from app.nodes.service import TreeChange
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    NOON,
    OTHER_CITY,
    OTHER_CITY_TOWN,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    THIRD,
    TOWN,
    TREE,
    VILLAGE,
)

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

TODAY, TOMORROW = "2018-08-20", "2018-08-21"
VILLAGES = [VILLAGE, NEIGHBOUR, THIRD, FOURTH]
NEW = {"code": "370783108299", "name": "新村（演练）", "tier": "village", "parent": TOWN}


@pytest.fixture
def told(app: FastAPI) -> list[TreeChange]:
    heard: list[TreeChange] = []

    async def listener(conn: AsyncConnection, changes: Sequence[TreeChange], now: datetime) -> None:
        assert now == NOON
        heard.extend(changes)

    app.state.tree_listeners.append(listener)
    return heard


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(
    ("at", "sees", "names"),
    [
        (CITY, {CITY, TOWN, OTHER_TOWN, FAR_VILLAGE, *VILLAGES}, set()),
        (TOWN, {TOWN, *VILLAGES}, {CITY}),
        (VILLAGE, {VILLAGE}, {TOWN, CITY}),
        (OTHER_CITY, {OTHER_CITY, OTHER_CITY_TOWN, OTHER_CITY_VILLAGE}, set()),
    ],
)
async def test_a_caller_lists_its_subtree_and_may_name_what_is_above_it(
    client: httpx.AsyncClient, as_: As, at: str, sees: set[str], names: set[str]
) -> None:
    headers = as_(at, "reporter")

    listed = (await client.get("/v1/nodes", headers=headers)).json()["items"]

    assert {item["code"] for item in listed} == sees
    for code, *_ in TREE:
        answer = await client.get(f"/v1/nodes/{code}", headers=headers)
        assert answer.status_code == (200 if code in sees | names else 404), code
        for part in ("subtree", "history"):
            answer = await client.get(f"/v1/nodes/{code}/{part}", headers=headers)
            seen = sees if part == "subtree" else sees | names
            assert answer.status_code == (200 if code in seen else 404), (code, part)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"parent={TOWN}", VILLAGES),
        ("tier=town", [OTHER_TOWN, TOWN]),
        ("q=堤村", [NEIGHBOUR, THIRD, FOURTH]),
        ("q=370783001", [OTHER_TOWN, FAR_VILLAGE]),
        ("q=783001", []),
        ("q=%25", []),
        (f"tier=village&parent={OTHER_TOWN}&q=北", [FAR_VILLAGE]),
        (f"parent={OTHER_CITY}", []),
        ("on=1999-12-31", []),
    ],
)
async def test_filters_narrow_the_list(client: httpx.AsyncClient, as_: As, query: str, found: list[str]) -> None:
    listed = (await client.get(f"/v1/nodes?{query}", headers=as_(CITY, "reporter"))).json()

    assert [item["code"] for item in listed["items"]] == found
    assert listed["next"] is None


async def test_pages_follow_each_other_by_code_without_loss(client: httpx.AsyncClient, as_: As) -> None:
    seen: list[str] = []
    params: dict[str, str] = {"limit": "3"}
    while True:
        page = (await client.get("/v1/nodes", params=params, headers=as_(CITY, "reporter"))).json()
        seen += [item["code"] for item in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]

    assert seen == sorted([CITY, TOWN, OTHER_TOWN, FAR_VILLAGE, *VILLAGES])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("?q=%00", (400, "query_invalid")),
        ("?q=", (400, "query_invalid")),
        ("?parent=a%00", (400, "query_invalid")),
        ("?on=yesterday", (400, "query_invalid")),
        ("?cursor=WyJub2RlcyIsIlx1MDAwMCJd", (400, "cursor_invalid")),
        ("/a%00", (404, "not_found")),
        ("/a%00/subtree", (404, "not_found")),
        ("/%E6%9D%91/history", (404, "not_found")),
    ],
)
async def test_what_is_no_code_is_refused_before_the_database(
    client: httpx.AsyncClient, as_: As, path: str, expected: tuple[int, str]
) -> None:
    assert code_of(await client.get(f"/v1/nodes{path}", headers=as_(CITY, "reporter"))) == expected


async def test_a_subtree_is_nested_by_parent(client: httpx.AsyncClient, as_: As) -> None:
    tree = (await client.get(f"/v1/nodes/{CITY}/subtree", headers=as_(CITY, "reporter"))).json()

    assert [(town["code"], [each["code"] for each in town["children"]]) for town in tree["children"]] == [
        (OTHER_TOWN, [FAR_VILLAGE]),
        (TOWN, VILLAGES),
    ]


async def test_an_administrator_opens_a_node(client: httpx.AsyncClient, as_: As, told: list[TreeChange]) -> None:
    made = await client.post("/v1/nodes", json=NEW | {"lat": 36.9, "lon": 118.9}, headers=as_(TOWN, "admin"))

    assert made.status_code == 201
    read = await client.get(f"/v1/nodes/{NEW['code']}", headers=as_(CITY, "reporter"))
    assert read.json() == made.json()
    assert {"opened_on": TODAY, "closed_on": None, "version": 1, "lat": 36.9}.items() <= made.json().items()
    assert [(change.kind, change.code, change.old_parent, change.new_parent) for change in told] == [
        ("created", NEW["code"], None, TOWN)
    ]


@pytest.mark.parametrize(
    ("at", "changes", "expected"),
    [
        (CITY, {"code": VILLAGE}, (409, "node_taken")),
        (CITY, {"code": OTHER_CITY_VILLAGE}, (409, "node_taken")),
        (CITY, {"parent": CITY}, (422, "node_parent_wrong")),
        (CITY, {"parent": VILLAGE}, (422, "node_parent_wrong")),
        (CITY, {"tier": "town"}, (422, "node_parent_wrong")),
        (CITY, {"tier": "city"}, (422, "invalid")),
        (CITY, {"parent": OTHER_CITY_TOWN}, (422, "node_unknown")),
        (CITY, {"parent": "no-such"}, (422, "node_unknown")),
        (TOWN, {"parent": OTHER_TOWN}, (422, "node_unknown")),
        (CITY, {"code": "a b"}, (422, "invalid")),
        (CITY, {"name": " "}, (422, "text_blank")),
        (CITY, {"name": "村\u202e"}, (422, "text_control")),
        (CITY, {"name": "\ufb1d" * 80}, (422, "text_long")),
        (CITY, {"lat": 36.9}, (422, "invalid")),
        (CITY, {"population": 2_000_000_001}, (422, "invalid")),
        (CITY, {"effective_on": TOMORROW}, (422, "node_date_wrong")),
        (CITY, {"effective_on": "1999-12-31"}, (422, "node_date_wrong")),
        (CITY, {"owner": "x"}, (422, "invalid")),
    ],
)
async def test_a_node_that_does_not_fit_is_not_opened(
    client: httpx.AsyncClient, as_: As, told: list[TreeChange], at: str, changes: dict[str, Any], expected: Any
) -> None:
    answer = await client.post("/v1/nodes", json=NEW | changes, headers=as_(at, "admin"))

    assert code_of(answer) == expected
    assert told == []
    total = (await client.get("/v1/nodes", headers=as_(CITY, "admin"))).json()["items"]
    assert len(total) == 8


@pytest.mark.parametrize("role", ["reporter", "desk", "supervisor"])
async def test_only_administrators_change_the_tree(client: httpx.AsyncClient, as_: As, role: str) -> None:
    headers = as_(CITY, role)

    answers = [
        await client.post("/v1/nodes", json=NEW, headers=headers),
        await client.patch(f"/v1/nodes/{VILLAGE}", json={"name": "改名"}, headers=headers),
        await client.post(
            "/v1/nodes/import?mode=validate", content=b"x", headers=headers | {"content-type": "text/csv"}
        ),
    ]

    assert [code_of(answer) for answer in answers] == [(403, "scope_missing")] * 3


@pytest.mark.parametrize(
    ("at", "node", "changes", "expected"),
    [
        (TOWN, FAR_VILLAGE, {"name": "改"}, (404, "not_found")),
        (TOWN, CITY, {"name": "改"}, (404, "not_found")),
        (CITY, OTHER_CITY_VILLAGE, {"name": "改"}, (404, "not_found")),
        (CITY, VILLAGE, {"parent": OTHER_CITY_TOWN}, (422, "node_unknown")),
        (TOWN, VILLAGE, {"parent": OTHER_TOWN}, (422, "node_unknown")),
        (CITY, VILLAGE, {"parent": NEIGHBOUR}, (422, "node_parent_wrong")),
        (CITY, VILLAGE, {"parent": VILLAGE}, (422, "node_parent_wrong")),
        (CITY, VILLAGE, {"parent": CITY}, (422, "node_parent_wrong")),
        (CITY, TOWN, {"parent": OTHER_TOWN}, (422, "node_parent_wrong")),
        (CITY, CITY, {"parent": TOWN}, (422, "node_parent_wrong")),
        (CITY, VILLAGE, {"tier": "town"}, (422, "invalid")),
        (CITY, VILLAGE, {"name": None}, (422, "invalid")),
        (CITY, VILLAGE, {"parent": None}, (422, "invalid")),
        (CITY, VILLAGE, {"lat": 36.9}, (422, "invalid")),
        (CITY, TOWN, {"closed_on": TODAY}, (409, "node_has_children")),
    ],
)
async def test_a_change_that_the_tree_does_not_allow_changes_nothing(
    client: httpx.AsyncClient,
    as_: As,
    told: list[TreeChange],
    at: str,
    node: str,
    changes: dict[str, Any],
    expected: Any,
) -> None:
    answer = await client.patch(f"/v1/nodes/{node}", json=changes, headers=as_(at, "admin"))

    assert code_of(answer) == expected
    assert told == []


async def test_a_change_is_told_with_the_parents_before_and_after(
    client: httpx.AsyncClient, as_: As, told: list[TreeChange]
) -> None:
    body = {"name": "新口子村", "parent": OTHER_TOWN, "closed_on": TOMORROW, "population": 12}

    changed = (await client.patch(f"/v1/nodes/{VILLAGE}", json=body, headers=as_(CITY, "admin"))).json()

    assert {key: changed[key] for key in body} == body
    assert changed["version"] == 2
    assert [(each.kind, each.old_parent, each.new_parent, each.on.isoformat()) for each in told] == [
        ("moved", TOWN, OTHER_TOWN, TODAY),
        ("renamed", OTHER_TOWN, OTHER_TOWN, TODAY),
        ("closed", OTHER_TOWN, OTHER_TOWN, TOMORROW),
    ]


async def test_a_listener_that_fails_undoes_the_change(client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
    async def broken(conn: AsyncConnection, changes: Sequence[TreeChange], now: datetime) -> None:
        raise RuntimeError

    app.state.tree_listeners.append(broken)
    answer = await client.patch(f"/v1/nodes/{VILLAGE}", json={"name": "改"}, headers=as_(CITY, "admin"))

    assert code_of(answer) == (500, "internal")
    kept = (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "admin"))).json()
    assert (kept["name"], kept["version"]) == ("口子村", 1)


async def test_only_the_version_that_was_read_can_be_changed(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(CITY, "admin")

    async def rename(name: str, tag: str) -> httpx.Response:
        return await client.patch(f"/v1/nodes/{VILLAGE}", json={"name": name}, headers=headers | {"if-match": tag})

    assert (await rename("甲", '"1"')).json()["version"] == 2
    refused = await rename("乙", '"1"')
    assert code_of(refused) == (412, "precondition_failed")
    assert "version 2" in refused.json()["detail"]
    assert code_of(await rename("乙", "W/2")) == (400, "if_match_invalid")
    assert (await rename("乙", "*")).json()["version"] == 3
    assert (await rename("乙", '"3"')).json()["version"] == 3


async def test_a_place_can_be_taken_away_again(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(CITY, "admin")

    for lat, lon in ((36.9, 118.9), (None, None)):
        changed = await client.patch(f"/v1/nodes/{VILLAGE}", json={"lat": lat, "lon": lon}, headers=headers)
        assert (changed.json()["lat"], changed.json()["lon"]) == (lat, lon)


async def test_of_many_who_open_the_same_node_at_once_one_does(client: httpx.AsyncClient, as_: As) -> None:
    posts = [client.post("/v1/nodes", json=NEW, headers=as_(CITY, "admin")) for _ in range(4)]

    assert sorted(answer.status_code for answer in await asyncio.gather(*posts)) == [201, 409, 409, 409]


async def test_a_town_does_not_close_while_a_village_is_opened_under_it(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(CITY, "admin")
    for number in range(5):
        town = f"t-{number}"
        body = {"code": town, "name": "镇", "tier": "town", "parent": CITY, "effective_on": "2018-08-01"}
        assert (await client.post("/v1/nodes", json=body, headers=headers)).status_code == 201

        closing, opening = await asyncio.gather(
            client.patch(f"/v1/nodes/{town}", json={"closed_on": TODAY}, headers=headers),
            client.post("/v1/nodes", json=NEW | {"code": f"v-{number}", "parent": town}, headers=headers),
        )

        assert (closing.is_success, opening.is_success) in {(True, False), (False, True)}


@pytest.mark.parametrize(
    "place", [{"lat": "36.9", "lon": "118.9"}, {"lat": True, "lon": False}, {"lat": 9, "lon": None}, {"lon": 9}]
)
async def test_a_place_is_two_numbers(client: httpx.AsyncClient, as_: As, place: dict[str, Any]) -> None:
    refused = await client.patch(f"/v1/nodes/{VILLAGE}", json=place, headers=as_(CITY, "admin"))

    assert code_of(refused) == (422, "invalid")


async def test_a_search_takes_every_character_as_itself(client: httpx.AsyncClient, as_: As) -> None:
    for code, name in (("v_1", "100%村"), ("v-1", "甲/乙村"), ("v.1", "a\\b村")):
        body = {"code": code, "name": name, "tier": "village", "parent": TOWN}
        assert (await client.post("/v1/nodes", json=body, headers=as_(CITY, "admin"))).status_code == 201

    async def found(q: str) -> list[str]:
        answer = await client.get("/v1/nodes", params={"q": q}, headers=as_(CITY, "reporter"))
        return [item["code"] for item in answer.json()["items"]]

    assert await found("v_") == ["v_1"]
    assert await found("0%村") == ["v_1"]
    assert await found("/") == ["v-1"]
    assert await found("\\") == ["v.1"]
    assert await found("_村") == []
    assert await found("V-") == ["v-1"]
