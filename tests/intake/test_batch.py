from collections.abc import Callable

import httpx
import pytest

from app.core.database import Database
from app.core.ids import new_id
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
        "not a report",
        report(twice),
        report(twice, summary="【演练】同号"),
        report(**EXTREME, hazard="fire.building"),
    ]

    answer = await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

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
    assert [result["id"] for result in results[:3]] == [item["id"] for item in items[:3]]  # type: ignore[index]  # dicts
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
