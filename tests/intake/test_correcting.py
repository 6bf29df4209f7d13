import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.core.database import Database
from app.core.ids import new_id
from app.reports.models import Report, ReportVersion
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, ROUTINE, TOWN, URGENT, VILLAGE, report
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def filed(client: httpx.AsyncClient, as_: As, **said: Any) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=report(**said), headers=as_(VILLAGE, "reporter"))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def put(
    client: httpx.AsyncClient, headers: dict[str, str], stored: dict[str, Any], base: int, **said: Any
) -> httpx.Response:
    body = report(UUID(stored["id"]), **said)
    return await client.put(f"/v1/reports/{stored['id']}", json=body, headers=headers | {"If-Match": f'"{base}"'})


async def alert_of(client: httpx.AsyncClient, as_: As, stored: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/alerts/{stored['alert_id']}", headers=as_(CITY, "admin"))).json()
    return found


async def test_a_correction_is_a_new_version_and_the_one_before_stays_readable(
    client: httpx.AsyncClient, as_: As
) -> None:
    me = as_(VILLAGE, "reporter")
    stored = await filed(client, as_, figures={"affected": 3})

    answer = await put(client, me, stored, 1, figures={"affected": 30}, summary="【演练】更正")

    assert answer.status_code == 200
    now = answer.json()
    assert (now["version"], now["figures"], now["summary"]) == (2, {"affected": 30}, "【演练】更正")
    assert (now["incident_id"], now["received_at"]) == (stored["incident_id"], stored["received_at"])
    assert (await client.get(f"/v1/reports/{stored['id']}", headers=me)).json()["version"] == 2
    versions = (await client.get(f"/v1/reports/{stored['id']}/versions", headers=as_(TOWN, "desk"))).json()["items"]
    assert [(one["version"], one["figures"], one["summary"], one["by"]) for one in versions] == [
        (1, {"affected": 3}, "【演练】河水上涨", VILLAGE),
        (2, {"affected": 30}, "【演练】更正", VILLAGE),
    ]
    assert versions[0]["until"] == versions[1]["since"]
    assert versions[1]["until"] is None
    changes = (await client.get("/v1/reports/changes", headers=me)).json()["results"]
    assert [(change["type"], change["report"]["version"]) for change in changes] == [
        ("report.received", 1),
        ("report.corrected", 2),
    ]


async def test_a_correction_keeps_why_the_report_is_of_its_incident(client: httpx.AsyncClient, as_: As) -> None:
    me = as_(VILLAGE, "reporter")
    await filed(client, as_)
    stored = await filed(client, as_)
    assert stored["reasons"][-1]["rule"] == "match.same_node"

    worse = (await put(client, me, stored, 1, **URGENT)).json()

    assert worse["reasons"][-1] == stored["reasons"][-1]
    assert worse["level"] == "orange"


async def test_a_stale_correction_is_shown_both_versions_and_stores_nothing(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    me = as_(VILLAGE, "reporter")
    stored = await filed(client, as_)
    assert (await put(client, as_(TOWN, "desk"), stored, 1, node=VILLAGE, summary="【演练】镇里改")).status_code == 200
    before = await counts(database)

    stale = await put(client, me, stored, 1, summary="【演练】村里改")

    assert (stale.status_code, stale.json()["code"]) == (409, "version_conflict")
    assert stale.json()["stored"]["summary"] == "【演练】镇里改"
    assert stale.json()["stored"]["version"] == 2
    assert (stale.json()["sent"]["summary"], stale.json()["sent"]["base_version"]) == ("【演练】村里改", 1)
    assert await counts(database) == before
    assert (await put(client, me, stored, 2, summary="【演练】村里改")).json()["version"] == 3


async def test_the_same_correction_sent_again_changes_nothing(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    me = as_(VILLAGE, "reporter")
    stored = await filed(client, as_)
    body = report(UUID(stored["id"]), summary="【演练】更正")
    headers = me | {"If-Match": '"1"'}
    path = f"/v1/reports/{stored['id']}"

    first = await client.put(path, json=body, headers=headers)
    again = await client.put(path, json=body, headers=headers)
    other = await put(client, me, stored, 2, summary="【演练】再更正")
    late = await client.put(path, json=body, headers=headers)

    assert [first.json()["version"], again.json()["version"]] == [2, 2]
    # What was answered as stored is not refused when it is sent again, though it no longer stands.
    assert (other.json()["version"], late.status_code, late.json()["version"]) == (3, 200, 3)
    assert len(await rows(database, ReportVersion)) == 2


async def test_a_worse_correction_raises_and_a_milder_one_never_lowers(client: httpx.AsyncClient, as_: As) -> None:
    me = as_(VILLAGE, "reporter")
    stored = await filed(client, as_)
    assert stored["alert_id"] is None

    worse = (await put(client, me, stored, 1, **URGENT)).json()
    alert = await alert_of(client, as_, worse)
    assert (worse["level"], alert["level"], alert["state"]) == ("orange", "orange", "raised")
    assert {held["node"] for held in worse["custody"]} == {TOWN, CITY}

    assert (await client.post(f"/v1/alerts/{alert['id']}/acknowledge", headers=as_(CITY, "desk"))).status_code == 200
    gravest = (await put(client, me, stored, 2, **EXTREME)).json()
    alert = await alert_of(client, as_, gravest)
    assert (gravest["alert_id"], alert["level"], alert["state"]) == (alert["id"], "red", "raised")

    milder = (await put(client, me, stored, 3, **ROUTINE)).json()
    alert = await alert_of(client, as_, milder)
    assert (milder["level"], milder["alert_id"]) == ("routine", alert["id"])
    assert (alert["level"], alert["state"]) == ("red", "raised")
    assert alert["reasons"][-1]["rule"] == "correction.lower"
    assert "口子村" in alert["reasons"][-1]["text_zh"]
    incident = (await client.get(f"/v1/incidents/{stored['incident_id']}", headers=me)).json()
    assert (incident["level"], incident["reports"]) == ("red", 1)


async def test_a_closed_alert_is_raised_anew_by_a_worse_correction_only(client: httpx.AsyncClient, as_: As) -> None:
    me, desk = as_(VILLAGE, "reporter"), as_(CITY, "desk")
    stored = await filed(client, as_, **URGENT)
    await client.post(f"/v1/alerts/{stored['alert_id']}/close", json={"reason": "【演练】已处置"}, headers=desk)

    same = (await put(client, me, stored, 1, **URGENT, figures={"affected": 5})).json()
    worse = (await put(client, me, stored, 2, **EXTREME)).json()

    assert same["alert_id"] == stored["alert_id"]
    assert worse["alert_id"] not in (None, stored["alert_id"])
    assert (await alert_of(client, as_, worse))["state"] == "raised"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"node": NEIGHBOUR}, "/node"),
        ({"incident_id": "01655482-2580-7000-8000-52b8a1d0c3e4"}, "/incident_id"),
        ({"drill_id": "01655482-2580-7000-8000-52b8a1d0c3e4"}, "/drill_id"),
        ({"id": "01655482-2580-7000-8000-52b8a1d0c3e4"}, "/id"),
    ],
)
async def test_a_correction_moves_a_report_nowhere(
    client: httpx.AsyncClient, as_: As, said: dict[str, str], field: str
) -> None:
    stored = await filed(client, as_)

    answer = await client.put(
        f"/v1/reports/{stored['id']}",
        json=report(UUID(stored["id"])) | said,
        headers=as_(VILLAGE, "reporter") | {"If-Match": '"1"'},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "correction_moves")
    assert answer.json()["errors"][0]["pointer"] == field


