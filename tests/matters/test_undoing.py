"""Split undoes merge: whatever was reported, merged and split before. And no danger is ever left without its alert."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.alerts.models import Alert, AlertStep
from app.core.database import Database
from app.core.ids import new_id
from app.hazards.cap import Level
from app.reports.models import Report
from tests.builders import CITY, EXTREME, FAR_VILLAGE, FOURTH, NEIGHBOUR, ROUTINE, THIRD, URGENT, VILLAGE, report
from tests.matters.acts import As, act, agree, done, standing
from tests.tables import rows

pytestmark = pytest.mark.anyio

NODES = (VILLAGE, NEIGHBOUR, THIRD, FOURTH, FAR_VILLAGE)
HAZARDS = ("flood.river", "fire.building")
TRIADS = (ROUTINE, {**ROUTINE, "severity": "Severe"}, URGENT, EXTREME)

TOLD = st.tuples(
    st.just("told"), st.integers(0, 4), st.integers(0, 1), st.integers(0, 3), st.integers(0, 2), st.integers(-90, 90)
)
NUMBER = st.integers(0, 20)
ACTS = st.one_of(
    TOLD,
    st.tuples(st.just("merge"), NUMBER, NUMBER),
    st.tuples(st.just("merge"), NUMBER, NUMBER),
    st.tuples(st.just("split"), NUMBER, st.integers(1, 15)),
    st.tuples(st.just("undo"), NUMBER),
    st.tuples(st.just("correct"), NUMBER, st.integers(0, 3), st.integers(0, 2), st.integers(-200, 90)),
)
LIVES = st.tuples(st.lists(TOLD, min_size=3, max_size=6), st.lists(ACTS, min_size=2, max_size=6))


class World:
    """One city through its API, as one example of the property leaves it."""

    def __init__(self, client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
        self.client, self.desk = client, as_(CITY, "desk")
        self.database: Database = app.state.database
        self.clock = app.state.clock
        # No report of the examples before is near in time.
        self.clock.advance(timedelta(days=40))
        self.incidents: list[str] = []
        self.before: set[UUID] = set()

    async def begin(self) -> None:
        self.before = set(await standing(self.database))

    async def standing(self) -> dict[UUID, Any]:
        found = await standing(self.database)
        return {one: what for one, what in found.items() if one not in self.before}

    async def tell(self, *told: tuple[Any, ...]) -> None:
        now = self.clock.now()
        # Reports of one moment stand in the order they came in, whatever ids their devices gave them.
        ids = sorted((new_id() for _ in told), reverse=True)
        items = [
            report(
                report_id,
                node=NODES[node],
                hazard=HAZARDS[hazard],
                **TRIADS[triad],
                summary=f"【演练】险情{words}",
                observed_at=(now + timedelta(minutes=minutes - 120)).isoformat(),
                submitted_at=now.isoformat(),
            )
            for report_id, (_, node, hazard, triad, words, minutes) in zip(ids, told, strict=True)
        ]
        answer = await self.client.post("/v1/reports/batch", json={"reports": items}, headers=self.desk)
        for one in answer.json()["results"]:
            assert one["status"] == "created", one
        self.incidents = sorted(str(one) for one in await self.standing())

    async def merge(self, number: int, into: int) -> None:
        """Merge, undo it, merge again: the second state is the first, the last is that after the merge."""
        source, target = self._one(number), self._one(into)
        before = await self.standing()
        answer = await act(self.client, self.desk, source, "merge", into=target)
        if answer.status_code != 200 or not answer.json()["applied"]:
            assert await self.standing() == before
            return
        merged = await self.standing()

        await done(self.client, self.desk, target, "split", alias=source)
        assert await self.standing() == before
        await self.safe()

        await done(self.client, self.desk, source, "merge", into=target)
        assert await self.standing() == merged

    async def split(self, number: int, which: int) -> None:
        incident = self._one(number)
        reports = sorted((await self.standing())[UUID(incident)][0])
        wanted = [str(one) for at, one in enumerate(reports) if which >> at & 1]
        answer = await act(
            self.client, self.desk, incident, "split", reports=wanted or [str(reports[0])] if reports else wanted
        )
        assert answer.status_code in (200, 409, 422), answer.text
        self.incidents = sorted(str(one) for one in await self.standing())

    async def undo(self, number: int) -> None:
        found = await self.standing()
        aliases = sorted(one for one, what in found.items() if what[2] is not None)
        if aliases:
            alias = aliases[number % len(aliases)]
            answer = await act(self.client, self.desk, str(found[alias][2]), "split", alias=str(alias))
            assert answer.status_code in (200, 409, 422), answer.text

    async def correct(self, number: int, triad: int, words: int, minutes: int) -> None:
        mine = {one for what in (await self.standing()).values() for one in what[0]}
        known = sorted((row for row in await rows(self.database, Report) if row.id in mine), key=lambda row: row.id)
        row = known[number % len(known)]
        now = self.clock.now()
        body = report(
            row.id,
            node=row.node_code,
            hazard=row.hazard,
            **TRIADS[triad],
            summary=f"【演练】险情{words}",
            observed_at=(now + timedelta(minutes=minutes - 120)).isoformat(),
            submitted_at=now.isoformat(),
        )
        tag = {"If-Match": f'"{row.version}"'}
        answer = await self.client.put(f"/v1/reports/{row.id}", json=body, headers=self.desk | tag)
        assert answer.status_code == 200, answer.text

    async def safe(self) -> None:
        """Nobody closes an alert here: every urgent report's incident has an open one, no less grave."""
        await agree(self.database)
        alerts = await rows(self.database, Alert)
        open_now = {one.incident_id: Level(one.level) for one in alerts if one.state != "closed"}
        for one in await rows(self.database, Report):
            level = Level(one.level)
            if level in (Level.RED, Level.ORANGE):
                assert open_now[one.incident_id].rank >= level.rank
                assert one.alert_id is not None
        told = {(one.alert_id, one.version): one.text for one in await rows(self.database, AlertStep)}
        by_id = {str(one.id): one for one in alerts}
        for one in alerts:
            if one.state == "closed":
                instead = told[one.id, one.version].split("alert ")[1].split(" ")[0]
                assert Level(by_id[instead].level).rank >= Level(one.level).rank

    def _one(self, number: int) -> str:
        return self.incidents[number % len(self.incidents)]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=LIVES)
@example(
    life=(
        [("told", 0, 0, 0, 0, 0), ("told", 0, 0, 0, 1, 0), ("told", 1, 0, 2, 2, 0)],
        [("merge", 1, 0)],
    )
)
@example(
    life=(
        [("told", 0, 0, 2, 0, 0), ("told", 1, 0, 3, 1, 0), ("told", 4, 0, 0, 2, 0)],
        [("merge", 1, 0), ("told", 1, 0, 1, 0, 0), ("merge", 0, 2), ("split", 2, 1), ("undo", 0), ("undo", 0)],
    )
)
async def test_a_split_undoes_a_merge(life: Any, client: httpx.AsyncClient, as_: As, app: FastAPI) -> None:
    told, acts = life
    world = World(client, as_, app)
    await world.begin()
    await world.tell(*told)

    for verb, *numbers in acts:
        world.clock.advance(timedelta(minutes=1))
        if verb == "told":
            await world.tell((verb, *numbers))
        else:
            await getattr(world, verb)(*numbers)
        await world.safe()
