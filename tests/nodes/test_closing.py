"""What ends with a node that is closed, and what does not. Today is 2018-08-20."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.core.database import Database
from tests.builders import CITY, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE, report
from tests.tables import counts

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Patch = Callable[..., Any]

TODAY, TOMORROW = "2018-08-20", "2018-08-21"


@pytest.fixture
def patch(client: httpx.AsyncClient, as_: As) -> Patch:
    async def send(node: str, at: str = CITY, tag: str = "*", **changes: Any) -> httpx.Response:
        return await client.patch(f"/v1/nodes/{node}", json=changes, headers=as_(at, "admin") | {"if-match": tag})

    return send


async def test_a_closed_node_takes_no_new_report_and_answers_an_old_one_again(
    client: httpx.AsyncClient, as_: As, patch: Patch, database: Database
) -> None:
    body = report(node=VILLAGE)
    desk = as_(TOWN, "desk")
    first = await client.post("/v1/reports", json=body, headers=desk)
    assert (await patch(VILLAGE, closed_on=TODAY)).status_code == 200
    before = await counts(database)

    again = await client.post("/v1/reports", json=body, headers=desk)
    now = NOON.isoformat()
    refused = await client.post("/v1/reports", json=report(node=VILLAGE, submitted_at=now), headers=desk)
    items = [body, report(node=VILLAGE, submitted_at=now)]
    batch = await client.post("/v1/reports/batch", json={"reports": items}, headers=desk)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert (refused.status_code, refused.json()["code"]) == (422, "node_closed")
    assert refused.json()["errors"][0]["pointer"] == "/node"
    replayed, rejected = batch.json()["results"]
    assert (replayed["status"], rejected["status"]) == ("replayed", "rejected")
    assert rejected["problem"]["code"] == "node_closed"
    assert await counts(database) == before


async def test_until_its_day_comes_a_node_reports_as_before(client: httpx.AsyncClient, as_: As, patch: Patch) -> None:
    await patch(VILLAGE, closed_on=TOMORROW)

    answer = await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))

    assert answer.status_code == 201


async def test_the_sign_ins_of_a_node_end_with_it_at_once(client: httpx.AsyncClient, as_: As, patch: Patch) -> None:
    headers = as_(VILLAGE, "reporter")
    assert (await client.get("/v1/me", headers=headers)).status_code == 200

    await patch(VILLAGE, closed_on=TODAY)

    answer = await client.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_invalid")
    # Only what was written before may still come; this was not.
    answer = await client.post("/v1/reports", json=report(submitted_at=NOON.isoformat()), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "sign_in_lapsed")
    neighbour = await client.get("/v1/me", headers=as_(NEIGHBOUR, "reporter"))
    assert neighbour.status_code == 200


@pytest.mark.parametrize(
    "changes", [{"name": "甲村"}, {"parent": OTHER_TOWN}, {"closed_on": TOMORROW}, {"population": 5}]
)
async def test_nothing_of_a_closed_node_changes(
    client: httpx.AsyncClient, as_: As, patch: Patch, changes: dict[str, Any]
) -> None:
    await patch(VILLAGE, closed_on=TODAY)
    before = (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "reporter"))).json()

    refused = await patch(VILLAGE, **changes)

    assert (refused.status_code, refused.json()["code"]) == (422, "node_closed")
    assert (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "reporter"))).json() == before
