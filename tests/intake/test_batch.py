import json
from collections.abc import Callable

import httpx
import pytest

from app.core.database import Database
from app.core.ids import new_id
from app.intake import writer
from tests.builders import EXTREME, NEIGHBOUR, URGENT, VILLAGE, report
from tests.tables import counts

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def test_each_item_has_its_own_result_and_none_blocks_another(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    known, changed = report(), report()
    for body in (known, changed):
        await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "reporter"))
    twice = new_id()
    items = [
        report(**URGENT),
        known,
        changed | {"summary": "【演练】改了"},
        report(figures={"dead": -1}),
        report(hazard="no.such"),
        report(node=NEIGHBOUR),
        {"id": "\ud800"},
        report(twice),
        report(twice, summary="【演练】同号"),
        report(**EXTREME, hazard="fire.building"),
    ]

    # As ASCII, so that a lone surrogate can be sent, as some devices do.
    headers = as_(VILLAGE, "reporter") | {"Content-Type": "application/json"}
    answer = await client.post("/v1/reports/batch", content=json.dumps({"reports": items}).encode(), headers=headers)

    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [
        "created",
        "replayed",
        "conflict",
        "rejected",
        "rejected",
        "rejected",
        "rejected",
        "created",
        "rejected",
        "created",
    ]
    codes = [result["problem"] and result["problem"]["code"] for result in results]
    assert codes == [
        None,
        None,
        "id_conflict",
        "invalid",
        "hazard_unknown",
        "node_unknown",
        "invalid",
        None,
        "id_duplicate",
        None,
    ]
    assert [result["id"] for result in results[:3]] == [item["id"] for item in items[:3]]
    assert results[6]["id"] == "?"
    assert (await counts(database))["reports"] == 5


async def test_500_reports_are_taken_and_501_are_refused(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    headers = as_(VILLAGE, "reporter")

    full = await client.post("/v1/reports/batch", json={"reports": [report() for _ in range(500)]}, headers=headers)
    over = await client.post("/v1/reports/batch", json={"reports": [report() for _ in range(501)]}, headers=headers)

    assert {result["status"] for result in full.json()["results"]} == {"created"}
    assert (over.status_code, over.json()["code"]) == (422, "invalid")
    assert (await counts(database))["reports"] == 500


async def test_an_answer_to_thousands_of_mistakes_stays_small(client: httpx.AsyncClient, as_: As) -> None:
    item = report() | {f"key{number}": number for number in range(5000)}

    answer = await client.post("/v1/reports/batch", json={"reports": [item]}, headers=as_(VILLAGE, "reporter"))

    problem = answer.json()["results"][0]["problem"]
    assert len(problem["errors"]) == 50
    assert problem["detail"].startswith("The body has 5000")


async def test_a_server_that_is_full_asks_for_the_whole_batch_again(
    client: httpx.AsyncClient, as_: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE", 2)

    answer = await client.post(
        "/v1/reports/batch", json={"reports": [report() for _ in range(6)]}, headers=as_(VILLAGE, "reporter")
    )

    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) > 0
