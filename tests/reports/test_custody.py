"""Who holds a report, what they do with it, and who sees that."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.reports.models import ReportStep
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Act = Callable[..., Any]
Filed = Callable[..., Any]


def custody_of(view: dict[str, Any], node: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in view["custody"] if one["node"] == node)
    return found


async def test_a_report_is_opened_asked_back_answered_taken_on_and_passed_on_and_the_village_sees_it_all(
    client: httpx.AsyncClient, as_: As, filed: Filed, act: Act, clock: ManualClock
) -> None:
    report_id = await filed()
    path, village = f"/v1/reports/{report_id}", as_(VILLAGE, "reporter")
    clock.advance(timedelta(minutes=1))
    opened = (await client.get(path, headers=as_(TOWN, "desk"))).json()
    assert custody_of(opened, TOWN)["acknowledge_by"] == "2018-08-21T04:16:00Z"
    clock.advance(timedelta(minutes=1))
    asked = await act(TOWN, report_id, "return", question="【演练】被困几人？")

    assert (asked["applied"], asked["notice"]) == (True, None)
    question = custody_of(asked, VILLAGE)
    assert (question["state"], question["given_by"], question["note"]) == ("received", TOWN, "【演练】被困几人？")
    clock.advance(timedelta(minutes=1))
    body = report(UUID(report_id), figures={"trapped": 2}, summary="【演练】2 人被困")
    corrected = await client.put(path, json=body, headers=village | {"If-Match": '"1"'})
    assert custody_of(corrected.json(), VILLAGE)["state"] == "acknowledged"
    clock.advance(timedelta(minutes=1))
    await act(TOWN, report_id, "acknowledge", note="【演练】已派船")
    clock.advance(timedelta(minutes=1))
    passed = await act(TOWN, report_id, "forward", to=CITY, note="【演练】需市里支援")

    assert (custody_of(passed, TOWN)["state"], custody_of(passed, TOWN)["forwarded_to"]) == ("forwarded", CITY)
    assert (custody_of(passed, CITY)["state"], custody_of(passed, CITY)["given_by"]) == ("received", TOWN)
    steps = (await client.get(f"{path}/timeline", headers=village)).json()["items"]
    assert [(one["type"], one["node"], one["to"], one["note"]) for one in steps] == [
        ("report.received", None, TOWN, ""),
        ("report.opened", TOWN, None, ""),
        ("report.returned", TOWN, VILLAGE, "【演练】被困几人？"),
        # The correction makes it urgent: the city holds it as well.
        ("report.received", None, CITY, ""),
        ("report.answered", VILLAGE, TOWN, ""),
        ("report.acknowledged", TOWN, None, "【演练】已派船"),
        ("report.forwarded", TOWN, CITY, "【演练】需市里支援"),
    ]
    assert steps[2]["due_at"] == question["due_at"]
    assert (steps[2]["text"], steps[2]["text_zh"]) == ("上口镇 asks 口子村 back.", "上口镇退回口子村并询问。")
    changes = (await client.get("/v1/reports/changes", headers=village)).json()["results"]
    assert [one["type"] for one in changes] == [
        "report.received",
        "report.opened",
        "report.returned",
        "report.corrected",
        "report.answered",
        "report.acknowledged",
        "report.forwarded",
    ]
    assert changes[2]["report"]["note"] == "【演练】被困几人？"


async def test_who_holds_a_report_reads_it_and_nobody_else_does(
    client: httpx.AsyncClient, as_: As, filed: Filed, act: Act
) -> None:
    report_id = await filed(**URGENT)
    other = await filed()
    since = (await client.get("/v1/reports", headers=as_(OTHER_TOWN, "desk"))).json()["cursor"]

    await act(CITY, report_id, "forward", to=OTHER_TOWN, note="【演练】请就近救援")

    for node, sees in ((OTHER_TOWN, [report_id]), (FAR_VILLAGE, []), (NEIGHBOUR, [])):
        listed = (await client.get("/v1/reports", headers=as_(node, "desk"))).json()["items"]
        assert [one["id"] for one in listed] == sees, node
        status = (await client.get(f"/v1/reports/{report_id}", headers=as_(node, "desk"))).status_code
        assert status == (200 if sees else 404)
        assert (await client.get(f"/v1/reports/{other}", headers=as_(node, "desk"))).status_code == 404
    shown = (await client.get(f"/v1/reports/{report_id}", headers=as_(OTHER_TOWN, "desk"))).json()
    assert shown["account_id"] is None
    page = (await client.get("/v1/reports/changes", params={"since": since}, headers=as_(OTHER_TOWN, "desk"))).json()[
        "results"
    ]
    assert [one["type"] for one in page] == ["report.forwarded", "report.opened"]
    await act(OTHER_TOWN, report_id, "acknowledge")
    # It goes back to whoever gave it, also with a question.
    asked = await act(OTHER_TOWN, report_id, "return", question="【演练】走哪条路？")
    assert custody_of(asked, CITY)["given_by"] == OTHER_TOWN


async def test_an_act_that_changes_nothing_says_so(
    client: httpx.AsyncClient, as_: As, filed: Filed, act: Act, database: Database
) -> None:
    report_id = await filed()
    await act(TOWN, report_id, "acknowledge")
    before = await counts(database)

    again = await act(TOWN, report_id, "acknowledge")

    assert (again["applied"], again["notice"]["code"]) == (False, "report_yours")
    assert await counts(database) == before
    await act(TOWN, report_id, "forward", to=CITY, note="【演练】")
    for verb, body in (("forward", {"to": CITY, "note": "【演练】"}), ("acknowledge", {})):
        again = await act(TOWN, report_id, verb, **body)
        assert (again["applied"], again["notice"]["code"]) == (False, "report_passed")


async def test_of_two_at_once_one_act_counts(
    client: httpx.AsyncClient, as_: As, filed: Filed, act: Act, database: Database
) -> None:
    report_id = await filed()

    done = await asyncio.gather(*(act(TOWN, report_id, "acknowledge") for _ in range(4)))

    assert sorted(one["applied"] for one in done) == [False, False, False, True]
    assert [one.type for one in await rows(database, ReportStep)] == ["report.acknowledged"]


@pytest.mark.parametrize(
    ("node", "what", "body", "expect", "code"),
    [
        (CITY, "acknowledge", {}, 409, "custody_elsewhere"),
        (OTHER_TOWN, "acknowledge", {}, 404, "not_found"),
        (TOWN, "forward", {"to": OTHER_TOWN}, 422, "forward_wrong"),
        (TOWN, "forward", {"to": TOWN}, 422, "forward_wrong"),
        (TOWN, "forward", {"to": "nowhere"}, 422, "forward_wrong"),
        (TOWN, "return", {"question": " "}, 422, "text_blank"),
    ],
)
async def test_what_an_office_may_not_do_is_told(
    client: httpx.AsyncClient,
    as_: As,
    filed: Filed,
    act: Act,
    database: Database,
    node: str,
    what: str,
    body: dict[str, Any],
    expect: int,
    code: str,
) -> None:
    report_id = await filed()
    before = await counts(database)

    answer = await act(node, report_id, what, expect=expect, **body)

    assert answer["code"] == code
    assert await counts(database) == before


async def test_what_is_overdue_is_seen_by_the_office_and_every_one_above(
    client: httpx.AsyncClient, as_: As, filed: Filed, clock: ManualClock
) -> None:
    async def overdue(node: str, **query: str) -> list[tuple[str, str, bool]]:
        answer = await client.get("/v1/custody", params={"overdue": "true", **query}, headers=as_(node, "desk"))
        assert answer.status_code == 200, answer.text
        return [(one["report_id"], one["state"], one["overdue_seconds"] > 0) for one in answer.json()["items"]]

    report_id = await filed()
    assert await overdue(CITY) == []
    clock.advance(timedelta(hours=13))

    for node, sees in ((TOWN, 1), (CITY, 1), (OTHER_TOWN, 0), (VILLAGE, 0)):
        assert await overdue(node) == [(report_id, "received", True)] * sees, node
    await client.get(f"/v1/reports/{report_id}", headers=as_(TOWN, "desk"))
    assert await overdue(CITY) == []
    clock.advance(timedelta(hours=25))
    assert await overdue(CITY) == [(report_id, "opened", True)]
    await client.post(f"/v1/reports/{report_id}/acknowledge", json={}, headers=as_(TOWN, "desk"))
    assert await overdue(CITY) == []


async def test_the_list_of_what_is_held_goes_page_by_page(client: httpx.AsyncClient, as_: As, filed: Filed) -> None:
    ids = {await filed() for _ in range(5)}
    found: list[str] = []
    cursor = None
    for _ in range(3):
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/v1/custody", params=params, headers=as_(TOWN, "desk"))).json()
        found += [one["report_id"] for one in page["items"]]
        cursor = page["next"]
    assert (set(found), len(found), cursor) == (ids, 5, None)


async def test_an_alert_that_is_taken_on_takes_its_reports_along(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    stored = [
        (await client.post("/v1/reports", json=report(**URGENT), headers=as_(VILLAGE, "reporter"))).json()
        for _ in range(2)
    ]
    await client.get(f"/v1/alerts/{stored[0]['alert_id']}", headers=as_(TOWN, "desk"))
    await client.post(f"/v1/alerts/{stored[0]['alert_id']}/acknowledge", headers=as_(TOWN, "desk"))

    steps = [(str(one.report_id), one.type, one.node_code) for one in await rows(database, ReportStep)]
    assert sorted(steps) == sorted(
        (one["id"], kind, TOWN) for one in stored for kind in ("report.opened", "report.acknowledged")
    )
    changes = (await client.get("/v1/reports/changes", headers=as_(VILLAGE, "reporter"))).json()["results"]
    assert [one["type"] for one in changes] == [
        *["report.received"] * 2,
        *["report.opened"] * 2,
        *["report.acknowledged"] * 2,
    ]
