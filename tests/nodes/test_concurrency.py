"""Many changes of the tree at once. Today is 2018-08-20."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.builders import CITY, OTHER_TOWN, TOWN, VILLAGE

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Patch = Callable[..., Any]

TODAY = "2018-08-20"


@pytest.fixture
def patch(client: httpx.AsyncClient, as_: As) -> Patch:
    async def send(node: str, at: str = CITY, tag: str = "*", **changes: Any) -> httpx.Response:
        return await client.patch(f"/v1/nodes/{node}", json=changes, headers=as_(at, "admin") | {"if-match": tag})

    return send


async def history(client: httpx.AsyncClient, as_: As, node: str) -> list[tuple[str, str | None, str]]:
    answer = await client.get(f"/v1/nodes/{node}/history", headers=as_(CITY, "reporter"))
    return [(span["since"], span["until"], span["parent"]) for span in answer.json()["items"]]


async def test_of_many_changes_of_the_version_that_was_read_one_holds(
    client: httpx.AsyncClient, as_: As, patch: Patch
) -> None:
    answers = await asyncio.gather(*(patch(VILLAGE, tag='"1"', name=f"{number}村") for number in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    (won,) = (answer.json() for answer in answers if answer.is_success)
    assert (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "reporter"))).json() == won
    assert won["version"] == 2


async def test_many_moves_at_once_leave_one_history(client: httpx.AsyncClient, as_: As, patch: Patch) -> None:
    days = ["2018-08-01", "2018-08-05", "2018-08-10", "2018-08-15", TODAY]
    moves = [patch(VILLAGE, parent=(OTHER_TOWN, TOWN)[n % 2], effective_on=day) for n, day in enumerate(days)]

    answers = await asyncio.gather(*moves)

    assert {answer.status_code for answer in answers} <= {200, 422}
    assert any(answer.is_success for answer in answers)
    spans = await history(client, as_, VILLAGE)
    assert spans[0][0] == "2000-01-01"
    assert [until for _, until, _ in spans] == [since for since, _, _ in spans[1:]] + [None]
    now = (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "reporter"))).json()
    assert spans[-1][2] == now["parent"]
    assert now["version"] >= len(spans)


async def test_a_town_does_not_close_while_a_village_moves_under_it(
    client: httpx.AsyncClient, as_: As, patch: Patch
) -> None:
    for number in range(4):
        town = {"code": f"t-{number}", "name": "镇", "tier": "town", "parent": CITY, "effective_on": "2018-08-01"}
        assert (await client.post("/v1/nodes", json=town, headers=as_(CITY, "admin"))).status_code == 201

        closing, moving = await asyncio.gather(
            patch(town["code"], closed_on=TODAY), patch(VILLAGE, parent=town["code"])
        )

        assert (closing.status_code, moving.status_code) in {(200, 422), (409, 200)}


async def test_a_move_and_an_import_at_once_leave_one_history(client: httpx.AsyncClient, as_: As, patch: Patch) -> None:
    content = f"code,name,tier,parent_code\n{VILLAGE},甲村,village,{OTHER_TOWN}\n".encode()
    upload = client.post(
        "/v1/nodes/import?mode=commit", content=content, headers=as_(CITY, "admin") | {"content-type": "text/csv"}
    )

    imported, renamed = await asyncio.gather(upload, patch(VILLAGE, name="乙村"))

    assert (imported.status_code, renamed.status_code) == (200, 200)
    assert await history(client, as_, VILLAGE) == [("2000-01-01", TODAY, TOWN), (TODAY, None, OTHER_TOWN)]
    now = (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "reporter"))).json()
    assert (now["parent"], now["version"]) == (OTHER_TOWN, 3)
