from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.attachments.store import Store, open_store
from app.core.settings import Settings
from tests.attachments.sending import As, Phone
from tests.builders import VILLAGE, report


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Small limits, and a directory of the test's own."""
    return settings.model_copy(
        update={
            "attachments_url": (tmp_path / "attachments").as_uri(),
            "attachment_limit_bytes": 4 * 1024 * 1024,
            "attachments_per_report": 3,
            "attachments_max_pixels": 1_000_000,
            "attachments_longest_side": 200,
            "attachments_max_seconds": 3,
        }
    )


@pytest.fixture
def store(app: FastAPI, settings: Settings) -> Store:
    app.state.attachments = open_store(settings)
    found: Store = app.state.attachments
    return found


@pytest.fixture
def phone(client: httpx.AsyncClient, as_: As, store: Store) -> Phone:
    """The village's."""
    return Phone(client, as_(VILLAGE, "reporter"))


@pytest.fixture
def posted(client: httpx.AsyncClient, as_: As) -> Callable[..., Awaitable[dict[str, Any]]]:
    """A report that is stored, the village's unless told otherwise."""

    async def post(node: str = VILLAGE, **changes: Any) -> dict[str, Any]:
        answer = await client.post("/v1/reports", json=report(**changes), headers=as_(node, "reporter"))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return post
