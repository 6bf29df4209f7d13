"""No open alert is lowered or lost when incidents are merged or split; each end names what stands for it."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.incidents.models import Incident
from app.reports.models import Report
from tests.alerts.acts import act as alert_act
from tests.alerts.acts import alert_of, at_town, got, pass_time
from tests.builders import CITY, EXTREME, NEIGHBOUR, THIRD, TOWN, URGENT, VILLAGE
from tests.matters.acts import ON_ONE_DATABASE, As, agree, done, post
from tests.tables import rows

pytestmark = pytest.mark.anyio


async def open_alerts(client: httpx.AsyncClient, as_: As) -> dict[str, tuple[str, str, str]]:
    """Of each alert that is not closed: its incident, level and state."""
    items = (await got(client, as_(CITY, "desk"), "/v1/alerts"))["items"]
    return {item["id"]: (item["incident_id"], item["level"], item["state"]) for item in items}


async def heard(client: httpx.AsyncClient, headers: dict[str, str], start: str) -> list[tuple[str, str]]:
    changes = (await got(client, headers, "/v1/alerts/changes", since=start))["results"]
    return [(change["type"], change["alert"]["id"]) for change in changes]


async def two(
    client: httpx.AsyncClient, as_: As, first: dict[str, Any], second: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    one = await post(client, as_(VILLAGE, "reporter"), **first)
    other = await post(client, as_(NEIGHBOUR, "reporter"), **second)
    return one, other


async def test_an_alert_goes_along_where_the_other_has_none(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, other = await two(client, as_, {}, URGENT)
    town = as_(TOWN, "desk")
    await alert_act(client, town, other["alert_id"], "acknowledge")
    start = (await got(client, town, "/v1/alerts"))["cursor"]

    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    alert = other["alert_id"]
    assert await open_alerts(client, as_) == {alert: (one["incident_id"], "orange", "acknowledged")}
    assert await heard(client, town, start) == [("alert.updated", alert)]
    # Whoever reported any of it sees it now.
    shown = await alert_of(client, as_(VILLAGE, "reporter"), alert)
    assert (shown["reports"], shown["owner"]["node"]) == (2, TOWN)
    worse = await post(client, as_(VILLAGE, "reporter"), kind="followup", **EXTREME)
    assert worse["alert_id"] == alert
    assert await open_alerts(client, as_) == {alert: (one["incident_id"], "red", "raised")}

    steps = (await got(client, town, f"/v1/alerts/{alert}/timeline"))["items"]
    assert "转入“【演练】河水上涨”" in steps[2]["text_zh"]


@ON_ONE_DATABASE
async def test_it_comes_back_when_the_merge_is_undone(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_, {}, URGENT)
    town = as_(TOWN, "desk")
    before = await open_alerts(client, as_)
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert await open_alerts(client, as_) == before


async def test_of_two_alerts_the_targets_stands_raised_to_the_graver_level(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, other = await two(client, as_, URGENT, EXTREME)
    town = as_(TOWN, "desk")
    start = (await got(client, town, "/v1/alerts"))["cursor"]

    merged = await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    assert await open_alerts(client, as_) == {one["alert_id"]: (one["incident_id"], "red", "raised")}
    assert await heard(client, town, start) == [
        ("alert.upgraded", one["alert_id"]),
        ("alert.closed", other["alert_id"]),
    ]
    assert {alert["id"]: alert["state"] for alert in merged["alerts"]} == {
        one["alert_id"]: "raised",
        other["alert_id"]: "closed",
    }
    closed = await alert_of(client, as_(CITY, "desk"), other["alert_id"])
    assert one["alert_id"] in closed["close_reason"]
    steps = (await got(client, as_(CITY, "desk"), f"/v1/alerts/{other['alert_id']}/timeline"))["items"]
    assert (steps[-1]["node"], one["alert_id"] in steps[-1]["text_zh"]) == (TOWN, True)
    # The alert that told of a report goes on being its alert.
    assert {str(row.alert_id) for row in await rows(database, Report)} == {one["alert_id"], other["alert_id"]}


@ON_ONE_DATABASE
async def test_who_owned_something_smaller_is_asked_again(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_, URGENT, EXTREME)
    town = as_(TOWN, "desk")
    await alert_act(client, town, one["alert_id"], "acknowledge")

    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    alert = await alert_of(client, town, one["alert_id"])
    assert (alert["state"], alert["owner"], alert["level"]) == ("raised", None, "red")
    assert alert["reasons"][0]["rule"] == "alert.rearmed"


@ON_ONE_DATABASE
async def test_no_clock_runs_later_for_a_merge(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, app: FastAPI
) -> None:
    other = await post(client, as_(NEIGHBOUR, "reporter"), **URGENT)
    clock.advance(timedelta(minutes=3))
    one = await post(client, as_(VILLAGE, "reporter"), **URGENT)
    town = as_(TOWN, "desk")
    first = await alert_of(client, town, other["alert_id"])

    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    alert = await alert_of(client, town, one["alert_id"])
    assert alert["due_at"] == first["due_at"]
    assert alert["escalation"]["next_at"] == first["escalation"]["next_at"]


@ON_ONE_DATABASE
async def test_a_report_left_unopened_is_still_bypassed_after_the_merge(
    client: httpx.AsyncClient, as_: As, app: FastAPI
) -> None:
    one, other = await two(client, as_, EXTREME, EXTREME)

    await done(client, as_(CITY, "desk"), other["incident_id"], "merge", into=one["incident_id"])
    await pass_time(app, 24 * 60)

    shown = await got(client, as_(NEIGHBOUR, "reporter"), f"/v1/reports/{other['id']}")
    assert at_town(shown)["bypassed_at"] is not None


@ON_ONE_DATABASE
async def test_whoever_merges_has_opened_what_it_holds(client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
    one, other = await two(client, as_, EXTREME, EXTREME)

    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    shown = await got(client, as_(NEIGHBOUR, "reporter"), f"/v1/reports/{other['id']}")
    assert at_town(shown)["state"] == "opened"


async def test_each_side_of_a_split_has_its_alert_again(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one, other = await two(client, as_, URGENT, EXTREME)
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    start = (await got(client, town, "/v1/alerts"))["cursor"]

    split = await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    found = await open_alerts(client, as_)
    # The level that it was raised to stays until an office closes it.
    assert found.pop(one["alert_id"]) == (one["incident_id"], "red", "raised")
    assert list(found.values()) == [(other["incident_id"], "red", "raised")]
    assert [kind for kind, _ in await heard(client, town, start)] == ["alert.updated", "alert.raised"]
    raised = await alert_of(client, as_(NEIGHBOUR, "reporter"), next(iter(found)))
    assert raised["reasons"][0]["rule"] == "alert.split"
    assert {alert["id"] for alert in split["alerts"]} == {one["alert_id"], raised["id"]}
    await agree(database)


@ON_ONE_DATABASE
async def test_what_an_office_has_closed_is_not_raised_by_a_split(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_, URGENT, EXTREME)
    town = as_(TOWN, "desk")
    await alert_act(client, town, other["alert_id"], "close", reason="【演练】险情排除")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    assert await open_alerts(client, as_) == {one["alert_id"]: (one["incident_id"], "orange", "raised")}

    await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert await open_alerts(client, as_) == {one["alert_id"]: (one["incident_id"], "orange", "raised")}


@ON_ONE_DATABASE
async def test_what_was_closed_while_they_were_one_stays_closed(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_, URGENT, EXTREME)
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    await alert_act(client, town, one["alert_id"], "close", reason="【演练】险情排除")

    await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert await open_alerts(client, as_) == {}


@ON_ONE_DATABASE
async def test_an_alert_follows_its_only_reports_into_a_new_incident(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    urgent = await post(client, as_(TOWN, "desk"), node=NEIGHBOUR, incident_id=one["incident_id"], **URGENT)

    split = await done(client, as_(TOWN, "desk"), one["incident_id"], "split", reports=[urgent["id"]])

    assert await open_alerts(client, as_) == {urgent["alert_id"]: (split["other"]["id"], "orange", "raised")}


async def test_an_urgent_report_that_leaves_gets_an_alert_of_its_own_level(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), **EXTREME)
    town = as_(TOWN, "desk")
    urgent = await post(client, town, node=NEIGHBOUR, incident_id=one["incident_id"], **URGENT)
    routine = await post(client, town, node=THIRD, incident_id=one["incident_id"])

    first = await done(client, town, one["incident_id"], "split", reports=[urgent["id"]])
    second = await done(client, town, one["incident_id"], "split", reports=[routine["id"]])

    found = {incident: (level, state) for incident, level, state in (await open_alerts(client, as_)).values()}
    assert found == {one["incident_id"]: ("red", "raised"), first["other"]["id"]: ("orange", "raised")}
    assert second["other"]["level"] == "routine"
    # And when it is split once more.
    again = await post(client, town, node=THIRD, incident_id=first["other"]["id"])
    third = await done(client, town, first["other"]["id"], "split", reports=[urgent["id"]])
    assert again["incident_id"] == first["other"]["id"]
    assert (third["other"]["id"], "orange", "raised") in (await open_alerts(client, as_)).values()


async def test_an_incident_nobody_reported_keeps_its_level_through_a_merge_and_its_undoing(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    silent = new_id()
    async with database.writing() as conn:
        row = next(row for row in await rows(database, Incident))._asdict()
        await conn.execute(
            insert(Incident),
            {
                **row,
                "id": silent,
                "origin": "silence",
                "node_code": NEIGHBOUR,
                "nodes": [NEIGHBOUR],
                "reports": 0,
                "level": "orange",
                "headline": "【演练】东堤村失联",
                "here": "silence@" + NEIGHBOUR,
            },
        )
    town = as_(TOWN, "desk")

    merged = await done(client, town, one["incident_id"], "merge", into=str(silent))
    assert (merged["incident"]["level"], merged["incident"]["reports"]) == ("orange", 1)
    split = await done(client, town, str(silent), "split", alias=one["incident_id"])

    assert (split["incident"]["level"], split["incident"]["reports"]) == ("orange", 0)
    assert split["incident"]["headline"] == "【演练】东堤村失联"
    back = await done(client, town, str(silent), "merge", into=one["incident_id"])
    assert (back["incident"]["level"], back["incident"]["reports"]) == ("orange", 1)
    await done(client, town, one["incident_id"], "split", alias=str(silent))
    await agree(database)
