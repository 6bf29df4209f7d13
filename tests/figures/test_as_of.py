"""Figures as of a moment, asked later, are those that were answered at that moment."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.core.database import Database
from app.core.ids import new_id
from app.reports.models import Report
from tests.alerts.acts import got
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE
from tests.figures.acts import corrected, filed, merge_incidents, move, table

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

PERIOD = {"from": (NOON - timedelta(days=1)).isoformat(), "to": (NOON + timedelta(days=1)).isoformat()}


async def test_a_correction_counts_from_when_it_came(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    stored = await filed(client, as_(VILLAGE, "reporter"), affected=3, dead=1)
    path, city = f"/v1/incidents/{stored['incident_id']}/figures", as_(CITY, "desk")
    first = app.state.clock.now()
    app.state.clock.advance(timedelta(minutes=5))
    await corrected(client, as_(VILLAGE, "reporter"), stored, figures={"affected": 30})
    second = app.state.clock.now()

    async def at(moment: Any) -> dict[str, float]:
        return table(await got(client, city, path, as_of=moment.isoformat()))[CITY]

    assert await at(first - timedelta(seconds=1)) == {}
    assert await at(first) == {"affected": 3, "dead": 1}
    assert await at(second - timedelta(microseconds=1)) == {"affected": 3, "dead": 1}
    # What a correction leaves out was never said.
    assert await at(second) == {"affected": 30}


async def test_a_moment_ahead_is_now(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    stored = await filed(client, as_(VILLAGE, "reporter"), affected=3)
    ahead = (app.state.clock.now() + timedelta(days=400)).isoformat()

    path = f"/v1/incidents/{stored['incident_id']}/figures"
    for found in (
        await got(client, as_(CITY, "desk"), path, as_of=ahead, borders="then"),
        await got(client, as_(CITY, "desk"), "/v1/figures", as_of=ahead, **PERIOD),
    ):
        assert (found["as_of"], found["day"]) == ("2018-08-20T04:15:00Z", "2018-08-20")
        assert table(found)[CITY] == {"affected": 3}


async def test_what_was_held_in_quarantine_is_known_from_its_release(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    stored = await filed(client, as_(VILLAGE, "reporter"), affected=3)
    released = app.state.clock.now() + timedelta(hours=3)
    async with database.writing() as conn:
        await conn.execute(update(Report).values(released_at=released))
    app.state.clock.advance(timedelta(hours=5))
    path, city = f"/v1/incidents/{stored['incident_id']}/figures", as_(CITY, "desk")

    before = await got(client, city, path, as_of=(released - timedelta(seconds=1)).isoformat())
    after = await got(client, city, path, as_of=released.isoformat())

    assert (table(before)[CITY], table(after)[CITY]) == ({}, {"affected": 3})


async def test_a_report_counts_in_the_incident_that_it_was_in(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await filed(client, as_(VILLAGE, "reporter"), affected=3)
    other = await filed(client, as_(FAR_VILLAGE, "reporter"), affected=5)
    clock, city = app.state.clock, as_(CITY, "desk")
    paths = [f"/v1/incidents/{stored['incident_id']}/figures" for stored in (one, other)]
    moments = [clock.now()]
    for into in (other, one, other):
        clock.advance(timedelta(minutes=1))
        await move(database, one["id"], into["incident_id"], clock.now())
        moments.append(clock.now())

    shown = [
        [table(await got(client, city, path, as_of=moment.isoformat()))[CITY].get("affected") for path in paths]
        for moment in moments
    ]

    assert shown == [[3, 5], [None, 8], [3, 5], [None, 8]]


async def test_a_report_that_came_from_an_incident_of_another_period_counts_there_until_it_moved(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    clock, city = app.state.clock, as_(CITY, "desk")
    one = await filed(client, as_(VILLAGE, "reporter"), affected=3)
    clock.advance(timedelta(days=3))
    other = await filed(client, as_(FAR_VILLAGE, "reporter"), affected=5)
    then = clock.now()
    clock.advance(timedelta(hours=1))
    await move(database, one["id"], other["incident_id"], clock.now())
    later = {"from": PERIOD["to"], "to": (NOON + timedelta(days=9)).isoformat()}

    async def affected(period: dict[str, str], **params: str) -> Any:
        return table(await got(client, city, "/v1/figures", **period, **params))[CITY].get("affected")

    assert (await affected(PERIOD), await affected(later)) == (None, 8)
    as_of = then.isoformat()
    assert (await affected(PERIOD, as_of=as_of), await affected(later, as_of=as_of)) == (3, 5)


async def test_an_alias_answers_for_the_incident_it_was_merged_into_from_then_on(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await filed(client, as_(VILLAGE, "reporter"), affected=3)
    other = await filed(client, as_(FAR_VILLAGE, "reporter"), affected=5)
    then = app.state.clock.now().isoformat()
    app.state.clock.advance(timedelta(minutes=1))
    await merge_incidents(database, one["incident_id"], other["incident_id"], app.state.clock.now())
    path, city = f"/v1/incidents/{one['incident_id']}/figures", as_(CITY, "desk")

    now = await got(client, city, path)
    before = await got(client, city, path, as_of=then)

    assert (now["incident_id"], table(now)[CITY]) == (other["incident_id"], {"affected": 8})
    assert (before["incident_id"], table(before)[CITY]) == (one["incident_id"], {"affected": 3})
    # In a period the two are one incident now and were two then: either way everything counts once.
    for as_of, incidents in (({}, 1), ({"as_of": then}, 2)):
        period = await got(client, city, "/v1/figures", **PERIOD, **as_of)
        assert (period["incidents"], table(period)[CITY]) == (incidents, {"affected": 8})


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happened_since_every_moments_figures_stay(
    app: FastAPI, client: httpx.AsyncClient, as_: As, database: Database, seed: int
) -> None:
    luck = random.Random(seed)
    clock, city = app.state.clock, as_(CITY, "desk")
    stored: list[dict[str, Any]] = []
    incidents: list[str] = []
    answers: list[tuple[str, str, Any]] = []

    async def asked(path: str, **params: Any) -> Any:
        found = await got(client, city, path, **params)
        return {key: value for key, value in found.items() if key != "as_of"}

    def figures() -> dict[str, float]:
        names = luck.sample(["affected", "dead", "crop_area_lost_ha"], luck.randint(1, 3))
        return {name: luck.randint(0, 99) if name != "crop_area_lost_ha" else luck.random() * 9 for name in names}

    for step in range(25):
        clock.advance(timedelta(minutes=luck.randint(1, 9)))
        observed = (clock.now() - timedelta(minutes=luck.randint(0, 30))).isoformat()
        what = luck.choice(["report", "report", "correction", "move"]) if step > 4 else "report"
        if what == "report":
            node = luck.choice([VILLAGE, NEIGHBOUR, FAR_VILLAGE, TOWN, OTHER_TOWN, CITY])
            stored.append(
                await filed(
                    client,
                    city,
                    id=str(new_id()),
                    node=node,
                    kind=luck.choice(["initial", "followup", "final"]),
                    hazard=luck.choice(["flood.river", "fire.building"]),
                    observed_at=observed,
                    **figures(),
                )
            )
        elif what == "correction":
            index = luck.randrange(len(stored))
            before = stored[index]
            stored[index] = await corrected(
                client,
                city,
                before,
                node=before["node"],
                kind=luck.choice(["followup", "final"]),
                hazard=before["hazard"],
                observed_at=observed,
                figures=figures(),
            )
        else:
            await move(database, luck.choice(stored)["id"], luck.choice(incidents), clock.now())
        incidents = sorted({*incidents, *(one["incident_id"] for one in stored)})
        now = clock.now().isoformat()
        path = f"/v1/incidents/{luck.choice(incidents)}/figures"
        answers.append((path, now, await asked(path)))
        answers.append(("/v1/figures", now, await asked("/v1/figures", **PERIOD)))

    clock.advance(timedelta(hours=1))
    for path, moment, answer in answers:
        params = PERIOD if path == "/v1/figures" else {}
        assert await asked(path, as_of=moment, **params) == answer
    assert len({str(answer) for _, _, answer in answers}) > 30
