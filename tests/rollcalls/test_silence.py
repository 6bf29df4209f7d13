"""Who is silent, how much that weighs, when it is an alert, and what ends it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.drills.models import Drill
from app.feed.models import FeedEvent
from app.rollcalls import engine
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    NOON,
    OTHER_TOWN,
    THIRD,
    TOWN,
    VILLAGE,
    report,
)
from tests.rollcalls.test_rollcalls import answer, ask, run
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
HALF_AN_HOUR = timedelta(minutes=30)


def set_silence(app: FastAPI, **changes: Any) -> None:
    policy = app.state.policy
    app.state.policy = policy.model_copy(update={"silence": policy.silence.model_copy(update=changes)})


async def silent(client: httpx.AsyncClient, as_: As, node: str = CITY, **params: Any) -> list[dict[str, Any]]:
    found = await client.get("/v1/silence", params=params, headers=as_(node, "desk"))
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def found_alerts(client: httpx.AsyncClient, as_: As, **params: Any) -> list[dict[str, Any]]:
    listed = await client.get("/v1/alerts", params=params, headers=as_(CITY, "desk"))
    return [one for one in listed.json()["items"] if one["origin"] == "silence"]


async def post(client: httpx.AsyncClient, as_: As, node: str, **changes: Any) -> dict[str, Any]:
    sent = await client.post("/v1/reports", json=report(**changes), headers=as_(node, "reporter"))
    assert sent.status_code == 201, sent.text
    stored: dict[str, Any] = sent.json()
    return stored


async def all_but_one_answer(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, app: FastAPI, *, missing: str = NEIGHBOUR, **asked: Any
) -> str:
    """The villages of the town have been heard from; then all but one answer a round, which closes."""
    for village in (VILLAGE, NEIGHBOUR, THIRD, FOURTH):
        await post(client, as_, village, hazard="weather.wind", drill_id=asked.get("drill_id"))
    clock.advance(timedelta(minutes=1))
    call = (await ask(client, as_(TOWN, "desk"), **asked))["id"]
    for village in {VILLAGE, NEIGHBOUR, THIRD, FOURTH} - {missing}:
        assert (await answer(client, as_(village, "reporter"), call)).status_code == 200
    clock.advance(HALF_AN_HOUR)
    await run(app)
    return str(call)


async def test_a_lone_quiet_village_is_listed_with_since_when_and_why_and_is_no_alert(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    call = await all_but_one_answer(client, as_, clock, app)

    (one,) = await silent(client, as_)

    assert (one["node"], one["town"], one["missed"], one["roll_call_id"]) == (NEIGHBOUR, TOWN, 1, call)
    assert one["since"] == one["last_report_at"] == "2018-08-20T04:15:00Z"
    assert one["last_answer_at"] is None
    assert [reason["rule"] for reason in one["reasons"]] == ["silence.missed"]
    assert await found_alerts(client, as_) == []
    assert await silent(client, as_, TOWN) == [one]
    assert await silent(client, as_, OTHER_TOWN) == []


async def test_a_village_silent_beside_a_red_flood_is_an_orange_alert_with_its_reasons(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)

    await all_but_one_answer(client, as_, clock, app)

    (alert,) = await found_alerts(client, as_)
    (one,) = await silent(client, as_)
    assert (alert["level"], alert["hazard"], alert["node"]["code"]) == ("orange", "contact.lost", NEIGHBOUR)
    assert [reason["rule"] for reason in alert["reasons"]] == ["silence.missed", "silence.near"]
    assert alert["escalation"]["next_at"]
    assert one["alert_id"] == alert["id"]
    assert one["weight"] == 7
    seen = (await client.get("/v1/alerts/changes", headers=as_(TOWN, "desk"))).json()["results"]
    assert seen[-1]["alert"]["id"] == alert["id"]


async def test_silence_weighs_more_once_a_hazard_opens_beside_it(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await all_but_one_answer(client, as_, clock, app)
    assert await found_alerts(client, as_) == []

    await post(client, as_, VILLAGE, **EXTREME)
    await run(app)
    await run(app)

    (alert,) = await found_alerts(client, as_)
    assert alert["node"]["code"] == NEIGHBOUR


@pytest.mark.parametrize("alert_never_heard", [True, False])
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_whether_a_village_never_heard_from_is_an_alert_is_policy(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, alert_never_heard: bool
) -> None:
    set_silence(app, alert_never_heard=alert_never_heard)
    await post(client, as_, VILLAGE, **EXTREME)
    clock.advance(timedelta(minutes=1))
    await ask(client, as_(TOWN, "desk"))
    clock.advance(HALF_AN_HOUR)
    await run(app)

    listed = await silent(client, as_)

    assert {one["node"] for one in listed} == {NEIGHBOUR, THIRD, FOURTH, VILLAGE}
    never = [one for one in listed if one["since"] is None]
    assert len(never) == 3
    assert all(one["reasons"][-1]["rule"] == "silence.never_heard" for one in never)
    alerted = {VILLAGE, NEIGHBOUR, THIRD, FOURTH} if alert_never_heard else {VILLAGE}
    assert {alert["node"]["code"] for alert in await found_alerts(client, as_)} == alerted


@pytest.mark.parametrize("by", ["answer", "report"])
async def test_being_heard_again_ends_the_silence_and_its_alert_with_the_reason(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, by: str
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    call = await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)
    clock.advance(timedelta(minutes=7))

    if by == "answer":
        late = await answer(client, as_(NEIGHBOUR, "reporter"), call)
        assert late.json()["late"]
    else:
        await post(client, as_, NEIGHBOUR)
    at_once = await silent(client, as_)
    await run(app)

    assert at_once == await silent(client, as_) == []
    ended = (await client.get(f"/v1/alerts/{alert['id']}", headers=as_(CITY, "desk"))).json()
    assert ended["state"] == "closed"
    assert ended["close_reason"] == "12:53 恢复联系。"
    assert await found_alerts(client, as_) == []


async def test_many_silent_villages_of_one_town_are_one_alert_of_the_town_which_ends_with_the_last(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    set_silence(app, together_at_least=3)
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app, missing="nobody")
    call = (await ask(client, as_(TOWN, "desk")))["id"]
    await answer(client, as_(VILLAGE, "reporter"), call)
    clock.advance(HALF_AN_HOUR)
    await run(app)

    (alert,) = await found_alerts(client, as_)
    assert (alert["node"]["code"], alert["reasons"][0]["rule"]) == (TOWN, "silence.together")
    assert {one["alert_id"] for one in await silent(client, as_)} == {alert["id"]}
    for village, still in ((NEIGHBOUR, 1), (THIRD, 1), (FOURTH, 0)):
        clock.advance(timedelta(minutes=1))
        await post(client, as_, village)
        await run(app)
        assert len(await found_alerts(client, as_)) == still


async def test_roll_calls_missed_in_a_row_are_counted_until_one_is_answered(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE)
    missed = []
    for turn in range(4):
        clock.advance(timedelta(minutes=1))
        call = (await ask(client, as_(VILLAGE, "desk"), node=VILLAGE))["id"]
        if turn == 2:
            await answer(client, as_(VILLAGE, "reporter"), call)
        clock.advance(HALF_AN_HOUR)
        await run(app)
        missed.append([one["missed"] for one in await silent(client, as_)])

    assert missed == [[1], [2], [], [1]]


async def test_a_drills_roll_call_runs_at_its_pace_and_stays_apart_from_the_real(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    drill = new_id()
    async with database.writing() as conn:
        row = {"city_id": CITY, "id": drill, "node_code": CITY, "title": "【演练】", "pace": 60.0, "began_at": NOON}
        await conn.execute(insert(Drill), [row])
    await post(client, as_, VILLAGE, **EXTREME)  # real: no danger of the drill's

    call = await all_but_one_answer(client, as_, clock, app, drill_id=str(drill))
    shown = (await client.get(f"/v1/rollcalls/{call}", headers=as_(CITY, "desk"))).json()
    assert shown["due_at"] == "2018-08-20T04:16:30Z"
    assert [one["node"] for one in await silent(client, as_, drill=str(drill))] == [NEIGHBOUR]
    assert await silent(client, as_) == []
    assert await found_alerts(client, as_, drill=str(drill)) == []

    await post(client, as_, VILLAGE, drill_id=str(drill), **EXTREME)
    await run(app)
    assert [one["node"]["code"] for one in await found_alerts(client, as_, drill=str(drill))] == [NEIGHBOUR]
    assert await found_alerts(client, as_) == []
    # A real report is not heard in the drill.
    await post(client, as_, NEIGHBOUR)
    await run(app)
    assert [one["node"] for one in await silent(client, as_, drill=str(drill))] == [NEIGHBOUR]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_thousand_answers_of_nothing_do_not_fill_the_log(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    before = len((await client.get("/v1/alerts/changes", headers=as_(CITY, "desk"))).json()["results"])
    call = (await ask(client, as_(CITY, "desk"), node=CITY))["id"]
    for village in (VILLAGE, NEIGHBOUR, THIRD, FOURTH, FAR_VILLAGE):
        await answer(client, as_(village, "reporter"), call)
    clock.advance(HALF_AN_HOUR)
    await run(app)

    told = [event for event in await rows(database, FeedEvent) if event.topic == "rollcall"]
    assert [event.type for event in told] == ["rollcall.opened", "rollcall.due"]
    assert told[1].body["counts"] == {"nothing": 5}
    assert before == 0


async def test_two_processes_at_once_close_a_roll_call_once(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await post(client, as_, NEIGHBOUR, hazard="weather.wind")
    clock.advance(timedelta(minutes=1))
    await ask(client, as_(TOWN, "desk"))
    set_silence(app, alert_never_heard=False)
    clock.advance(HALF_AN_HOUR + timedelta(seconds=1))
    other = Database(app.state.settings.database_url, pool=2)

    await asyncio.gather(*(engine.run_due(one, policy=app.state.policy, clock=clock) for one in (database, other)))
    await other.close()

    told = [event.type for event in await rows(database, FeedEvent) if event.topic == "rollcall"]
    assert sorted(told) == ["rollcall.due", "rollcall.opened", "silence.found", "silence.found"]
    assert len(await found_alerts(client, as_)) == 2
