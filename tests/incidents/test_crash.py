"""Killed at any point, each proposal is stored once, with its steps, its events and the incidents' next versions."""

import asyncio
from collections.abc import Callable

import httpx

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.feed.models import FeedEvent
from app.hazards.policy import load_policy
from app.incidents.models import Incident, IncidentStep, Proposal
from app.incidents.proposing import run_due
from app.main import create_app
from tests.builders import FAR_VILLAGE, NOON, VILLAGE
from tests.conftest import running
from tests.crashes import killed_everywhere
from tests.matters.acts import post
from tests.tables import rows


async def fill(settings: Settings, clock: ManualClock, as_: Callable[[str, str], dict[str, str]]) -> None:
    application = create_app(settings, clock=clock)
    async with running(application):
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
            for village in (VILLAGE, FAR_VILLAGE):
                await post(client, as_(village, "reporter"), location={"lat": 36.9, "lon": 118.9})


def test_killed_at_every_statement_a_proposal_is_told_once_or_not_at_all(
    settings: Settings, database_url: str, clock: ManualClock, as_: Callable[[str, str], dict[str, str]]
) -> None:
    asyncio.run(fill(settings, clock, as_))

    async def look(database: Database) -> None:
        await run_due(database, policy=load_policy(None), clock=ManualClock(NOON))

    async def told() -> tuple[int, int, int, int]:
        database = Database(database_url)
        proposals, steps = await rows(database, Proposal), await rows(database, IncidentStep)
        events = [one for one in await rows(database, FeedEvent) if one.type == "incident.proposed"]
        versions = sum(one.version - 1 for one in await rows(database, Incident))
        await database.close()
        return len(proposals), len(steps), len(events), versions

    seen = [asyncio.run(told()) for _ in killed_everywhere(database_url, look)]

    assert set(seen) <= {(0, 0, 0, 0), (1, 2, 2, 2)}
    assert seen[0] == (0, 0, 0, 0)
    assert len(seen) >= 12
    assert asyncio.run(told()) == (1, 2, 2, 2)
