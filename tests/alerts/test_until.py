"""An acknowledgement has a clock; the policy and the pace an alert was raised under are its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.core.settings import Settings
from app.drills.models import Drill
from app.hazards.policy import DEFAULT
from app.main import create_app
from tests.alerts.acts import act, alert_of, at_town, got, pass_time, told
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, NOON, TOWN, VILLAGE
from tests.conftest import running

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

SEASON = """
[[duty]]
name = "flood_season"
zh = "汛期"
en = "flood season"
since = "08-20"
until = "08-20"
factor = 0.5
"""


def minutes(count: float) -> str:
    """So many minutes after the tests begin, as the wire has it."""
    return (NOON + timedelta(minutes=count)).isoformat().replace("+00:00", "Z")


def in_minutes(moment: str | None) -> float | None:
    return (datetime.fromisoformat(moment) - NOON) / timedelta(minutes=1) if moment else None


def deadlines(report: dict[str, Any], alert: dict[str, Any]) -> tuple[float | None, ...]:
    """In minutes: to acknowledge it, the next step, and to open the report."""
    return (
        in_minutes(alert["due_at"]),
        in_minutes(alert["escalation"]["next_at"]),
        in_minutes(at_town(report)["due_at"]),
    )


@asynccontextmanager
async def another(settings: Settings, clock: ManualClock) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """One more application, and its client."""
    app = create_app(settings, clock=clock)
    transport = httpx.ASGITransport(app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
        yield app, client


async def test_an_alert_taken_on_until_a_time_is_raised_again_then_and_says_why(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    desk = as_(CITY, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]

    taken = await act(client, desk, alert, "acknowledge", until=minutes(30))
    await pass_time(app, 29)
    still = await alert_of(client, desk, alert)
    await pass_time(app, 1)
    again = await alert_of(client, desk, alert)

    assert taken.json()["until"] == minutes(30)
    assert (still["state"], still["due_at"]) == ("acknowledged", None)
    assert (again["state"], again["owner"], again["until"]) == ("raised", None, None)
    assert (again["due_at"], again["escalation"]) == (
        minutes(45),
        {"step": 1, "next_at": minutes(45), "to": ["town.desk"]},
    )
    assert again["reasons"][0]["rule"] == "alert.until"
    assert "寿光市" in again["reasons"][0]["text"]
    assert "寿光市" in again["reasons"][0]["text_zh"]
    assert f"desk-{CITY}" not in str(again["reasons"])
    steps = (await got(client, desk, f"/v1/alerts/{alert}/timeline"))["items"]
    assert [(step["type"], step["node"]) for step in steps if step["type"] != "alert.bypassed"] == [
        ("alert.raised", None),
        ("alert.acknowledged", CITY),
        ("alert.rearmed", None),
    ]


async def test_taken_on_without_a_time_it_is_kept(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    taken = (await act(client, as_(TOWN, "desk"), alert, "acknowledge")).json()

    await pass_time(app, 100 * 24 * 60)

    assert taken["until"] is None
    assert await alert_of(client, as_(CITY, "desk"), alert) | {"applied": True, "notice": None} == taken


async def test_the_owner_sets_another_clock_or_none_and_remains_the_first(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    desk = as_(TOWN, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]
    first = (await act(client, desk, alert, "acknowledge", until=minutes(10))).json()
    await pass_time(app, 5)

    same = (await act(client, desk, alert, "acknowledge", until=minutes(10))).json()
    longer = (await act(client, desk, alert, "acknowledge", until=minutes(60))).json()
    await pass_time(app, 10)
    kept = (await act(client, desk, alert, "acknowledge")).json()
    await pass_time(app, 1000)

    assert (same["applied"], same["notice"]["code"], same["version"]) == (False, "alert_yours", first["version"])
    assert (longer["applied"], longer["until"], longer["owner"]) == (True, minutes(60), first["owner"])
    assert (kept["applied"], kept["until"], kept["owner"]) == (True, None, first["owner"])
    assert (await alert_of(client, desk, alert))["state"] == "acknowledged"


@pytest.mark.parametrize("until", [-1, 0, 24 * 60 + 0.1])
async def test_a_time_that_has_passed_or_is_too_far_is_refused(
    client: httpx.AsyncClient, as_: As, until: float
) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    refused = await act(client, as_(CITY, "desk"), alert, "acknowledge", until=minutes(until))

    assert (refused.status_code, refused.json()["code"]) == (422, "until_wrong")
    assert "24 hours" in refused.json()["detail"]
    assert (await alert_of(client, as_(CITY, "desk"), alert))["state"] == "raised"


async def test_the_longest_time_is_taken_and_one_without_its_zone_is_not(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    zoneless = await act(client, as_(CITY, "desk"), alert, "acknowledge", until="2018-08-20T05:15:00")
    longest = await act(client, as_(CITY, "desk"), alert, "acknowledge", until=minutes(24 * 60))

    assert zoneless.status_code == 422
    assert (longest.status_code, longest.json()["until"]) == (200, minutes(24 * 60))


async def test_a_closed_alert_is_not_raised_again_when_its_time_comes(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    desk = as_(CITY, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]
    await act(client, desk, alert, "acknowledge", until=minutes(30))
    closed = (await act(client, desk, alert, "close", reason="【演练】水退")).json()

    await pass_time(app, 1000)

    assert await alert_of(client, desk, alert) | {"applied": True, "notice": None} == closed
    assert await told(client, desk) == [("alert.raised", 1, 1), ("alert.acknowledged", 2, 1), ("alert.closed", 3, 1)]


async def test_a_worse_report_ends_the_clock_with_the_acknowledgement(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    desk = as_(CITY, "desk")
    alert = (await raise_alert(client, as_))["alert_id"]
    await act(client, desk, alert, "acknowledge", until=minutes(4))
    await raise_alert(client, as_, kind="followup", **EXTREME)

    await pass_time(app, 4.5)

    assert [kind for kind, _, _ in await told(client, desk)] == ["alert.raised", "alert.acknowledged", "alert.rearmed"]
    assert (await alert_of(client, desk, alert))["reasons"][0]["rule"] == "alert.rearmed"


async def test_an_alert_keeps_the_policy_it_was_raised_under(
    app: FastAPI, client: httpx.AsyncClient, as_: As, settings: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    desk = as_(CITY, "desk")
    old = await raise_alert(client, as_)
    text = DEFAULT.read_text("utf-8").replace("after_minutes = 15", "after_minutes = 2")
    (tmp_path / "new.toml").write_text(text, "utf-8")

    async with another(settings.model_copy(update={"policy_file": tmp_path / "new.toml"}), clock) as (newer, client):
        new = await raise_alert(client, as_, hazard="fire.building")
        await pass_time(newer, 2)
        at_2 = [(await alert_of(client, desk, one["alert_id"]))["escalation"]["step"] for one in (old, new)]
        await pass_time(newer, 13)
        at_15 = [(await alert_of(client, desk, one["alert_id"]))["escalation"]["step"] for one in (old, new)]
        await act(client, as_(TOWN, "desk"), old["alert_id"], "acknowledge")
        released = (await act(client, as_(TOWN, "desk"), old["alert_id"], "release")).json()

    assert (at_2, at_15) == ([1, 2], [2, 2])
    assert released["escalation"]["next_at"] == minutes(30)


@pytest.mark.parametrize(
    ("moment", "factor"),
    [
        # The day is the offices': 20 August begins at 16:00 UTC.
        (NOON, 0.5),
        (NOON.replace(hour=15, minute=59), 0.5),
        (NOON.replace(hour=16, minute=0), 1.0),
    ],
)
async def test_a_duty_period_shortens_every_deadline_and_what_was_raised_in_it_keeps_them(
    settings: Settings, as_: As, tmp_path: Path, moment: datetime, factor: float
) -> None:
    (tmp_path / "duty.toml").write_text(DEFAULT.read_text("utf-8") + SEASON, "utf-8")
    clock = ManualClock(moment)
    start = in_minutes(moment.isoformat()) or 0.0

    async with another(settings.model_copy(update={"policy_file": tmp_path / "duty.toml"}), clock) as (_, client):
        report = await raise_alert(client, as_, observed_at=moment.isoformat(), submitted_at=moment.isoformat())
        alert = await alert_of(client, as_(CITY, "reporter"), report["alert_id"])
        assert deadlines(report, alert) == tuple(start + 15 * factor for _ in range(3))
        clock.advance(timedelta(days=3))
        await act(client, as_(TOWN, "desk"), report["alert_id"], "acknowledge")
        released = (await act(client, as_(TOWN, "desk"), report["alert_id"], "release")).json()

    assert in_minutes(released["due_at"]) == pytest.approx(start + 3 * 24 * 60 + 15 * factor)


async def test_a_drill_runs_at_its_own_pace_and_the_real_at_its_own(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    drill = new_id()
    row = {"city_id": CITY, "id": drill, "node_code": CITY, "title": "【演练】", "pace": 10.0, "began_at": NOON}
    async with app.state.database.writing() as conn:
        await conn.execute(insert(Drill), [row])
    real = await raise_alert(client, as_)
    played = await raise_alert(client, as_, drill_id=str(drill))
    reader = as_(CITY, "reporter")

    assert deadlines(real, await alert_of(client, reader, real["alert_id"])) == (15, 15, 15)
    assert deadlines(played, await alert_of(client, reader, played["alert_id"])) == (1.5, 1.5, 1.5)

    await pass_time(app, 1.5)

    assert await told(client, reader) == [("alert.raised", 1, 1)]
    assert await told(client, reader, drill=str(drill)) == [("alert.raised", 1, 1), ("alert.bypassed", 2, 2)]
    opened = [
        at_town(await got(client, as_(VILLAGE, "reporter"), f"/v1/reports/{one['id']}")) for one in (real, played)
    ]
    assert [in_minutes(one["bypassed_at"]) for one in opened] == [None, 1.5]
