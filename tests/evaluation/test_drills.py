"""A drill ends, nothing of it goes on, and it is evaluated: offices and their deadlines."""

from datetime import datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from app.alerts import engine
from app.alerts.models import Alert, AlertStep
from app.core.clock import ManualClock
from app.core.database import Database
from app.feed.models import FeedEvent
from app.incidents.models import Incident
from app.reports.models import Custody
from app.rollcalls import engine as rollcalls_engine
from app.rollcalls.models import RollCall, RollCallAnswer
from tests.alerts.acts import act, got, pass_time
from tests.builders import CITY, EXTREME, NEIGHBOUR, TOWN, VILLAGE
from tests.drills.acts import As, begin, end, send, share
from tests.tables import rows

pytestmark = pytest.mark.anyio


def minutes_allowed(report: dict[str, object], tier: str) -> float:
    held = next(one for one in report["custody"] if one["tier"] == tier)  # type: ignore[attr-defined]  # JSON
    due, since = (datetime.fromisoformat(held[key]) for key in ("due_at", "since"))
    return (due - since).total_seconds() / 60


async def test_the_end_closes_what_is_open_and_nothing_goes_on(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    city, village = as_(CITY, "desk"), as_(VILLAGE, "reporter")
    drill = (await begin(client, as_(TOWN, "desk")))["id"]
    real = await send(client, village, **EXTREME)
    other = (await begin(client, city))["id"]
    apart = await send(client, village, drill_id=other, **EXTREME)
    raised = await send(client, village, drill_id=drill, **EXTREME)
    taken = await send(client, village, drill_id=drill, hazard="fire.building", **EXTREME)
    quiet = await send(client, village, drill_id=drill, hazard="fire.forest")
    await act(client, as_(TOWN, "desk"), taken["alert_id"], "acknowledge", until="2018-08-20T05:00:00Z")

    await end(client, as_(TOWN, "desk"), drill)

    for stored in (raised, taken, quiet):
        incident = await got(client, city, f"/v1/incidents/{stored['incident_id']}")
        assert (incident["state"], incident["drill_id"]) == ("closed", drill)
    for stored in (raised, taken):
        alert = await got(client, city, f"/v1/alerts/{stored['alert_id']}")
        assert alert["state"] == "closed"
        assert "演练已结束" in alert["close_reason"]
        assert (alert["until"], alert["escalation"]["next_at"]) == (None, None)
        timeline = await got(client, city, f"/v1/alerts/{stored['alert_id']}/timeline")
        last = timeline["items"][-1]
        assert (last["type"], last["node"], last["version"]) == ("alert.closed", TOWN, alert["version"])
        assert (last["text"], last["text_zh"]) == ("上口镇 ended the drill.", "上口镇已结束演练。")
    told = [one.type for one in await rows(database, FeedEvent) if one.drill_id and one.drill_id.hex == _hex(drill)]
    assert [told.count(kind) for kind in ("drill.began", "alert.closed", "incident.closed", "drill.ended")] == [
        1,
        2,
        3,
        1,
    ]

    # The real and the other drill are as they were; of this one nothing is due any more.
    for stored in (real, apart):
        assert (await got(client, city, f"/v1/alerts/{stored['alert_id']}"))["state"] == "raised"
        assert (await got(client, city, f"/v1/incidents/{stored['incident_id']}"))["state"] == "open"
    await pass_time(app, 24 * 60)
    bypassed = {held.report_id.hex for held in await rows(database, Custody) if held.bypassed_at is not None}
    assert bypassed == {_hex(real["id"]), _hex(apart["id"])}
    moved = {step.alert_id.hex for step in await rows(database, AlertStep) if step.type == "alert.escalated"}
    assert moved == {_hex(real["alert_id"]), _hex(apart["alert_id"])}


async def test_an_ended_drill_stays_ended_when_it_is_ended_again(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    city = as_(CITY, "desk")
    drill = (await begin(client, city))["id"]
    await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    first = await end(client, city, drill)
    told, closed = await rows(database, FeedEvent), await rows(database, Alert)

    clock.advance(timedelta(hours=1))
    again = await end(client, city, drill)

    assert again == first
    assert await rows(database, FeedEvent) == told
    assert await rows(database, Alert) == closed
    assert await got(client, city, f"/v1/drills/{drill}/score") == first


async def test_a_drill_done_in_time_is_worth_100(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    city, town = as_(CITY, "desk"), as_(TOWN, "desk")
    drill = (await begin(client, city))["id"]
    stored = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    clock.advance(timedelta(seconds=30))
    await client.get("/v1/alerts", headers=city, params={"drill": drill})
    await client.get(f"/v1/reports/{stored['id']}", headers=town)
    await act(client, city, stored["alert_id"], "acknowledge")

    found = await end(client, city, drill)

    assert (found["total"], found["reports"], found["bypassed"]) == (100.0, 1, [])
    for part in ("alerted", "carried", "opened.town", "opened.city", "acknowledged"):
        assert share(found, part) == (1, 1, 0), part
    assert share(found, "not_bypassed") == (2, 2, 0)
    assert share(found, "roll_calls") == (0, 0, 0)
    assert {(one["text"], one["text_zh"]) for one in found["parts"] if one["part"] == "acknowledged"} == {
        ("acknowledged in time", "按时确认")
    }


async def test_a_town_that_sleeps_is_named_and_costs_its_part(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    city = as_(CITY, "desk")
    drill = (await begin(client, city))["id"]
    stored = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    await client.get("/v1/alerts", headers=city, params={"drill": drill})
    await act(client, city, stored["alert_id"], "acknowledge")
    so_far = await got(client, city, f"/v1/drills/{drill}/score")
    await app.state.sightings.flush(app.state.database)
    await pass_time(app, minutes_allowed(stored, "town"))

    found = await end(client, city, drill)

    assert (share(so_far, "opened.town"), share(so_far, "carried")) == ((0, 0, 1), (0, 0, 1))
    assert so_far["bypassed"] == []
    assert found["bypassed"] == [TOWN]
    assert (share(found, "opened.town"), share(found, "not_bypassed")) == ((1, 0, 0), (2, 1, 0))
    # 20 + 20 + 0 + 10 + 20 + 10 / 2 of 90
    assert found["total"] == 83.3


async def test_what_is_done_after_the_end_does_not_count(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    city, town = as_(CITY, "desk"), as_(TOWN, "desk")
    drill = (await begin(client, city))["id"]
    stored = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    clock.advance(timedelta(seconds=30))
    found = await end(client, city, drill)

    clock.advance(timedelta(seconds=30))
    await client.get(f"/v1/reports/{stored['id']}", headers=town)
    await client.get("/v1/alerts", headers=city, params={"drill": drill, "state": "closed"})
    await app.state.sightings.flush(app.state.database)

    assert await got(client, city, f"/v1/drills/{drill}/score") == found
    assert share(found, "opened.town") == (0, 0, 1)


async def test_acknowledging_is_due_at_the_drills_pace(client: httpx.AsyncClient, as_: As, clock: ManualClock) -> None:
    city = as_(CITY, "desk")
    shares = {}
    for pace in (1, 1000):
        drill = (await begin(client, city, pace=pace))["id"]
        stored = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
        clock.advance(timedelta(seconds=60))
        await act(client, city, stored["alert_id"], "acknowledge")
        shares[pace] = share(await end(client, city, drill), "acknowledged")

    assert shares == {1: (1, 1, 0), 1000: (1, 0, 0)}


async def test_roll_calls_of_a_drill_count_and_end_with_it(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    city = as_(CITY, "desk")
    drill = (await begin(client, city))["id"]

    async def ask(minutes: int) -> str:
        body = {"question": "【演练】有无险情？", "node": TOWN, "due_minutes": minutes, "drill_id": drill}
        answer = await client.post("/v1/rollcalls", headers=city, json=body)
        assert answer.status_code == 201, answer.text
        found: str = answer.json()["id"]
        return found

    async def answer(call: str, node: str) -> None:
        said = await client.post(
            f"/v1/rollcalls/{call}/answers", headers=as_(node, "reporter"), json={"answer": "nothing"}
        )
        assert said.status_code == 200, said.text

    short, long = await ask(10), await ask(60)
    await answer(short, VILLAGE)
    clock.advance(timedelta(minutes=11))
    await answer(short, NEIGHBOUR)
    await answer(long, NEIGHBOUR)
    found = await end(client, city, drill)
    clock.advance(timedelta(minutes=60))
    await rollcalls_engine.run_due(database, policy=app.state.policy, clock=clock)
    await engine.run_due(database, clock=clock)

    # Of the short one's four villages one answered in time; of the long one's, one, and three may yet.
    assert share(found, "roll_calls") == (5, 2, 3)
    assert [call.closed_at for call in await rows(database, RollCall)] == [clock.now() - timedelta(minutes=60)] * 2
    assert [one.silent_since for one in await rows(database, RollCallAnswer)] == [None] * 8
    assert await rows(database, Alert) == await rows(database, Incident) == []


def _hex(given: str) -> str:
    return given.replace("-", "")
