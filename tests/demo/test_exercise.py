"""The whole exercise against the whole application."""

from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from app.core.settings import Settings
from app.demo import night, trial
from app.demo.command import perform
from app.demo.link import PasswordSignIn, connect
from app.main import create_app
from tests.conftest import running

pytestmark = pytest.mark.anyio

URL = "http://beacon.test"


async def test_the_night_is_a_drill_in_which_a_town_is_bypassed_and_a_silent_village_found(tmp_path: Path) -> None:
    # Deadlines run here as they do in a trial, on the real clock and hundreds of times faster.
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path}/trial.db", feed_poll_seconds=0.2, timers_poll_seconds=0.1
    )
    lines = await trial.prepare(settings, host="127.0.0.1", port=8000)
    out = StringIO()
    application = create_app(settings)
    transport = httpx.ASGITransport(application)

    async with running(application):
        code = await perform(
            URL,
            0,
            (trial.ADMIN, trial.PASSWORD),
            (trial.DESK, trial.PASSWORD),
            console=Console(file=out, width=200),
            plain=True,
            transport=transport,
        )
        async with connect(URL, auth=PasswordSignIn(URL, trial.DESK, trial.PASSWORD), transport=transport) as desk:
            (drill,) = await listed(desk, "/v1/drills")
            alerts = await listed(desk, "/v1/alerts", drill=drill["id"], state="closed")
            passed = [one for one in alerts if one["reasons"][0]["rule"] == "escalation.bypass"]
            reports = await listed(desk, "/v1/reports", drill=drill["id"], node=night.plot().asleep)
            (silence,) = [one for one in alerts if one["origin"] == "silence"]
            real = await listed(desk, "/v1/alerts", state="closed") + await listed(desk, "/v1/alerts")

    said = out.getvalue()
    assert code == 0, said
    assert "sent 216" in said
    assert "replayed 3" in said
    assert "missed 0" in said
    assert "越级 Bypassed: 洛城街道" in said
    assert "失联 Silent: 口子村" in said
    assert "Score of the drill: " in said
    assert drill["ended_at"] is not None
    assert {one["node"]["path"][1] for one in passed} >= {night.plot().asleep}
    assert silence["node"]["code"] == night.plot().silent
    assert "恢复联系" in silence["close_reason"]
    held = [custody for report in reports for custody in report["custody"] if custody["node"] == night.plot().asleep]
    assert any(custody["bypassed_at"] for custody in held)
    assert not any(custody["opened_at"] for custody in held)
    assert real == []
    assert len([line for line in lines if line.startswith("curl ")]) == 3


async def listed(client: httpx.AsyncClient, path: str, **query: str) -> list[dict[str, Any]]:
    response = await client.get(path, params={"limit": 500, **query})
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_a_trial_refuses_to_be_reached_from_elsewhere(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/trial.db")

    for host in ("0.0.0.0", "192.168.1.1", "beacon.example"):
        with pytest.raises(ValueError, match="loopback"):
            await trial.prepare(settings, host=host, port=8000)
    with pytest.raises(ValueError, match="SQLite"):
        postgres = Settings(database_url="postgresql+asyncpg://x@127.0.0.1/x")
        await trial.prepare(postgres, host="127.0.0.1", port=8000)
