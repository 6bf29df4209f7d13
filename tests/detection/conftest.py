from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.settings import Settings
from app.detection.routes import router
from app.main import create_app
from tests.builders import report
from tests.conftest import running

As = Callable[[str, str], dict[str, str]]
Post = Callable[..., Awaitable[dict[str, Any]]]


def place(north_m: float = 0) -> dict[str, float]:
    """A location so far north of one that all tests share."""
    return {"lat": 36.9 + north_m / 111_194.9, "lon": 118.9}


def detecting(settings: Settings, clock: ManualClock) -> FastAPI:
    """The application with the routes of detection."""
    application = create_app(settings, clock=clock)
    if not any(getattr(route, "path", "").startswith("/v1/alarms") for route in application.routes):
        application.include_router(router)
    return application


async def posted(
    client: httpx.AsyncClient, as_: As, clock: ManualClock, node: str, observed: datetime | None, **changes: Any
) -> dict[str, Any]:
    """One report, observed now unless told otherwise; the answer."""
    at = (observed or clock.now()).isoformat()
    body = report(observed_at=at, submitted_at=at, **changes)
    answer = await client.post("/v1/reports", json=body, headers=as_(node, "reporter"))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def post(client: httpx.AsyncClient, as_: As, clock: ManualClock) -> Post:
    """`await post(VILLAGE, location=place(500))`: one report of that village, observed now."""

    async def send(node: str, observed: datetime | None = None, **changes: Any) -> dict[str, Any]:
        return await posted(client, as_, clock, node, observed, **changes)

    return send


@pytest.fixture
async def app(settings: Settings, clock: ManualClock) -> AsyncIterator[FastAPI]:
    """The tests' application, with the routes of detection."""
    application = detecting(settings, clock)
    async with running(application):
        yield application
