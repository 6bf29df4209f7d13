import asyncio
from collections.abc import Callable

import httpx
import pytest

from app.core.database import Database
from app.feed.models import FeedEvent
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, TOWN, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def test_acknowledging_takes_the_alert_on(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    taken = await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(CITY, "desk"))
    again = await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(CITY, "desk"))

    assert taken.json()["state"] == "acknowledged"
    assert taken.json()["owner"]["node"] == CITY
    assert taken.json()["due_at"] is None
    assert taken.json()["applied"]
    assert again.json() == taken.json() | {"applied": False, "notice": again.json()["notice"]}
    assert again.json()["notice"]["code"] == "alert_yours"


async def test_of_two_who_acknowledge_at_once_one_wins_and_the_other_is_told_who(
    client: httpx.AsyncClient, as_: As
) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    answers = await asyncio.gather(
        *(client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(node, "desk")) for node in (CITY, TOWN))
    )

    won, lost = sorted(answers, key=lambda answer: answer.status_code)
    assert (won.status_code, lost.status_code) == (200, 409)
    assert lost.json()["code"] == "alert_owned"
    assert lost.json()["owner"]["node"] == won.json()["owner"]["node"]


async def test_a_worse_report_raises_an_acknowledged_alert_again(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(CITY, "desk"))

    await raise_alert(client, as_)
    same = (await client.get(f"/v1/alerts/{alert}", headers=as_(CITY, "desk"))).json()
    await raise_alert(client, as_, **EXTREME)
    worse = (await client.get(f"/v1/alerts/{alert}", headers=as_(CITY, "desk"))).json()

    assert (same["state"], same["reports"]) == ("acknowledged", 2)
    assert (worse["state"], worse["level"], worse["owner"], worse["reports"]) == ("raised", "red", None, 3)
    assert worse["due_at"]


async def test_acting_on_a_closed_alert_changes_nothing_and_shows_so(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    desk = as_(CITY, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]
    closed = await client.post(f"/v1/alerts/{alert}/close", json={"reason": "【演练】水退"}, headers=desk)
    before = len(await rows(database, FeedEvent))

    acknowledged = await client.post(f"/v1/alerts/{alert}/acknowledge", headers=desk)
    again = await client.post(f"/v1/alerts/{alert}/close", json={"reason": "别的"}, headers=desk)

    assert closed.json()["state"] == "closed"
    assert acknowledged.json() == again.json()
    assert again.json() == closed.json() | {"applied": False, "notice": again.json()["notice"]}
    assert again.json()["notice"]["code"] == "alert_closed"
    assert len(await rows(database, FeedEvent)) == before


async def test_after_closing_an_urgent_report_raises_a_new_alert(client: httpx.AsyncClient, as_: As) -> None:
    desk = as_(CITY, "desk")
    first = await raise_alert(client, as_)
    await client.post(f"/v1/alerts/{first['alert_id']}/close", json={"reason": "【演练】水退"}, headers=desk)

    second = await raise_alert(client, as_)

    assert second["incident_id"] == first["incident_id"]
    assert second["alert_id"] != first["alert_id"]


async def test_closing_needs_a_reason_without_personal_identifiers(client: httpx.AsyncClient, as_: As) -> None:
    desk = as_(CITY, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]

    without = await client.post(f"/v1/alerts/{alert}/close", json={"reason": ""}, headers=desk)
    blank = await client.post(f"/v1/alerts/{alert}/close", json={"reason": "  "}, headers=desk)
    closed = await client.post(f"/v1/alerts/{alert}/close", json={"reason": "问13800138000"}, headers=desk)

    assert without.status_code == blank.status_code == 422
    assert "13800138000" not in closed.json()["close_reason"]


async def test_a_reporter_reads_alerts_but_does_not_act(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    reporter = as_(VILLAGE, "reporter")

    assert (await client.get(f"/v1/alerts/{alert}", headers=reporter)).status_code == 200
    refused = await client.post(f"/v1/alerts/{alert}/acknowledge", headers=reporter)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
