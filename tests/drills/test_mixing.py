"""Drills and the real never mix: in no list, no figure, no decision and no stream."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.core.database import Database
from app.core.ids import new_id
from app.detection.models import Alarm
from app.intake.models import Quarantined
from app.rollcalls import engine as rollcalls_engine
from tests.alerts.acts import act, got
from tests.builders import (
    CITY,
    EXTREME,
    FOURTH,
    NEIGHBOUR,
    NOON,
    THIRD,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.drills.acts import As, begin, send

pytestmark = pytest.mark.anyio

# Lists of what is neither real nor an exercise: the tree, who signs in, what there is to choose from, the drills.
NEITHER = {
    "/v1/me",
    "/v1/accounts",
    "/v1/keys",
    "/v1/nodes",
    "/v1/nodes/changes",
    "/v1/nodes/{code}/subtree",
    "/v1/nodes/{code}/history",
    "/v1/hazards",
    "/v1/drills",
    "/v1/webhooks",
    "/v1/channels",
}

# What a list needs to be asked.
PERIOD = {"from": NOON.isoformat(), "to": (NOON + timedelta(days=1)).isoformat()}
NEEDED = {
    "/v1/ledger/warnings": PERIOD,
    "/v1/ledger/warnings/rows": PERIOD | {"figure": "raised"},
    "/v1/figures": PERIOD,
}

# Where and when an answer was read: the log's place moves with everything that happens in the city.
MOMENT = {"cursor", "server_time", "last_event_at", "as_of", "overdue_seconds"}


def lists(app: FastAPI) -> dict[str, set[str]]:
    """Every GET whose answer holds a list, with the names of its query parameters.

    Left out is what belongs to one record that is asked for by its id.
    """
    contract = app.openapi()
    schemas = contract["components"]["schemas"]

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = schemas[schema["$ref"].rpartition("/")[2]]
        return schema

    found = {}
    for path, methods in contract["paths"].items():
        if "get" not in methods:
            continue
        parameters = methods["get"].get("parameters", [])
        if any(one["in"] == "path" and one["schema"].get("format") == "uuid" for one in parameters):
            continue
        content = methods["get"]["responses"]["200"].get("content", {})
        schema = resolved(content.get("application/json", {}).get("schema", {}))
        parts = [schema, *map(resolved, schema.get("properties", {}).values())]
        is_list = any(part.get("type") == "array" for part in parts)
        if is_list or "text/event-stream" in content:
            found[path] = {one["name"] for one in parameters if one["in"] == "query"}
    return found


def records(app: FastAPI) -> list[str]:
    """The lists of what is real or an exercise, as JSON."""
    return sorted(path for path in lists(app) if path not in NEITHER and not path.endswith("/stream"))


async def test_every_list_can_be_asked_for_one_drill(app: FastAPI) -> None:
    found = lists(app)

    assert [path for path, names in found.items() if "drill" not in names and path not in NEITHER] == []
    assert found.keys() >= NEITHER
    assert len(records(app)) >= 9


async def seed(app: FastAPI, client: httpx.AsyncClient, as_: As, drill: str | None, hazard: str) -> None:
    """Something in every list, at the same nodes for the real and for a drill."""
    mark = {"drill_id": drill} if drill else {}
    asked = {"question": "【演练】有无险情？", "node": TOWN, "due_minutes": 1, **mark}
    assert (await client.post("/v1/rollcalls", headers=as_(CITY, "desk"), json=asked)).status_code == 201
    stored = await send(client, as_(VILLAGE, "reporter"), hazard=hazard, **EXTREME, **mark)
    await send(client, as_(NEIGHBOUR, "reporter"), hazard=hazard, **URGENT, **mark)
    await act(client, as_(CITY, "desk"), stored["alert_id"], "acknowledge")
    app.state.clock.advance(timedelta(minutes=2))
    await rollcalls_engine.run_due(app.state.database, policy=app.state.policy, clock=app.state.clock)
    await _alarm(app.state.database, stored, drill)
    await _held(app.state.database, stored, drill)


async def answers(app: FastAPI, client: httpx.AsyncClient, as_: As, drill: str | None) -> dict[str, Any]:
    """By list: what it answers, without the moment that it was read at. None of them is empty."""
    found = {}
    # What is read here is itself carried: that is written down first.
    await client.get("/v1/alerts", headers=as_(CITY, "desk"), params={"drill": drill} if drill else {})
    await app.state.sightings.flush(app.state.database)
    known = lists(app)
    for path in records(app):
        params = {**NEEDED.get(path, {}), **({"drill": drill} if drill else {})}
        if "limit" in known[path]:
            params["limit"] = "500"
        body = await got(client, as_(CITY, "admin"), path, **params)
        (rows,) = (body[name] for name in ("items", "results", "rows") if name in body)
        assert rows, f"{path} is empty: let `seed` put something there"
        if path == "/v1/alerts/changes":
            for row in rows:
                del row["cursor"]
        found[path] = timeless(body)
    return found


def timeless(value: Any) -> Any:
    """An answer without what tells of the moment only."""
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name not in MOMENT}
    return [timeless(one) for one in value] if isinstance(value, list) else value


async def test_a_drill_changes_no_answer_about_the_real_and_the_real_none_about_a_drill(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    await seed(app, client, as_, None, "flood.river")
    real = await answers(app, client, as_, None)

    drill = (await begin(client, as_(CITY, "desk")))["id"]
    await seed(app, client, as_, drill, "flood.river")
    # Whoever is silent in earnest is so too while exercising.
    await send(client, as_(THIRD, "reporter"), drill_id=drill, **EXTREME)
    await rollcalls_engine.run_due(app.state.database, policy=app.state.policy, clock=app.state.clock)

    assert await answers(app, client, as_, None) == real
    exercise = await answers(app, client, as_, drill)
    assert not ids(exercise) & ids(real)

    other = (await begin(client, as_(CITY, "desk")))["id"]
    await seed(app, client, as_, None, "fire.building")
    await seed(app, client, as_, other, "fire.forest")
    await send(client, as_(FOURTH, "reporter"), **EXTREME)
    await rollcalls_engine.run_due(app.state.database, policy=app.state.policy, clock=app.state.clock)

    assert await answers(app, client, as_, drill) == exercise


async def test_a_stream_carries_the_real_or_one_drill(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    drill = (await begin(client, as_(CITY, "desk")))["id"]
    real = await send(client, as_(VILLAGE, "reporter"), **EXTREME)
    exercise = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    # A server that stops ends its streams after what there is.
    app.state.heads.stop()

    async def stream(**params: str) -> str:
        answer = await client.get("/v1/alerts/stream", headers=as_(CITY, "desk"), params=params)
        assert answer.status_code == 200
        return answer.text

    assert real["alert_id"] in await stream()
    assert exercise["alert_id"] not in await stream()
    assert exercise["alert_id"] in await stream(drill=drill)
    assert real["alert_id"] not in await stream(drill=drill)


async def test_reports_join_incidents_of_their_own_kind_only(client: httpx.AsyncClient, as_: As) -> None:
    village = as_(VILLAGE, "reporter")
    drill, other = [(await begin(client, as_(CITY, "desk")))["id"] for _ in range(2)]
    kinds: list[dict[str, Any]] = [{}, {"drill_id": drill}, {"drill_id": other}]
    first = [await send(client, village, **EXTREME, **kind) for kind in kinds]
    again = [await send(client, village, kind="followup", **EXTREME, **kind) for kind in kinds]

    assert [one["incident_id"] for one in again] == [one["incident_id"] for one in first]
    assert [one["alert_id"] for one in again] == [one["alert_id"] for one in first]
    assert len({one["incident_id"] for one in first}) == len({one["alert_id"] for one in first}) == 3
    # Not even when it is named.
    for kind, elsewhere in zip(kinds, (1, 2, 0), strict=True):
        named = report(incident_id=first[elsewhere]["incident_id"], **EXTREME, **kind)
        answer = await client.post("/v1/reports", headers=village, json=named)
        assert (answer.status_code, answer.json()["code"]) == (422, "incident_unknown")


async def test_neighbours_are_counted_within_their_own_kind(client: httpx.AsyncClient, as_: As) -> None:
    drill, other = [(await begin(client, as_(CITY, "desk")))["id"] for _ in range(2)]
    alone = await send(client, as_(VILLAGE, "reporter"))
    for node in (NEIGHBOUR, THIRD, FOURTH):
        await send(client, as_(node, "reporter"), drill_id=drill)
    still_alone = await send(client, as_(VILLAGE, "reporter"), kind="followup")
    crowded = await send(client, as_(VILLAGE, "reporter"), drill_id=drill)
    for node in (NEIGHBOUR, THIRD, FOURTH):
        await send(client, as_(node, "reporter"))
    alone_in_drill = await send(client, as_(VILLAGE, "reporter"), drill_id=other)

    def rules(stored: dict[str, Any]) -> set[str]:
        return {reason["rule"] for reason in stored["reasons"] if not reason["rule"].startswith("match.")}

    assert rules(still_alone) == rules(alone) == rules(alone_in_drill)
    assert rules(crowded) > rules(alone)


async def test_one_batch_may_hold_both_and_an_id_names_one_of_them(client: httpx.AsyncClient, as_: As) -> None:
    village = as_(VILLAGE, "reporter")
    drill = (await begin(client, as_(CITY, "desk")))["id"]
    items = [report(**EXTREME, **({"drill_id": drill} if number % 2 else {})) for number in range(6)]

    answer = await client.post("/v1/reports/batch", headers=village, json={"reports": items})

    results = answer.json()["results"]
    assert [one["status"] for one in results] == ["created"] * 6
    assert [one["report"]["drill_id"] for one in results] == [None, drill] * 3
    assert len({one["report"]["incident_id"] for one in results}) == 2
    in_earnest = {key: value for key, value in items[1].items() if key != "drill_id"}
    again = await client.post("/v1/reports", headers=village, json=in_earnest)
    assert (again.status_code, again.json()["code"]) == (409, "id_conflict")


async def test_a_poll_of_the_real_is_unchanged_by_what_a_drill_polls(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    city = as_(CITY, "desk")
    drill = (await begin(client, city))["id"]
    exercise = await send(client, as_(VILLAGE, "reporter"), drill_id=drill, **EXTREME)
    first = await client.get("/v1/alerts", headers=city)
    in_drill = await client.get("/v1/alerts", headers=city, params={"drill": drill})

    # The two lists are two things to a cache.
    assert first.headers["etag"] != in_drill.headers["etag"]
    assert first.json()["items"] == []
    assert [one["id"] for one in in_drill.json()["items"]] == [exercise["alert_id"]]


def ids(found: Any) -> set[str]:
    """Every UUID in an answer."""
    match found:
        case dict():
            return {one for value in found.values() for one in ids(value)}
        case list():
            return {one for value in found for one in ids(value)}
        case str() if len(found) == 36 and found.count("-") == 4:
            return {found}
    return set()


async def _held(database: Database, stored: dict[str, Any], drill: str | None) -> None:
    row = {
        "city_id": CITY,
        "id": new_id(),
        "node_code": VILLAGE,
        "desk_code": TOWN,
        "state": "held",
        "reason": "sign_in_revoked",
        "text": "",
        "text_zh": "",
        "body": {"hazard": stored["hazard"]},
        "digest": "",
        "level": "red",
        "hazard": stored["hazard"],
        "submitted_at": NOON,
        "received_at": NOON,
        "due_at": NOON,
        "filed_by": VILLAGE,
        "sign_in_id": new_id(),
        "drill_id": UUID(drill) if drill else None,
    }
    async with database.writing() as conn:
        await conn.execute(insert(Quarantined), row)


async def _alarm(database: Database, stored: dict[str, Any], drill: str | None) -> None:
    row = {
        "city_id": CITY,
        "id": new_id(),
        "key": f"{drill}/{stored['id']}",
        "rule": "ears.c2",
        "family": "natural",
        "hazard": None,
        "node_code": TOWN,
        "day": NOON.date(),
        "observed": 9,
        "expected": 2.1,
        "limit": 5.2,
        "sentence": "9 today, 2.1 expected, limit 5.2",
        "sentence_zh": "今日 9 起，预期 2.1 起，界限 5.2 起",
        "report_id": UUID(stored["id"]),
        "reports": [],
        "seen_at": NOON,
        "lat": None,
        "lon": None,
        "incident_id": UUID(stored["incident_id"]),
        "alert_id": None,
        "level": None,
        "raised_at": NOON,
        "drill_id": UUID(drill) if drill else None,
    }
    async with database.writing() as conn:
        await conn.execute(insert(Alarm), [row])
