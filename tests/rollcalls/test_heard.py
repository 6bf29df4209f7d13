"""What counts as being heard, what becomes of silence that lasts, and what the log calls it."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, insert, update

from app.core.clock import ManualClock
from app.core.database import Database
from app.feed.models import FeedAudience, FeedEvent
from app.nodes.models import Node, NodeSpan
from app.reports.models import Report
from app.rollcalls import engine
from app.rollcalls.models import RollCallAnswer
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    OTHER_TOWN,
    THIRD,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.rollcalls.test_rollcalls import answer, ask, run
from tests.rollcalls.test_silence import HALF_AN_HOUR, all_but_one_answer, found_alerts, post, silent
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def missed(client: httpx.AsyncClient, as_: As, clock: ManualClock, app: FastAPI, node: str, **asked: Any) -> str:
    """One more round of this node alone, which it does not answer."""
    clock.advance(timedelta(minutes=1))
    call = (await ask(client, as_(TOWN, "desk"), node=node, **asked))["id"]
    clock.advance(HALF_AN_HOUR)
    await run(app)
    return str(call)


async def alert_of(client: httpx.AsyncClient, as_: As, alert_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/alerts/{alert_id}", headers=as_(CITY, "desk"))).json()
    return found


async def events(database: Database, kind: str) -> list[Any]:
    found = [one for one in await rows(database, FeedEvent) if one.type == kind]
    return sorted(found, key=lambda one: one.seq)


async def test_an_answer_to_the_next_roll_call_ends_the_silence_of_the_one_before(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)

    call = (await ask(client, as_(TOWN, "desk"), node=NEIGHBOUR))["id"]
    clock.advance(timedelta(minutes=9))
    assert (await answer(client, as_(NEIGHBOUR, "reporter"), call)).json()["late"] is False
    await run(app)

    assert await silent(client, as_) == []
    ended = await alert_of(client, as_, alert["id"])
    assert (ended["state"], ended["close_reason"]) == ("closed", "12:55 恢复联系。")


async def test_silence_over_several_roll_calls_is_one_line_and_one_alert_that_a_late_answer_ends(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)
    last = [await missed(client, as_, clock, app, NEIGHBOUR) for _ in range(3)][-1]

    (line,) = await silent(client, as_)
    assert (line["missed"], line["roll_call_id"], line["alert_id"]) == (4, last, alert["id"])
    assert [one.node_code for one in await rows(database, RollCallAnswer) if one.silent] == [NEIGHBOUR]
    assert [one["id"] for one in await found_alerts(client, as_)] == [alert["id"]]
    assert len(await events(database, "silence.found")) == 1

    clock.advance(timedelta(minutes=1))
    await answer(client, as_(NEIGHBOUR, "reporter"), last)
    await run(app)
    assert await silent(client, as_) == []
    assert (await alert_of(client, as_, alert["id"]))["state"] == "closed"
    assert len(await events(database, "silence.ended")) == 1


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_an_alert_that_an_office_has_closed_is_raised_again_by_the_next_silence_alone(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)
    await client.post(f"/v1/alerts/{alert['id']}/close", json={"reason": "【演练】已派人"}, headers=as_(TOWN, "desk"))

    await run(app)
    await run(app)
    assert await found_alerts(client, as_) == []

    await missed(client, as_, clock, app, NEIGHBOUR)
    (again,) = await found_alerts(client, as_)
    assert (again["node"]["code"], again["incident_id"]) == (NEIGHBOUR, alert["incident_id"])


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_graver_hazard_beside_it_raises_the_level_of_silence_once(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE, **URGENT)
    await all_but_one_answer(client, as_, clock, app)
    (yellow,) = await found_alerts(client, as_)

    await post(client, as_, VILLAGE, hazard="dam.breach", **EXTREME)
    await run(app)
    await run(app)

    (orange,) = await found_alerts(client, as_)
    assert (yellow["level"], orange["level"]) == ("yellow", "orange")
    assert (orange["id"], orange["version"]) == (yellow["id"], 2)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_what_its_town_says_of_a_village_out_of_contact_is_not_its_own_voice(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await all_but_one_answer(client, as_, clock, app)
    lost = report(hazard="contact.lost", node=NEIGHBOUR, summary="【演练】电话不通")
    assert (await client.post("/v1/reports", json=lost, headers=as_(TOWN, "desk"))).status_code == 201
    await run(app)
    assert [one["node"] for one in await silent(client, as_)] == [NEIGHBOUR]

    told = report(hazard="flood.river", node=NEIGHBOUR, summary="【演练】村里来电")
    await client.post("/v1/reports", json=told, headers=as_(TOWN, "desk"))
    await run(app)
    assert await silent(client, as_) == []


async def test_a_report_that_was_under_way_while_the_roll_call_closed_is_not_lost(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)
    stored = await post(client, as_, NEIGHBOUR, hazard="weather.hail")
    async with database.writing() as conn:
        # Received a moment before the roll call closed, committed a moment after.
        before = clock.now() - timedelta(seconds=1)
        await conn.execute(update(Report).where(Report.id == UUID(stored["id"])).values(received_at=before))

    await run(app)

    assert await silent(client, as_) == []
    assert (await alert_of(client, as_, alert["id"]))["state"] == "closed"


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_village_that_is_closed_is_silent_no_longer(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    await all_but_one_answer(client, as_, clock, app)
    (alert,) = await found_alerts(client, as_)

    closing = {"closed_on": "2018-08-20"}
    assert (await client.patch(f"/v1/nodes/{NEIGHBOUR}", json=closing, headers=as_(CITY, "admin"))).status_code == 200
    await run(app)

    assert await silent(client, as_) == []
    assert (await alert_of(client, as_, alert["id"]))["close_reason"] == "该单位已撤销。"


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_who_reported_during_a_roll_call_has_missed_none(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    call = (await ask(client, as_(TOWN, "desk"), node=VILLAGE))["id"]
    await post(client, as_, VILLAGE)
    clock.advance(HALF_AN_HOUR)
    await run(app)
    assert await silent(client, as_) == []

    await missed(client, as_, clock, app, VILLAGE)

    assert [one["missed"] for one in await silent(client, as_)] == [1]
    shown = (await client.get(f"/v1/rollcalls/{call}", headers=as_(TOWN, "desk"))).json()
    assert (shown["counts"], shown["silent"]) == ({"waiting": 1}, [])


async def test_a_roll_call_shows_its_counts_by_tier_and_who_is_silent(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    call = (await ask(client, as_(CITY, "desk"), node=CITY, tiers=["village", "town"]))["id"]
    for node in (TOWN, VILLAGE, NEIGHBOUR, THIRD, FAR_VILLAGE):
        await answer(client, as_(node, "desk"), call)

    async def shown(node: str) -> tuple[Any, Any]:
        found = (await client.get(f"/v1/rollcalls/{call}", headers=as_(node, "desk"))).json()
        return found["by_tier"], [one["node"] for one in found["silent"]]

    waiting = {"town": {"nothing": 1, "waiting": 1}, "village": {"nothing": 4, "waiting": 1}}
    assert await shown(CITY) == (waiting, [])
    clock.advance(HALF_AN_HOUR)
    await run(app)
    assert await shown(CITY) == (waiting, [OTHER_TOWN, FOURTH])
    assert await shown(TOWN) == ({"town": {"nothing": 1}, "village": {"nothing": 3, "waiting": 1}}, [FOURTH])


async def test_no_two_events_of_the_log_have_one_subject_and_version(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    call = await all_but_one_answer(client, as_, clock, app, missing=THIRD)
    for why in ("【演练】停电", "【演练】断路"):
        for village in (VILLAGE, NEIGHBOUR):
            await answer(client, as_(village, "reporter"), call, answer="unable", why=why)
    await answer(client, as_(THIRD, "reporter"), call)
    await run(app)

    told = [one for one in await rows(database, FeedEvent) if one.topic == "rollcall"]
    types = sorted(one.type for one in told)
    assert types == ["rollcall.answered"] * 5 + ["rollcall.due", "rollcall.opened", "silence.ended", "silence.found"]
    assert len({(one.subject_id, one.version) for one in told}) == len(told)


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_citys_roll_call_is_told_to_every_town_it_concerns(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    await ask(client, as_(CITY, "desk"), node=CITY)

    (told,) = await events(database, "rollcall.opened")
    audience = {one.node_code for one in await rows(database, FeedAudience) if one.seq == told.seq}
    assert (told.node_code, audience) == (CITY, {TOWN, OTHER_TOWN})


async def test_a_roll_call_of_a_thousand_nodes_opens_and_closes_in_a_few_statements(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    since = (await rows(database, NodeSpan))[0].since
    common = {"city_id": CITY, "tier": "village", "name": "【演练】村", "parent_code": TOWN}
    codes = [f"v{number:04}" for number in range(1200)]
    async with database.writing() as conn:
        await conn.execute(insert(Node), [common | {"code": c, "opened_on": since, "version": 1} for c in codes])
        await conn.execute(insert(NodeSpan), [common | {"code": c, "since": since} for c in codes])
    await post(client, as_, VILLAGE, **EXTREME)
    clock.advance(timedelta(minutes=1))
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement != "BEGIN":
            statements.append(statement)

    for engine_ in database.engines:
        event.listen(engine_.sync_engine, "before_cursor_execute", note)
    call = await ask(client, as_(TOWN, "desk"))
    opening = len(statements)
    clock.advance(HALF_AN_HOUR)
    statements.clear()
    await run(app)
    closing = len(statements)
    statements.clear()
    await run(app)

    assert call["counts"] == {"waiting": 1204}
    assert opening <= 12
    assert closing <= 45
    assert len(statements) <= 16
    (alert,) = await found_alerts(client, as_)
    assert (alert["node"]["code"], alert["reasons"][0]["text"].split(":")[0]) == (TOWN, "1204 nodes are silent")


async def test_two_processes_that_close_different_roll_calls_of_a_village_find_one_silence(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    await post(client, as_, VILLAGE, **EXTREME)
    clock.advance(timedelta(minutes=1))
    for _ in range(4):
        await ask(client, as_(TOWN, "desk"), node=NEIGHBOUR)
    clock.advance(HALF_AN_HOUR)
    url, policy, together = app.state.settings.database_url, app.state.policy, threading.Barrier(2)

    async def one_process() -> None:
        own = Database(url)
        async with own.reading():
            await asyncio.to_thread(together.wait, 10)
        for _ in range(5):
            await engine.run_due(own, policy=policy, clock=clock)
        await own.close()

    await asyncio.gather(*(asyncio.to_thread(lambda: asyncio.run(one_process())) for _ in range(2)))

    assert [one["missed"] for one in await silent(client, as_)] == [4]
    assert len(await found_alerts(client, as_)) == 1
    assert len(await events(database, "rollcall.due")) == 4
    assert len(await events(database, "silence.found")) == 1


async def test_a_desk_that_acts_on_alerts_is_there_whatever_it_was_asked(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, app: FastAPI
) -> None:
    alert = (await post(client, as_, VILLAGE, **EXTREME))["alert_id"]
    clock.advance(timedelta(minutes=1))
    await ask(client, as_(CITY, "desk"), node=CITY, tiers=["town"])
    await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(TOWN, "desk"))
    clock.advance(HALF_AN_HOUR)
    await run(app)

    assert [one["node"] for one in await silent(client, as_)] == [OTHER_TOWN]
    assert await found_alerts(client, as_) == []


async def test_a_silent_desk_that_acts_on_an_alert_is_heard_again(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, app: FastAPI
) -> None:
    alert = (await post(client, as_, VILLAGE, **EXTREME))["alert_id"]
    await missed(client, as_, clock, app, TOWN, tiers=["town"])
    (found,) = await found_alerts(client, as_)
    clock.advance(timedelta(minutes=1))
    await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(TOWN, "desk"))
    await run(app)

    assert await silent(client, as_) == []
    assert (await alert_of(client, as_, found["id"]))["state"] == "closed"
