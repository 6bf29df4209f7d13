"""What the tests of an alert's life do again and again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from app.alerts import engine

As = Callable[[str, str], dict[str, str]]


async def act(client: httpx.AsyncClient, headers: dict[str, str], alert: str, verb: str, **body: Any) -> httpx.Response:
    """POST /v1/alerts/{id}/{verb}."""
    return await client.post(f"/v1/alerts/{alert}/{verb}", headers=headers, json=body)


async def pass_time(app: FastAPI, minutes: float) -> None:
    """So many minutes pass, then the timer runs."""
    app.state.clock.advance(timedelta(minutes=minutes))
    await engine.run_due(app.state.database, clock=app.state.clock)


async def alert_of(client: httpx.AsyncClient, headers: dict[str, str], alert: str) -> dict[str, Any]:
    """GET /v1/alerts/{id}."""
    return await got(client, headers, f"/v1/alerts/{alert}")


async def got(client: httpx.AsyncClient, headers: dict[str, str], path: str, **params: Any) -> dict[str, Any]:
    """The answer of a GET that must pass."""
    answer = await client.get(path, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def told(client: httpx.AsyncClient, headers: dict[str, str], **params: Any) -> list[tuple[str, int, int]]:
    """Of each event of the log that the caller sees: type, version and step of the alert."""
    changes = await got(client, headers, "/v1/alerts/changes", limit=500, **params)
    return [
        (change["type"], change["alert"]["version"], change["alert"]["escalation"]["step"])
        for change in changes["results"]
    ]


def at_town(report: dict[str, Any]) -> dict[str, Any]:
    """The town's part in a report's custody."""
    found: dict[str, Any] = next(one for one in report["custody"] if one["tier"] == "town")
    return found
