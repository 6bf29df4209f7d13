"""What the hot paths cost, in statements. A change here is a change of price: measure it with `make bench`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from app.core.database import Database
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that the application runs meanwhile, without those that begin a transaction."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        # The slow poll of the log may look at any moment.
        if not statement.startswith(("BEGIN", "SELECT feed_heads")):
            seen.append(statement)

    engines = {id(engine): engine.sync_engine for engine in database.engines}
    for engine in engines.values():
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines.values():
        event.remove(engine, "before_cursor_execute", note)


async def post(client: httpx.AsyncClient, as_: As, **changes: Any) -> None:
    answer = await client.post("/v1/reports", json=report(**changes), headers=as_(VILLAGE, "reporter"))
    assert answer.status_code == 201, answer.text


async def test_a_report_costs_nine_statements_and_an_urgent_one_ten(
    client: httpx.AsyncClient, as_: As, database: Database, app: FastAPI
) -> None:
    await post(client, as_)  # the caller is known from here on

    with statements(database) as routine:
        await post(client, as_, hazard="fire.building")
    with statements(database) as urgent:
        await post(client, as_, hazard="flood.waterlogging", **EXTREME)
    with statements(database) as joined:
        await post(client, as_, hazard="flood.waterlogging", kind="followup")

    # places, candidates, neighbours; incidents, reports, custody, activity, head, events
    assert len(routine) == 9, routine
    # ... and the alert
    assert len(urgent) == 10, urgent
    # ... and the incident's alert is read
    assert len(joined) == 11, joined


async def test_a_batch_costs_what_one_report_costs(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    await post(client, as_)
    items = [report(hazard="fire.building", **EXTREME) for _ in range(50)]

    with statements(database) as batch:
        await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

    assert len(batch) == 10, batch


async def test_a_batch_that_joins_and_opens_costs_what_one_report_costs(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    await post(client, as_, hazard="flood.waterlogging", **EXTREME)
    items = [report(hazard=hazard, **EXTREME) for hazard in ("flood.waterlogging", "fire.building", "road.blocked")]

    with statements(database) as batch:
        answer = await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

    assert [one["status"] for one in answer.json()["results"]] == ["created"] * 3
    # ... and the alert of the one that is known
    assert len(batch) == 11, batch


async def test_a_town_is_looked_up_only_where_another_towns_incident_close_by_has_several_offices(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    here, far = {"location": {"lat": 36.9, "lon": 118.9}}, as_(FAR_VILLAGE, "reporter")
    await post(client, as_, **here)
    await client.post("/v1/reports", json=report(hazard="fire.building"), headers=far)

    with statements(database) as opened:
        await client.post("/v1/reports", json=report(**here), headers=far)
    await client.post("/v1/reports", json=report(**here), headers=as_(NEIGHBOUR, "reporter"))
    with statements(database) as joined:
        await client.post("/v1/reports", json=report(hazard="flood.flash", **here), headers=far)

    assert len(opened) == 9, opened
    assert len(joined) == 10, joined


async def test_an_unchanged_poll_costs_no_statement(
    client: httpx.AsyncClient, as_: As, database: Database, app: FastAPI
) -> None:
    city = as_(CITY, "desk")
    await post(client, as_, **EXTREME)
    await app.state.heads.refresh()
    first = await client.get("/v1/alerts", headers=city)

    with statements(database) as poll:
        again = await client.get("/v1/alerts", headers=city | {"If-None-Match": first.headers["etag"]})
        since = {"since": first.json()["cursor"]}
        changes = await client.get("/v1/alerts/changes", params=since, headers=city)

    assert again.status_code == 304
    assert changes.json()["results"] == []
    assert poll == []
