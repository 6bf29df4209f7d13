"""An office that an acknowledgement does not cover raises the alert again; those that follow soon are gathered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.alerts import engine
from app.core.ids import new_id
from tests.alerts.acts import act, alert_of, got, pass_time, told
from tests.alerts.test_polling import raise_alert
from tests.alerts.test_until import minutes
from tests.builders import CITY, EXTREME, FAR_VILLAGE, FOURTH, NEIGHBOUR, THIRD, TOWN, URGENT, VILLAGE, report
from tests.matters.acts import done, post

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def acknowledged(client: httpx.AsyncClient, as_: As, by: str = TOWN) -> dict[str, Any]:
    """An orange alert of the first village, which an office has acknowledged."""
    stored = await raise_alert(client, as_)
    assert (await act(client, as_(by, "desk"), stored["alert_id"], "acknowledge")).json()["applied"]
    return stored


async def joins(client: httpx.AsyncClient, as_: As, node: str, stored: dict[str, Any], **changes: Any) -> None:
    """Another village's urgent report of the same incident, sent by its town."""
    sent = await post(client, as_(TOWN, "desk"), node=node, incident_id=stored["incident_id"], **(URGENT | changes))
    assert sent["alert_id"] == stored["alert_id"]


def names(alert: dict[str, Any]) -> list[str]:
    return [office["code"] for office in alert["new_offices"]]


async def test_the_first_other_office_raises_it_again_at_once_and_is_named(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    stored = await acknowledged(client, as_)
    app.state.clock.advance(timedelta(minutes=20))

    await joins(client, as_, NEIGHBOUR, stored)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (await told(client, as_(CITY, "reporter")))[-1] == ("alert.rearmed", 3, 1)
    assert (alert["state"], alert["owner"], names(alert)) == ("raised", None, [NEIGHBOUR])
    assert alert["last_owner"]["node"] == TOWN
    assert alert["due_at"] == minutes(35)
    assert alert["escalation"] == {"step": 1, "next_at": minutes(35), "to": ["town.desk"]}
    why = alert["reasons"][0]
    assert why["rule"] == "alert.new_office"
    assert why["text"] == "Raised again: 东堤村 reported it after 上口镇 had acknowledged it."
    assert why["text_zh"] == "重新触发：上口镇确认后，东堤村又报告了紧急情况。"


async def test_the_city_that_had_it_is_asked_first(client: httpx.AsyncClient, as_: As) -> None:
    stored = await acknowledged(client, as_, CITY)

    await joins(client, as_, NEIGHBOUR, stored)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert alert["escalation"] == {"step": 2, "next_at": minutes(15), "to": ["city.desk"]}
    assert alert["last_owner"]["node"] == CITY


async def test_what_the_acknowledgement_covers_only_updates_it(client: httpx.AsyncClient, as_: As) -> None:
    stored = await raise_alert(client, as_)
    await joins(client, as_, NEIGHBOUR, stored)
    await act(client, as_(TOWN, "desk"), stored["alert_id"], "acknowledge")

    await joins(client, as_, NEIGHBOUR, stored)
    await raise_alert(client, as_)
    # Not urgent: no cry.
    await post(client, as_(TOWN, "desk"), node=THIRD, incident_id=stored["incident_id"])

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], names(alert), alert["reports"]) == ("acknowledged", [], 5)


async def test_later_ones_are_gathered_and_raise_it_together_when_the_window_ends(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    stored = await acknowledged(client, as_)
    await joins(client, as_, NEIGHBOUR, stored)
    await act(client, as_(TOWN, "desk"), stored["alert_id"], "acknowledge")
    await pass_time(app, 3)

    await joins(client, as_, THIRD, stored)
    await pass_time(app, 4)
    await joins(client, as_, FOURTH, stored)
    gathered = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    await pass_time(app, 2.9)
    before = await told(client, as_(CITY, "reporter"))
    await pass_time(app, 0.1)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (gathered["state"], names(gathered)) == ("acknowledged", [THIRD, FOURTH])
    after = await told(client, as_(CITY, "reporter"))
    assert [kind for kind, _, _ in after[len(before) :]] == ["alert.rearmed"]
    assert (alert["state"], names(alert), alert["last_owner"]["node"]) == ("raised", [THIRD, FOURTH], TOWN)
    assert alert["reasons"][0]["rule"] == "alert.new_office"
    assert "西堤村" in alert["reasons"][0]["text_zh"]
    assert "南堤村" in alert["reasons"][0]["text_zh"]
    steps = (await got(client, as_(CITY, "desk"), f"/v1/alerts/{stored['alert_id']}/timeline"))["items"]
    assert [step["type"] for step in steps] == [
        "alert.raised",
        *["alert.acknowledged", "alert.rearmed"] * 2,
    ]


async def test_one_acknowledgement_covers_all_also_those_that_are_gathered(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    stored = await acknowledged(client, as_)
    town = as_(TOWN, "desk")
    await joins(client, as_, NEIGHBOUR, stored)
    await act(client, town, stored["alert_id"], "acknowledge")
    await joins(client, as_, THIRD, stored)

    seen = (await act(client, town, stored["alert_id"], "acknowledge")).json()
    await pass_time(app, 30)

    assert (seen["applied"], seen["new_offices"]) == (True, [])
    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], alert["owner"]["node"]) == ("acknowledged", TOWN)


