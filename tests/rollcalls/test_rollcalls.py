"""Roll calls by the calendar and by an office: who is asked, and what they answer."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.hazards.duty import DutyPeriod
from app.hazards.policy import load_policy
from app.hazards.silence import RollCallsPolicy, ScheduledRollCall
from app.rollcalls import engine
from app.rollcalls.models import RollCall, RollCallAnswer
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    OTHER_CITY,
    OTHER_TOWN,
    THIRD,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
VILLAGES = {VILLAGE, NEIGHBOUR, THIRD, FOURTH}


async def ask(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    body = {"question": "【演练】有无险情？", "node": TOWN, "due_minutes": 30} | changes
    asked = await client.post("/v1/rollcalls", json=body, headers=headers)
    assert asked.status_code == 201, asked.text
    found: dict[str, Any] = asked.json()
    return found


async def answer(client: httpx.AsyncClient, headers: dict[str, str], call: str, **body: Any) -> httpx.Response:
    return await client.post(f"/v1/rollcalls/{call}/answers", json={"answer": "nothing"} | body, headers=headers)


async def test_a_round_asks_the_villages_of_the_subtree_and_counts_their_answers(
    client: httpx.AsyncClient, as_: As
) -> None:
    desk = as_(TOWN, "desk")
    call = await ask(client, desk)
    reported = (await client.post("/v1/reports", json=report(), headers=as_(NEIGHBOUR, "reporter"))).json()["id"]

    nothing = await answer(client, as_(VILLAGE, "reporter"), call["id"])
    something = await answer(client, as_(NEIGHBOUR, "reporter"), call["id"], answer="something", reports=[reported])
    unable = await answer(client, desk, call["id"], node=THIRD, answer="unable", why="【演练】路断，无法巡查")
    now = (await client.get(f"/v1/rollcalls/{call['id']}", headers=desk)).json()
    expected = (await client.get(f"/v1/rollcalls/{call['id']}/answers", headers=desk)).json()["items"]

    assert call["counts"] == {"waiting": 4}
    assert [one.status_code for one in (nothing, something, unable)] == [200, 200, 200]
    assert now["counts"] == {"waiting": 1, "nothing": 1, "something": 1, "unable": 1}
    assert {one["node"]: one["state"] for one in expected} == {
        VILLAGE: "nothing",
        NEIGHBOUR: "something",
        THIRD: "unable",
        FOURTH: "waiting",
    }
    assert next(one for one in expected if one["node"] == THIRD)["answered_by"] == TOWN


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_an_answer_must_say_what_it_means(client: httpx.AsyncClient, as_: As) -> None:
    call = (await ask(client, as_(TOWN, "desk")))["id"]
    mine = as_(VILLAGE, "reporter")
    others = (await client.post("/v1/reports", json=report(), headers=as_(NEIGHBOUR, "reporter"))).json()["id"]

    async def code(**body: Any) -> str:
        refused = await answer(client, mine, call, **body)
        assert refused.status_code == 422
        return str(refused.json()["code"])

    assert await code(answer="something") == "answer_reports_wrong"
    assert await code(answer="something", reports=[others]) == "answer_reports_wrong"
    assert await code(answer="nothing", reports=[others]) == "answer_reports_wrong"
    assert await code(answer="unable") == "text_blank"
    assert await code(answer="perhaps") == "invalid"


async def test_nobody_answers_for_an_office_that_is_not_theirs_or_was_not_asked(
    client: httpx.AsyncClient, as_: As
) -> None:
    call = (await ask(client, as_(TOWN, "desk")))["id"]

    assert (await answer(client, as_(NEIGHBOUR, "desk"), call, node=VILLAGE)).status_code == 404
    assert (await answer(client, as_(OTHER_TOWN, "desk"), call, node=VILLAGE)).status_code == 404
    assert (await answer(client, as_(FAR_VILLAGE, "reporter"), call)).status_code == 404
    assert (await answer(client, as_(OTHER_CITY, "admin"), call, node=VILLAGE)).status_code == 404
    assert (await client.get(f"/v1/rollcalls/{call}", headers=as_(OTHER_TOWN, "desk"))).status_code == 404
    assert (await client.get("/v1/rollcalls", headers=as_(FAR_VILLAGE, "reporter"))).json()["items"] == []
    owed = (await client.get("/v1/rollcalls?open=true", headers=as_(VILLAGE, "reporter"))).json()["items"]
    assert [(one["id"], one["counts"]) for one in owed] == [(call, {"waiting": 1})]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_the_same_answer_again_changes_nothing_and_another_replaces_it(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    call = (await ask(client, as_(TOWN, "desk")))["id"]
    mine = as_(VILLAGE, "reporter")

    first = (await answer(client, mine, call)).json()
    clock.advance(timedelta(minutes=5))
    again = (await answer(client, mine, call)).json()
    other = (await answer(client, mine, call, answer="unable", why="【演练】停电")).json()

    assert again == first
    assert (other["state"], other["late"]) == ("unable", False)
    assert other["answered_at"] > first["answered_at"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"node": OTHER_TOWN}, 422, "node_unknown"),
        ({"due_minutes": None, "due_at": "2018-08-20T04:15:00Z"}, 422, "due_wrong"),
        ({"due_minutes": None, "due_at": "2018-08-27T04:16:00Z"}, 422, "due_wrong"),
        ({"due_at": "2018-08-20T05:15:00Z"}, 422, "invalid"),
        ({"node": VILLAGE, "tiers": ["town"]}, 422, "nobody_asked"),
        ({"question": " "}, 422, "text_blank"),
        ({"drill_id": "0199a4c2-7f30-7000-8000-3f1f0c9d2a11"}, 422, "drill_unknown"),
    ],
)
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_round_that_cannot_be_asked_is_refused(
    client: httpx.AsyncClient, as_: As, body: dict[str, Any], status: int, code: str
) -> None:
    sent = {"question": "有无险情？", "node": TOWN, "due_minutes": 30} | body
    refused = await client.post("/v1/rollcalls", json=sent, headers=as_(TOWN, "desk"))

    assert (refused.status_code, refused.json()["code"]) == (status, code)


async def run(app: FastAPI) -> None:
    await engine.run_due(app.state.database, policy=app.state.policy, clock=app.state.clock)


async def test_the_zero_report_is_asked_once_a_day_of_the_towns_and_the_city(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, database: Database
) -> None:
    clock.advance(timedelta(hours=12))  # 00:15 of the 21st, where the offices are
    await run(app)
    await run(app)
    again = engine.run_due(database, policy=app.state.policy, clock=clock)
    next_due = await again

    calls = [one for one in await rows(database, RollCall) if one.city_id == CITY]
    asked = {one.node_code for one in await rows(database, RollCallAnswer) if one.city_id == CITY}
    assert {(one.schedule, one.day) for one in calls} == {
        ("zero.town", date(2018, 8, 21)),
        ("zero.city", date(2018, 8, 21)),
    }
    assert asked == {CITY, TOWN, OTHER_TOWN}
    assert next_due == min(one.due_at for one in calls)
    assert (next_due.hour, next_due.minute) == (0, 0)  # 08:00 where the offices are

    clock.advance(timedelta(days=1))
    await run(app)
    assert len([one for one in await rows(database, RollCall) if one.city_id == CITY]) == 4


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_roll_call_that_was_slept_through_is_not_opened_any_more(app: FastAPI, database: Database) -> None:
    await run(app)  # 12:15: due times of today's have passed

    assert await rows(database, RollCall) == []


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_schedule_may_name_its_days_and_the_job_knows_when_it_is_due(
    app: FastAPI, clock: ManualClock, database: Database
) -> None:
    tuesdays = {"name": "dykes", "zh": "【演练】堤防", "en": "Dykes", "tiers": ["village"], "days": ["tue"]}
    schedule = ScheduledRollCall.model_validate(tuesdays | {"opens": "14:00", "due": "16:00"})
    policy = load_policy(None).model_copy(update={"rollcalls": RollCallsPolicy(scheduled=(schedule,))})

    async def opened(after: timedelta) -> tuple[int, timedelta]:
        clock.advance(after)
        due = await engine.run_due(database, policy=policy, clock=clock)
        assert due is not None
        calls = [one for one in await rows(database, RollCall) if one.city_id == CITY]
        return len(calls), due - clock.now()

    # It is Monday, 12:15; it asks on Tuesdays from 14:00 to 16:00.
    assert await opened(timedelta(0)) == (0, timedelta(hours=1, minutes=45))
    assert await opened(timedelta(hours=2)) == (0, timedelta(hours=23, minutes=45))
    assert await opened(timedelta(days=1)) == (1, timedelta(hours=1, minutes=45))
    assert await opened(timedelta(days=1)) == (1, timedelta(hours=23, minutes=45))


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_duty_period_asks_the_villages_too_and_gives_less_time(
    app: FastAPI, clock: ManualClock, database: Database
) -> None:
    season = DutyPeriod(name="flood_season", zh="汛期", en="flood season", since="06-01", until="09-30", factor=0.5)
    policy = load_policy(None).model_copy(update={"duty": (season,)})
    clock.advance(timedelta(hours=12))

    await engine.run_due(database, policy=policy, clock=clock)

    calls = {one.schedule: one for one in await rows(database, RollCall) if one.city_id == CITY}
    assert set(calls) == {"zero.town", "zero.city", "zero.village"}
    # 00:00 to 08:00 where the offices are, halved: 04:00
    assert calls["zero.town"].due_at.hour == 20
    assert calls["zero.village"].asked == 5


async def test_a_village_closed_in_may_is_not_expected_in_june(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    admin = as_(CITY, "admin")
    closed = await client.patch(f"/v1/nodes/{FOURTH}", json={"closed_on": "2018-08-22"}, headers=admin)
    moved = await client.patch(f"/v1/nodes/{THIRD}", json={"parent": OTHER_TOWN}, headers=admin)
    assert (closed.status_code, moved.status_code) == (200, 200), closed.text

    async def expected() -> set[str]:
        call = (await ask(client, as_(TOWN, "desk")))["id"]
        found = await client.get(f"/v1/rollcalls/{call}/answers", headers=admin)
        return {one["node"] for one in found.json()["items"]}

    today = await expected()
    clock.advance(timedelta(days=3))
    later = await expected()

    assert today == {VILLAGE, NEIGHBOUR, FOURTH}
    assert later == {VILLAGE, NEIGHBOUR}


async def test_a_node_closed_while_a_roll_call_is_open_is_no_longer_expected(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await client.patch(f"/v1/nodes/{FOURTH}", json={"closed_on": "2018-08-21"}, headers=as_(CITY, "admin"))
    call = (await ask(client, as_(TOWN, "desk"), due_minutes=60 * 24))["id"]

    clock.advance(timedelta(days=1))
    await run(app)

    after = (await client.get(f"/v1/rollcalls/{call}", headers=as_(TOWN, "desk"))).json()
    silent = (await client.get("/v1/silence", headers=as_(CITY, "desk"))).json()["items"]
    assert after["counts"] == {"waiting": 3, "excused": 1}
    assert {one["node"] for one in silent} == {VILLAGE, NEIGHBOUR, THIRD}


async def test_an_urgent_report_is_no_answer_but_says_that_the_office_is_there(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await ask(client, as_(TOWN, "desk"))
    await client.post("/v1/reports", json=report(**URGENT), headers=as_(VILLAGE, "reporter"))

    clock.advance(timedelta(minutes=30))
    await run(app)

    silent = (await client.get("/v1/silence", headers=as_(CITY, "desk"))).json()["items"]
    assert {one["node"] for one in silent} == VILLAGES - {VILLAGE}
