"""A town that does not open an urgent report in time is bypassed to the city, and sees that it was."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.database import Database
from app.feed.models import FeedEvent
from tests.accounts.people import bearer, create_key
from tests.alerts.acts import act, alert_of, at_town, got, pass_time, told
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

WHEN = (NOON + timedelta(minutes=15)).isoformat().replace("+00:00", "Z")


async def bypassed(database: Database) -> list[tuple[str, str]]:
    """Of each bypassing that the log tells: the office, and where the report came from."""
    return [
        (event.body["bypassed"], event.body["node"])
        for event in await rows(database, FeedEvent)
        if event.type == "report.bypassed"
    ]


async def test_a_town_that_left_the_report_unopened_is_bypassed_and_sees_it_itself(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    desk = as_(TOWN, "desk")
    reported = await raise_alert(client, as_)
    cursor = (await got(client, desk, "/v1/alerts"))["cursor"]

    await pass_time(app, 14)
    early = await told(client, desk, since=cursor)
    await pass_time(app, 1)
    change = (await got(client, desk, "/v1/alerts/changes", since=cursor))["results"]
    held = at_town(await got(client, desk, f"/v1/reports/{reported['id']}"))

    assert early == []
    assert [one["type"] for one in change] == ["alert.bypassed"]
    alert = change[0]["alert"]
    assert (alert["state"], alert["owner"], alert["escalation"]["to"]) == ("raised", None, ["city.desk"])
    assert alert["reasons"][0] == {
        "rule": "escalation.bypass",
        "text": "上口镇 did not open the report in time: bypassed to the city.",
        "text_zh": "上口镇未按时开阅，已越级提请市级处置。",
    }
    # Opened by this very reading, and bypassed all the same.
    assert (held["node"], held["state"], held["bypassed_at"]) == (TOWN, "opened", WHEN)
    steps = (await got(client, desk, f"/v1/alerts/{reported['alert_id']}/timeline"))["items"]
    assert [(step["type"], step["step"], step["node"]) for step in steps] == [
        ("alert.raised", 1, None),
        ("alert.bypassed", 2, None),
    ]
    assert await bypassed(database) == [(TOWN, VILLAGE)]


async def test_a_town_is_bypassed_once(app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database) -> None:
    await raise_alert(client, as_)
    for _ in range(4):
        await pass_time(app, 7)

    assert await bypassed(database) == [(TOWN, VILLAGE)]
    assert [kind for kind, _, _ in await told(client, as_(CITY, "desk"))] == ["alert.raised", "alert.bypassed"]


@pytest.mark.parametrize(
    ("role", "path"),
    [("desk", "/v1/reports/{id}"), ("desk", "/v1/alerts/{alert_id}"), ("supervisor", "/v1/reports/{id}")],
)
async def test_a_town_that_reads_the_report_in_time_is_not(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, role: str, path: str
) -> None:
    reported = await raise_alert(client, as_)
    await pass_time(app, 14)

    await got(client, as_(TOWN, role), path.format_map(reported))
    await pass_time(app, 60)

    held = at_town(await got(client, as_(VILLAGE, "reporter"), f"/v1/reports/{reported['id']}"))
    assert (held["state"], held["bypassed_at"]) == ("opened", None)
    assert held["opened_at"] == (NOON + timedelta(minutes=14)).isoformat().replace("+00:00", "Z")
    assert await bypassed(database) == []


async def test_what_nobody_at_the_desk_has_read_is_not_opened(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reported = await raise_alert(client, as_)
    made = await create_key(client, node=TOWN, scopes=["reports:read", "alerts:read", "alerts:act"])
    key = bearer(made.json()["key"])

    # A machine; a list; those who have it in sight but are not the town; and the town's own reporter.
    for headers in (key, as_(CITY, "desk"), as_(VILLAGE, "desk"), as_(TOWN, "reporter")):
        await got(client, headers, f"/v1/reports/{reported['id']}")
        await got(client, headers, f"/v1/alerts/{reported['alert_id']}")
    for path in ("/v1/reports", "/v1/alerts", "/v1/alerts/changes"):
        await got(client, as_(TOWN, "desk"), path)
    await pass_time(app, 15)

    assert await bypassed(database) == [(TOWN, VILLAGE)]


async def test_an_office_that_acknowledges_has_opened_it(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reported = await raise_alert(client, as_)
    await act(client, as_(TOWN, "desk"), reported["alert_id"], "acknowledge")

    await pass_time(app, 60)

    held = at_town(await got(client, as_(CITY, "reporter"), f"/v1/reports/{reported['id']}"))
    noon = NOON.isoformat().replace("+00:00", "Z")
    assert (held["state"], held["opened_at"], held["acknowledged_at"]) == ("acknowledged", noon, noon)
    assert await bypassed(database) == []


async def test_when_the_city_has_taken_it_on_the_town_is_still_told_and_the_owner_remains(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reported = await raise_alert(client, as_)
    await act(client, as_(CITY, "desk"), reported["alert_id"], "acknowledge")

    await pass_time(app, 15)

    alert = await alert_of(client, as_(CITY, "desk"), reported["alert_id"])
    assert (alert["state"], alert["owner"]["node"], alert["escalation"]["step"]) == ("acknowledged", CITY, 1)
    assert alert["reasons"][0]["rule"] == "escalation.bypass"
    assert await bypassed(database) == [(TOWN, VILLAGE)]


@pytest.mark.parametrize("village", [VILLAGE, None])
async def test_a_town_is_not_bypassed_for_what_it_filed_itself(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, village: str | None
) -> None:
    body = report(**URGENT, node=village)
    answer = await client.post("/v1/reports", json=body, headers=as_(TOWN, "desk"))
    assert answer.status_code == 201

    await pass_time(app, 60)

    assert await bypassed(database) == []
    assert "alert.bypassed" not in [kind for kind, _, _ in await told(client, as_(CITY, "desk"))]


async def test_a_report_that_is_not_urgent_waits_for_its_town(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reported = await raise_alert(client, as_, severity="Minor")

    await pass_time(app, 10 * 24 * 60)

    assert reported["alert_id"] is None
    assert await bypassed(database) == []


async def test_nobody_is_bypassed_after_the_alert_was_closed(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reported = await raise_alert(client, as_)
    await act(client, as_(CITY, "desk"), reported["alert_id"], "close", reason="【演练】误报")

    await pass_time(app, 60)

    held = at_town(await got(client, as_(VILLAGE, "reporter"), f"/v1/reports/{reported['id']}"))
    assert (held["state"], held["bypassed_at"]) == ("received", None)
    assert [kind for kind, _, _ in await told(client, as_(CITY, "desk"))] == ["alert.raised", "alert.closed"]


async def test_a_later_report_of_the_incident_is_to_be_opened_too(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    desk = as_(TOWN, "desk")
    first = await raise_alert(client, as_)
    await act(client, desk, first["alert_id"], "acknowledge")
    second = await raise_alert(client, as_, kind="followup", **EXTREME)

    await pass_time(app, 5)

    held = [at_town(await got(client, as_(CITY, "reporter"), f"/v1/reports/{one['id']}")) for one in (first, second)]
    assert [one["bypassed_at"] is not None for one in held] == [False, True]
    assert second["alert_id"] == first["alert_id"]


async def test_who_owns_the_alert_is_not_bypassed_for_its_further_reports(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    first = await raise_alert(client, as_)
    await act(client, as_(TOWN, "desk"), first["alert_id"], "acknowledge")
    further = await raise_alert(client, as_, kind="followup")

    await pass_time(app, 60)

    assert at_town(further)["state"] == "received"
    assert await bypassed(database) == []


async def test_of_several_reports_each_is_told_of_and_the_alert_once(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    first = await raise_alert(client, as_)
    await raise_alert(client, as_, kind="followup")

    await pass_time(app, 15)

    assert await bypassed(database) == [(TOWN, VILLAGE), (TOWN, VILLAGE)]
    assert await told(client, as_(TOWN, "desk")) == [
        ("alert.raised", 1, 1),
        ("alert.updated", 2, 1),
        ("alert.bypassed", 3, 2),
    ]
    assert (await alert_of(client, as_(TOWN, "desk"), first["alert_id"]))["version"] == 3


async def test_of_two_towns_with_one_incident_each_is_bypassed_for_itself_alone(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    first = await raise_alert(client, as_)
    body: dict[str, Any] = {"node": FAR_VILLAGE, "incident_id": first["incident_id"]}
    second = await client.post("/v1/reports", json=report(**URGENT, **body), headers=as_(CITY, "desk"))
    assert second.json()["alert_id"] == first["alert_id"]
    await got(client, as_(TOWN, "desk"), f"/v1/alerts/{first['alert_id']}")

    await pass_time(app, 15)

    assert await bypassed(database) == [(OTHER_TOWN, FAR_VILLAGE)]
    # Both towns see the alert, so both see what became of it.
    for town in (TOWN, OTHER_TOWN):
        alert = await alert_of(client, as_(town, "desk"), first["alert_id"])
        assert alert["reasons"][0]["text_zh"].startswith("圣城街道")


async def test_of_two_towns_that_are_both_bypassed_each_finds_its_own_reason(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    first = await raise_alert(client, as_)
    body: dict[str, Any] = {"node": FAR_VILLAGE, "incident_id": first["incident_id"]}
    await client.post("/v1/reports", json=report(**URGENT, **body), headers=as_(CITY, "desk"))

    await pass_time(app, 15)

    assert sorted(await bypassed(database)) == [(OTHER_TOWN, FAR_VILLAGE), (TOWN, VILLAGE)]
    alert = await alert_of(client, as_(CITY, "desk"), first["alert_id"])
    said = [reason["text"].split(" did")[0] for reason in alert["reasons"] if reason["rule"] == "escalation.bypass"]
    assert sorted(said) == ["上口镇", "圣城街道"]
    steps = (await got(client, as_(TOWN, "desk"), f"/v1/alerts/{first['alert_id']}/timeline"))["items"]
    assert [(step["type"], step["step"]) for step in steps[-2:]] == [("alert.bypassed", 2), ("alert.bypassed", 2)]


async def test_the_neighbours_of_a_bypassed_town_are_left_alone(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    await raise_alert(client, as_)
    other = await raise_alert(client, as_, village=FAR_VILLAGE)
    await raise_alert(client, as_, village=NEIGHBOUR, severity="Minor")
    await got(client, as_(OTHER_TOWN, "desk"), f"/v1/reports/{other['id']}")

    await pass_time(app, 15)

    assert await bypassed(database) == [(TOWN, VILLAGE)]
    assert "alert.bypassed" not in [kind for kind, _, _ in await told(client, as_(OTHER_TOWN, "desk"))]