async def test_without_if_match_nothing_is_corrected(client: httpx.AsyncClient, as_: As) -> None:
    me = as_(VILLAGE, "reporter")
    stored = await filed(client, as_)
    path, body = f"/v1/reports/{stored['id']}", report(UUID(stored["id"]), summary="【演练】更正")

    assert (await client.put(path, json=body, headers=me)).json()["code"] == "if_match_required"
    for tag in ('W/"1"', "1", "*"):
        strange = await client.put(path, json=body, headers=me | {"If-Match": tag})
        assert (strange.status_code, strange.json()["code"]) == (400, "if_match_invalid")


async def test_only_the_filing_offices_and_those_above_correct(client: httpx.AsyncClient, as_: As) -> None:
    stored = await filed(client, as_)

    for node, status in ((NEIGHBOUR, 404), (FAR_VILLAGE, 404), (CITY, 200)):
        answer = await put(client, as_(node, "reporter"), stored, 1, summary="【演练】更正")
        assert answer.status_code == status, node
    nothing = {"id": str(new_id())}
    assert (await put(client, as_(VILLAGE, "reporter"), nothing, 1)).status_code == 404


async def test_a_batch_takes_a_report_and_its_correction(client: httpx.AsyncClient, as_: As) -> None:
    me = as_(VILLAGE, "reporter")
    report_id = new_id()
    items = [
        report(report_id, summary="【演练】详情", figures={"affected": 9}) | {"base_version": 1},
        report(report_id),
    ]

    first = (await client.post("/v1/reports/batch", json={"reports": items}, headers=me)).json()["results"]
    again = (await client.post("/v1/reports/batch", json={"reports": items}, headers=me)).json()["results"]
    stale = report(report_id, summary="【演练】他改") | {"base_version": 1}
    refused = (await client.post("/v1/reports/batch", json={"reports": [stale]}, headers=me)).json()["results"]

    assert [one["status"] for one in first] == ["updated", "created"]
    assert first[0]["report"]["version"] == 2
    # The report itself says something else by now, but it is the same report.
    assert [one["status"] for one in again] == ["replayed", "replayed"]
    assert (refused[0]["status"], refused[0]["problem"]["code"]) == ("conflict", "version_conflict")


async def test_of_two_corrections_at_once_one_is_first(
    client: httpx.AsyncClient, as_: As, database: Database, app: FastAPI
) -> None:
    stored = await filed(client, as_)

    answers = await asyncio.gather(
        *(put(client, as_(VILLAGE, "reporter"), stored, 1, summary=f"【演练】更正 {n}") for n in range(8))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    (row,) = await rows(database, Report)
    assert row.version == 2
    assert len(await rows(database, ReportVersion)) == 1
