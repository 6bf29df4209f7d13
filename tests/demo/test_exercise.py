"""The whole exercise against the whole application."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from app.core.clock import ManualClock
from app.core.settings import Settings
from app.demo import trial
from app.demo.command import perform
from app.main import create_app
from tests.conftest import running

pytestmark = pytest.mark.anyio


async def test_the_night_is_replayed_and_every_urgent_report_reaches_the_city(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/trial.db", feed_poll_seconds=0.2)
    lines = await trial.prepare(settings, host="127.0.0.1", port=8000)
    out = StringIO()
    application = create_app(settings, clock=ManualClock(datetime.now(UTC)))

    async with running(application):
        code = await perform(
            "http://beacon.test",
            0,
            (trial.ADMIN, trial.PASSWORD),
            (trial.DESK, trial.PASSWORD),
            console=Console(file=out, width=200),
            plain=True,
            transport=httpx.ASGITransport(application),
        )

    said = out.getvalue()
    assert code == 0, said
    assert "sent 216" in said
    assert "replayed 3" in said
    assert "missed 0" in said
    assert len([line for line in lines if line.startswith("curl ")]) == 3


async def test_a_trial_refuses_to_be_reached_from_elsewhere(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite+aiosqlite:///{tmp_path}/trial.db")

    for host in ("0.0.0.0", "192.168.1.1", "beacon.example"):
        with pytest.raises(ValueError, match="loopback"):
            await trial.prepare(settings, host=host, port=8000)
    with pytest.raises(ValueError, match="SQLite"):
        postgres = Settings(database_url="postgresql+asyncpg://x@127.0.0.1/x")
        await trial.prepare(postgres, host="127.0.0.1", port=8000)
