"""What becomes of a report is told to its village and to all that hold it, step by step, each once."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.caller import Caller
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.models import FeedEvent
from app.hazards.policy import load_policy
from app.main import create_app
from app.reports import acting, service
from app.reports.models import Custody, ReportStep
from tests.accounts.people import bearer, create_key
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.conftest import running
from tests.crashes import killed_everywhere
from tests.drills.acts import begin
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Act = Callable[..., Any]
Filed = Callable[..., Any]


async def test_a_device_that_follows_with_a_link_that_drops_sees_each_step_once_and_in_order(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed
) -> None:
    device = as_(VILLAGE, "reporter")
    report_id = await filed(**URGENT)
    await client.get(f"/v1/reports/{report_id}", headers=as_(TOWN, "desk"))
    await act(TOWN, report_id, "return", question="【演练】几人？")
    await client.get(f"/v1/reports/{report_id}", headers=device)
    await client.put(
        f"/v1/reports/{report_id}",
        json=report(UUID(report_id), **URGENT, summary="【演练】两人"),
        headers=device | {"If-Match": '"1"'},
    )
    await act(TOWN, report_id, "acknowledge")
    await act(CITY, report_id, "forward", to=OTHER_TOWN, note="【演练】")

    seen: list[tuple[str, str | None]] = []
    since: str | None = None
    for _ in range(20):
        params = {"limit": "1", **({"since": since} if since else {})}
        page = (await client.get("/v1/reports/changes", params=params, headers=device)).json()
        seen += [(one["type"].removeprefix("report."), one["report"].get("office")) for one in page["results"]]
        since = page["cursor"]
        if not page["pending"]:
            break
    assert seen == [
        ("received", None),
        ("opened", TOWN),
        ("returned", TOWN),
        # The village has read the question.
        ("opened", VILLAGE),
        ("corrected", VILLAGE),
        ("answered", VILLAGE),
        ("acknowledged", TOWN),
        ("forwarded", CITY),
    ]


async def test_who_holds_a_report_is_told_all_that_happens_to_it_and_nobody_else_is(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed
) -> None:
    report_id = await filed(**URGENT)
    since = (await client.get("/v1/reports", headers=as_(CITY, "desk"))).json()["cursor"]
    await act(CITY, report_id, "forward", to=OTHER_TOWN, note="【演练】请就近救援")
    # Neither of these acts knows of the other town.
    corrected = await client.put(
        f"/v1/reports/{report_id}",
        json=report(UUID(report_id), **URGENT, summary="【演练】水退"),
        headers=as_(VILLAGE, "reporter") | {"If-Match": '"1"'},
    )
    await client.post(
        f"/v1/alerts/{corrected.json()['alert_id']}/close", json={"reason": "【演练】"}, headers=as_(CITY, "desk")
    )
    ended = await client.post(
        f"/v1/incidents/{corrected.json()['incident_id']}/outcome",
        json={"outcome": "resolved", "text": "【演练】已排险"},
        headers=as_(CITY, "desk"),
    )
    assert ended.status_code == 200, ended.text

    for node, told in ((OTHER_TOWN, ["forwarded", "corrected", "outcome"]), (FAR_VILLAGE, []), (NEIGHBOUR, [])):
        page = await client.get("/v1/reports/changes", params={"since": since}, headers=as_(node, "desk"))
        assert [one["type"].removeprefix("report.") for one in page.json()["results"]] == told, node


async def test_a_machine_that_reads_opens_nothing_and_a_desk_that_asks_back_has_opened_it(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, database: Database
) -> None:
    report_id = await filed()
    made = await create_key(client, node=TOWN, scopes=["reports:read", "alerts:act"])
    machine = bearer(made.json()["key"])
    before = await counts(database)
    for path in (f"/v1/reports/{report_id}", "/v1/reports", "/v1/reports/changes", "/v1/custody"):
        assert (await client.get(path, headers=machine)).status_code == 200
    assert await counts(database) == before
    assert await rows(database, ReportStep) == []

    asked = await act(TOWN, report_id, "return", question="【演练】几人？")

    mine = next(one for one in asked["custody"] if one["node"] == TOWN)
    assert (mine["state"], mine["acknowledge_by"]) == ("opened", "2018-08-21T04:15:00Z")
    steps = sorted(await rows(database, ReportStep), key=lambda one: one.id)
    assert [one.type for one in steps] == ["report.opened", "report.returned"]


async def test_in_a_drill_every_deadline_runs_at_its_pace_and_real_custody_is_apart(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, clock: ManualClock
) -> None:
    drill = (await begin(client, as_(CITY, "desk"), pace=10))["id"]
    report_id = await filed(drill_id=drill)
    real = await filed()
    held = (await act(TOWN, report_id, "return", question="【演练】几人？"))["custody"]

    # 24 hours to take it on, 8 to open the question.
    assert {one["node"]: one["acknowledge_by"] for one in held} == {TOWN: "2018-08-20T06:39:00Z", VILLAGE: None}
    assert {one["node"]: one["due_at"] for one in held}[VILLAGE] == "2018-08-20T05:03:00Z"
    clock.advance(timedelta(hours=3))
    for params, found in (({"drill": drill}, {report_id}), ({}, set())):
        page = await client.get("/v1/custody", params=params | {"overdue": "true"}, headers=as_(CITY, "desk"))
        assert {one["report_id"] for one in page.json()["items"]} == found
    page = await client.get("/v1/custody", headers=as_(CITY, "desk"))
    assert [one["report_id"] for one in page.json()["items"]] == [real]


@asynccontextmanager
async def serving(url: str, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(database_url=url, database_pool=2, timers_poll_seconds=0, log_level="error"), clock=clock)
    async with (
        running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://beacon.test") as client,
    ):
        yield client


async def test_killed_at_every_point_a_report_is_opened_and_passed_on_with_its_steps_and_events_or_not_at_all(
    database_url: str, as_: As
) -> None:
    clock, policy = ManualClock(NOON), load_policy(None)
    desk = Caller(CITY, TOWN, "town", frozenset({"reports:read", "alerts:act"}), "desk", account_id=UUID(int=1))
    async with serving(database_url, clock) as client:
        answer = await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))
    report_id = UUID(answer.json()["id"])

    async def work(database: Database) -> None:
        await service.open_report(database, policy=policy, caller=desk, report_id=report_id, now=NOON)
        async with database.writing() as conn:
            await acting.forward(
                conn, policy=policy, caller=desk, report_id=report_id, to=CITY, note="【演练】", now=NOON
            )

    points = 0
    for point in killed_everywhere(database_url, work):
        points = point
        database = Database(database_url, pool=1)
        steps = sorted(await rows(database, ReportStep), key=lambda one: one.id)
        log = sorted(await rows(database, FeedEvent), key=lambda one: one.seq)
        held = {one.node_code: one.state for one in await rows(database, Custody)}
        await database.close()
        done = [one.type for one in steps]
        assert done == ["report.opened", "report.forwarded"][: len(done)]
        assert [one.type for one in log if one.topic == "report"] == ["report.received", *done]
        assert [one.seq for one in log] == list(itertools.islice(itertools.count(1), len(log)))
        assert held == [{TOWN: "received"}, {TOWN: "opened"}, {TOWN: "forwarded", CITY: "received"}][len(done)]
    assert points > 15
