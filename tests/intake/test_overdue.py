"""What is held and urgent does not wait for an office that sleeps."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.intake import overdue
from tests.builders import CITY, TOWN, URGENT, VILLAGE, report
from tests.drills.acts import begin, end

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Run = Callable[[], Any]


@pytest.fixture
def run(app: FastAPI, clock: ManualClock) -> Run:
    async def once() -> Any:
        return await overdue.run_due(app.state.database, policy=app.state.policy, clock=clock)

    return once


@pytest.fixture
def held(client: httpx.AsyncClient, revoked: dict[str, str]) -> Callable[..., Any]:
    """Hand in what is held, since the village's reporter is no longer signed in; the receipt."""

    async def hand_in(**said: Any) -> dict[str, Any]:
        answer = await client.post("/v1/reports", json=report(**said), headers=revoked)
        assert answer.status_code == 202, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    return hand_in


async def show(client: httpx.AsyncClient, headers: dict[str, str], held_id: str) -> dict[str, Any]:
    answer = await client.get(f"/v1/quarantine/{held_id}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def types(client: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    answer = (await client.get("/v1/reports/changes", headers=headers)).json()
    return [one["type"] for one in answer["results"]]


async def test_what_is_urgent_is_the_citys_once_its_time_is_over(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, held: Callable[..., Any], run: Run
) -> None:
    receipt = await held(**URGENT)
    allowed = await run() - clock.now()
    clock.advance(allowed - timedelta(seconds=1))
    await run()
    before = await show(client, as_(TOWN, "desk"), receipt["id"])
    clock.advance(timedelta(seconds=1))
    assert await run() is None
    assert await run() is None

    assert (before["desk"], before["bypassed"]) == (TOWN, None)
    for office in (TOWN, CITY, VILLAGE):
        after = await show(client, as_(office, "desk"), receipt["id"])
        assert (after["state"], after["desk"], after["bypassed"]) == ("held", CITY, TOWN)
        assert after["due_at"] > receipt["due_at"]
        assert await types(client, as_(office, "desk")) == ["report.quarantined", "report.quarantine_bypassed"]


@pytest.mark.parametrize("office", [TOWN, CITY])
async def test_both_the_city_and_the_office_that_left_it_may_decide(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, held: Callable[..., Any], run: Run, office: str
) -> None:
    receipt = await held(**URGENT)
    clock.advance(timedelta(hours=2))
    await run()

    path = f"/v1/quarantine/{receipt['id']}/release"
    answer = await client.post(path, json={"note": "【演练】"}, headers=as_(office, "desk"))

    assert answer.status_code == 200, answer.text
    assert answer.json()["alert_id"] is not None


async def test_what_is_not_urgent_or_is_decided_waits_for_nobody_else(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock, held: Callable[..., Any], run: Run
) -> None:
    routine, decided = await held(), await held(**URGENT)
    reject = f"/v1/quarantine/{decided['id']}/reject"
    await client.post(reject, json={"note": "【演练】重复"}, headers=as_(TOWN, "desk"))
    clock.advance(timedelta(days=1))

    assert await run() is None

    for one in (routine, decided):
        after = await show(client, as_(TOWN, "desk"), one["id"])
        assert (after["desk"], after["bypassed"]) == (TOWN, None)


async def test_of_a_drill_that_has_ended_nothing_is_passed_on(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, held: Callable[..., Any], run: Run
) -> None:
    admin = as_(CITY, "admin")
    drill = await begin(client, admin)
    receipt = await held(**URGENT, drill_id=drill["id"])
    assert await run() is not None
    await end(client, admin, drill["id"])
    clock.advance(timedelta(days=1))

    assert await run() is None
    assert (await show(client, as_(TOWN, "desk"), receipt["id"]))["desk"] == TOWN
