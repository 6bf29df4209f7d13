from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.settings import Settings
from app.deliveries.sending import Sender
from tests.builders import CITY

As = Callable[[str, str], dict[str, str]]
Subscribe = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Receivers stand on loopback."""
    return settings.model_copy(update={"delivery_private_targets": True})


@pytest.fixture
def subscribe(client: httpx.AsyncClient, as_: As) -> Subscribe:
    """A new receiver, made by the city's admin unless told otherwise."""

    async def make(url: str, *, at: str = "/v1/webhooks", by: str = CITY, **body: Any) -> dict[str, Any]:
        made = await client.post(at, json={"label": "gateway", "url": url} | body, headers=as_(by, "admin"))
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found

    return make


@pytest.fixture
async def sender(app: FastAPI, clock: ManualClock) -> AsyncIterator[Sender]:
    """A sender of this test's, with no jitter."""
    found = Sender(app.state.database, clock, private_targets=True, draw=lambda: 0.0)
    yield found
    await found.stop()


async def deliver(sender: Sender) -> None:
    """Send all that is due now."""
    await sender.run_due()
    await sender.settled()