async def test_after_the_window_the_next_one_raises_it_at_once_again(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    stored = await acknowledged(client, as_)
    await joins(client, as_, NEIGHBOUR, stored)
    await act(client, as_(TOWN, "desk"), stored["alert_id"], "acknowledge")
    await pass_time(app, 10)

    await joins(client, as_, THIRD, stored)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], names(alert)) == ("raised", [THIRD])


async def test_several_of_one_batch_raise_it_together_at_once(client: httpx.AsyncClient, as_: As) -> None:
    stored = await acknowledged(client, as_)
    batch = [
        report(node=node, incident_id=stored["incident_id"], **URGENT) for node in (NEIGHBOUR, THIRD, FOURTH, VILLAGE)
    ]

    await client.post("/v1/reports/batch", json={"reports": batch}, headers=as_(TOWN, "desk"))

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], sorted(names(alert))) == ("raised", [NEIGHBOUR, THIRD, FOURTH])
    assert [kind for kind, _, _ in await told(client, as_(CITY, "reporter"))].count("alert.rearmed") == 1


async def test_a_more_severe_report_raises_it_again_whoever_sends_it(client: httpx.AsyncClient, as_: As) -> None:
    stored = await acknowledged(client, as_)

    await raise_alert(client, as_, **EXTREME)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], alert["level"], alert["reasons"][0]["rule"]) == ("raised", "red", "alert.rearmed")


async def test_a_correction_that_makes_a_report_urgent_raises_it_again(client: httpx.AsyncClient, as_: As) -> None:
    stored = await raise_alert(client, as_)
    town = as_(TOWN, "desk")
    body = report(new_id(), node=NEIGHBOUR, incident_id=stored["incident_id"])
    assert (await client.post("/v1/reports", json=body, headers=town)).status_code == 201
    await act(client, town, stored["alert_id"], "acknowledge")

    corrected = await client.put(f"/v1/reports/{body['id']}", json=body | URGENT, headers=town | {"If-Match": '"1"'})

    assert corrected.status_code == 200, corrected.text
    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], names(alert)) == ("raised", [NEIGHBOUR])


async def test_a_merged_alert_that_nobody_had_raises_the_other_again(client: httpx.AsyncClient, as_: As) -> None:
    ours = await acknowledged(client, as_)
    theirs = await raise_alert(client, as_, FAR_VILLAGE)

    await done(client, as_(CITY, "desk"), theirs["incident_id"], "merge", into=ours["incident_id"])

    alert = await alert_of(client, as_(CITY, "reporter"), ours["alert_id"])
    assert (alert["state"], names(alert), alert["last_owner"]["node"]) == ("raised", [FAR_VILLAGE], TOWN)


async def test_a_merged_alert_that_somebody_had_is_covered(client: httpx.AsyncClient, as_: As) -> None:
    ours = await acknowledged(client, as_)
    theirs = await raise_alert(client, as_, FAR_VILLAGE)
    await act(client, as_(CITY, "desk"), theirs["alert_id"], "acknowledge")

    await done(client, as_(CITY, "desk"), theirs["incident_id"], "merge", into=ours["incident_id"])
    await client.post(
        "/v1/reports",
        json=report(node=FAR_VILLAGE, incident_id=ours["incident_id"], **URGENT),
        headers=as_(CITY, "desk"),
    )

    alert = await alert_of(client, as_(CITY, "reporter"), ours["alert_id"])
    assert (alert["state"], names(alert)) == ("acknowledged", [])


async def test_a_merge_of_offices_makes_no_new_office(client: httpx.AsyncClient, as_: As) -> None:
    stored = await acknowledged(client, as_)
    merged = await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": NEIGHBOUR}, headers=as_(CITY, "admin"))
    assert merged.status_code == 200, merged.text

    await joins(client, as_, NEIGHBOUR, stored)

    alert = await alert_of(client, as_(CITY, "reporter"), stored["alert_id"])
    assert (alert["state"], names(alert)) == ("acknowledged", [])


async def test_of_two_processes_one_raises_it(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    stored = await acknowledged(client, as_)
    await joins(client, as_, NEIGHBOUR, stored)
    await act(client, as_(TOWN, "desk"), stored["alert_id"], "acknowledge")
    await joins(client, as_, THIRD, stored)
    app.state.clock.advance(timedelta(minutes=10))

    for _ in range(2):
        await engine.run_due(app.state.database, clock=app.state.clock)

    kinds = [kind for kind, _, _ in await told(client, as_(CITY, "reporter"))]
    assert kinds.count("alert.rearmed") == 2
