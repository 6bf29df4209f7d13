"""What may be one incident across towns is proposed to the offices: once, and until one of them decides."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.feed import service as feed
from app.feed.models import FeedAudience, FeedEvent, FeedHead
from app.hazards.policy import load_policy
from app.incidents import proposing
from app.incidents.models import Incident, IncidentStep, Proposal, ProposalCursor
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    THIRD,
    TOWN,
    VILLAGE,
)
from tests.matters.acts import ON_ONE_DATABASE, act, agree, done, post, refused
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
POLICY = load_policy(None)


def at(north_m: float = 0) -> dict[str, float]:
    return {"lat": 36.9 + north_m / 111_195, "lon": 118.9}


async def look(database: Database, clock: ManualClock) -> list[Any]:
    """Run the job; the proposals that are stored then."""
    assert await proposing.run_due(database, policy=POLICY, clock=clock) is None
    return list(await rows(database, Proposal))


async def proposals(client: httpx.AsyncClient, headers: dict[str, str], incident: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/incidents/{incident}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["proposals"]
    return found


async def listed(client: httpx.AsyncClient, headers: dict[str, str], proposed: str = "true") -> set[str]:
    answer = await client.get("/v1/incidents", params={"proposed": proposed}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert all(bool(one["proposals"]) == (proposed == "true") for one in answer.json()["items"])
    return {one["id"] for one in answer.json()["items"]}


async def border(client: httpx.AsyncClient, as_: As) -> tuple[str, str]:
    """Two towns' incidents, 500 m apart."""
    one = await post(client, as_(VILLAGE, "reporter"), location=at(), **EXTREME)
    other = await post(client, as_(FAR_VILLAGE, "reporter"), location=at(500))
    return one["incident_id"], other["incident_id"]


async def test_each_town_sees_of_the_other_side_hazard_level_town_and_distance(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, other = await border(client, as_)
    assert await proposals(client, as_(TOWN, "desk"), one) == []

    await look(database, clock)

    for office, mine, its, town, level in (
        (TOWN, one, other, OTHER_TOWN, "routine"),
        (OTHER_TOWN, other, one, TOWN, "red"),
    ):
        headers = as_(office, "desk")
        (found,) = await proposals(client, headers, mine)
        assert found.pop("proposed_at")
        assert found.pop("town_name")
        assert found == {
            "id": its,
            "hazard": "flood.river",
            "level": level,
            "town": town,
            "distance_m": 500,
            "text": "Reports of the same hazard are 500 m apart in two towns.",
            "text_zh": "分属两镇、相距 500 米的报告为同一灾种。",
        }
        assert await listed(client, headers) == {mine}
        assert (await client.get(f"/v1/incidents/{its}", headers=headers)).status_code == 404
    assert await listed(client, as_(CITY, "desk")) == {one, other}
    assert await listed(client, as_(CITY, "desk"), "false") == set()


async def test_the_log_and_both_timelines_tell_it_once(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, other = await border(client, as_)

    await look(database, clock)
    await post(client, as_(VILLAGE, "reporter"), location=at(100), kind="followup")
    await post(client, as_(FAR_VILLAGE, "reporter"), location=at(150), kind="followup")
    await look(database, clock)

    told = [row for row in await rows(database, FeedEvent) if row.type == "incident.proposed"]
    assert {(row.body["id"], row.body["other"], row.node_code) for row in told} == {
        (one, other, VILLAGE),
        (other, one, FAR_VILLAGE),
    }
    assert all(row.topic == "incident" and row.version == row.body["version"] == 2 for row in told)
    assert {row.body["id"]: row.body["proposal"]["level"] for row in told} == {one: "routine", other: "red"}
    steps = [row for row in await rows(database, IncidentStep) if row.type == "incident.proposed"]
    assert {(str(row.incident_id), str(row.other_id), row.node_code) for row in steps} == {
        (one, other, None),
        (other, one, None),
    }
    assert all("500" in row.text and "500" in row.text_zh for row in steps)


async def test_a_merge_accepts_it(client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock) -> None:
    one, other = await border(client, as_)
    await look(database, clock)
    city = as_(CITY, "desk")
    await done(client, city, other, "merge", into=one, dry_run=True)
    assert len(await proposals(client, city, one)) == 1

    await done(client, city, other, "merge", into=one)

    (row,) = await look(database, clock)
    assert (row.state, row.decided_by, row.reason) == ("accepted", CITY, "【演练】同一险情")
    assert await proposals(client, city, one) == await proposals(client, city, other) == []
    assert await listed(client, city) == set()


async def test_a_dismissal_ends_it_for_good_and_twice_is_once(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, other = await border(client, as_)
    city = as_(CITY, "desk")
    assert await refused(client, city, one, "dismiss", other=other) == (409, "not_proposed")
    await look(database, clock)
    assert await refused(client, as_(TOWN, "desk"), one, "dismiss", other=other) == (422, "incident_unknown")
    assert await refused(client, as_(OTHER_TOWN, "desk"), one, "dismiss", other=other) == (404, "not_found")
    assert await refused(client, city, one, "dismiss", other=one) == (422, "incident_self")
    assert await refused(client, city, one, "dismiss", other=other, version=1) == (412, "precondition_failed")

    first = await done(client, city, one, "dismiss", other=other)
    again = await done(client, city, other, "dismiss", other=one)

    assert (first["applied"], again["applied"]) == (True, False)
    assert again["notice"]["code"] == "incident_dismissed_before"
    await post(client, as_(FAR_VILLAGE, "reporter"), location=at(10), kind="followup")
    (row,) = await look(database, clock)
    assert (row.state, row.decided_by, row.reason) == ("dismissed", CITY, "【演练】同一险情")
    assert await proposals(client, city, one) == []
    assert await listed(client, city) == set()
    told = [row for row in await rows(database, FeedEvent) if row.type == "incident.dismissed"]
    assert {(row.body["id"], row.body["other"], row.body["office"]) for row in told} == {
        (one, other, CITY),
        (other, one, CITY),
    }


async def test_a_dismissal_follows_merges(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    a = (await post(client, as_(VILLAGE, "reporter"), location=at()))["incident_id"]
    b = (await post(client, as_(FAR_VILLAGE, "reporter"), location=at(1500)))["incident_id"]
    c = (await post(client, as_(OTHER_TOWN, "desk"), location=at(-1500)))["incident_id"]
    city = as_(CITY, "desk")
    assert len({a, b, c}) == 3
    await look(database, clock)
    assert {one["id"] for one in await proposals(client, city, a)} == {b, c}

    await done(client, city, a, "dismiss", other=b)
    assert {one["id"] for one in await proposals(client, city, a)} == {c}
    await done(client, city, b, "merge", into=c)

    # B is part of C: A and C are not one either.
    assert await proposals(client, city, a) == await proposals(client, city, c) == []
    await post(client, as_(OTHER_TOWN, "desk"), location=at(-100), kind="followup")
    await look(database, clock)
    assert await listed(client, city) == set()
    assert (await done(client, city, a, "dismiss", other=c))["applied"] is False
    # Without B it is as it was.
    await done(client, city, c, "split", alias=b)
    assert {one["id"] for one in await proposals(client, city, a)} == {c}


async def test_an_open_proposal_follows_merges(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, other = await border(client, as_)
    third = (await post(client, as_(OTHER_TOWN, "desk"), location=at(9000)))["incident_id"]
    city = as_(CITY, "desk")
    await look(database, clock)

    await done(client, city, other, "merge", into=third)

    for mine, its in ((one, third), (third, one)):
        (found,) = await proposals(client, city, mine)
        assert (found["id"], found["distance_m"]) == (its, 500)
    await done(client, city, one, "dismiss", other=third)
    await done(client, city, third, "split", alias=other)
    # It was said of both.
    assert await listed(client, city) == set()


async def test_a_split_counts_as_a_dismissal_of_its_halves(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, other = await border(client, as_)
    city = as_(CITY, "desk")
    await look(database, clock)
    await done(client, city, other, "merge", into=one)
    await done(client, city, one, "split", alias=other)
    report = await post(client, as_(VILLAGE, "reporter"), location=at(10), kind="followup")
    split = (await done(client, city, one, "split", reports=[report["id"]]))["other"]["id"]

    found = await look(database, clock)

    states = {frozenset({str(row.incident_id), str(row.other_id)}): row.state for row in found}
    assert states[frozenset({one, other})] == states[frozenset({one, split})] == "dismissed"
    # What was split off lies close to the other one as well: nobody has said anything of these two.
    assert await listed(client, city) == {split, other}


async def test_a_report_that_fits_two_open_incidents_joins_one_and_proposes_their_merge(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), location=at())
    other = await post(client, as_(NEIGHBOUR, "reporter"), location=at(3000))
    assert await look(database, clock) == []

    between = await post(client, as_(THIRD, "reporter"), location=at(1400))
    await look(database, clock)

    assert between["incident_id"] == one["incident_id"] != other["incident_id"]
    assert await listed(client, as_(TOWN, "desk")) == {one["incident_id"], other["incident_id"]}
    (found,) = await proposals(client, as_(VILLAGE, "reporter"), one["incident_id"])
    assert (found["id"], found["distance_m"]) == (other["incident_id"], 1600)
    # Its own town's desk decides.
    await done(client, as_(TOWN, "desk"), one["incident_id"], "dismiss", other=other["incident_id"])
    assert await listed(client, as_(TOWN, "desk")) == set()


async def test_a_corrected_place_is_compared_again(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    me = as_(FAR_VILLAGE, "reporter")
    one = await post(client, as_(VILLAGE, "reporter"), location=at())
    far = await post(client, me, location=at(9000))
    assert await look(database, clock) == []
    same = ("id", "kind", "hazard", "urgency", "severity", "certainty", "observed_at", "submitted_at", "summary")
    body = {key: far[key] for key in same} | {"location": at(50)}

    corrected = await client.put(f"/v1/reports/{far['id']}", json=body, headers=me | {"If-Match": '"1"'})
    assert corrected.status_code == 200, corrected.text

    assert len(await look(database, clock)) == 1
    assert await listed(client, as_(CITY, "desk")) == {one["incident_id"], far["incident_id"]}


async def test_no_proposal_crosses_cities_or_a_drills_border(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    answer = await client.post("/v1/drills", json={"title": "【演练】秋汛"}, headers=as_(CITY, "desk"))
    assert answer.status_code == 201, answer.text
    drill = answer.json()["id"]
    real = await post(client, as_(VILLAGE, "reporter"), location=at())
    await post(client, as_(FAR_VILLAGE, "reporter"), location=at(), drill_id=drill)
    await post(client, as_(OTHER_CITY_VILLAGE, "reporter"), location=at())
    assert await look(database, clock) == []

    both = await post(client, as_(NEIGHBOUR, "reporter"), location=at(), drill_id=drill)
    assert both["incident_id"] != real["incident_id"]

    assert len(await look(database, clock)) == 1
    city = as_(CITY, "desk")
    assert await listed(client, city) == set()
    of_drill = await client.get("/v1/incidents", params={"proposed": "true", "drill": drill}, headers=city)
    assert len(of_drill.json()["items"]) == 2


async def test_what_is_closed_proposes_nothing_until_it_is_open_again(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), location=at())
    other = await post(client, as_(FAR_VILLAGE, "reporter"), location=at())
    city = as_(CITY, "desk")
    await done(client, city, one["incident_id"], "outcome", outcome="resolved", text="【演练】水退")
    assert await look(database, clock) == []

    await done(client, city, one["incident_id"], "reopen")
    await look(database, clock)
    both = {one["incident_id"], other["incident_id"]}
    assert await listed(client, city) == both

    await done(client, city, other["incident_id"], "outcome", outcome="resolved", text="【演练】水退")
    assert await listed(client, city) == set()
    await done(client, city, other["incident_id"], "reopen")
    assert await listed(client, city) == both


async def test_the_job_goes_on_after_a_pruned_log_a_restore_and_a_kill(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await border(client, as_)

    async def killed(*_args: Any, **_named: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(feed, "append", killed)
        with pytest.raises(RuntimeError):
            await look(database, clock)
    assert await rows(database, Proposal) == []
    assert len(await look(database, clock)) == 1

    # Everything that was read so far is forgotten, and more.
    await post(client, as_(VILLAGE, "reporter"), hazard="fire.building", location=at())
    async with database.writing() as conn:
        last = max(row.seq for row in await rows(database, FeedEvent) if row.city_id == CITY)
        await conn.execute(delete(FeedAudience).where(FeedAudience.city_id == CITY))
        await conn.execute(delete(FeedEvent).where(FeedEvent.city_id == CITY))
        await conn.execute(update(FeedHead).where(FeedHead.city_id == CITY).values(kept_from=last + 1))
    await post(client, as_(FAR_VILLAGE, "reporter"), hazard="fire.building", location=at())
    assert len(await look(database, clock)) == 2

    # The cursor is of a log that went further.
    async with database.writing() as conn:
        await conn.execute(update(ProposalCursor).values(seq=10_000))
        await conn.execute(update(FeedHead).values(epoch=new_id()))
    assert len(await look(database, clock)) == 2
    await post(client, as_(VILLAGE, "reporter"), hazard="weather.hail", location=at())
    await post(client, as_(FAR_VILLAGE, "reporter"), hazard="weather.hail", location=at())
    assert len(await look(database, clock)) == 3


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_two_processes_at_once_propose_once(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    for hazard in ("flood.river", "fire.building", "weather.hail", "service.water", "road.blocked"):
        for node in (VILLAGE, FAR_VILLAGE):
            await post(client, as_(node, "reporter"), location=at(), hazard=hazard)

    other = Database(database.url.render_as_string(hide_password=False), pool=3)
    try:
        await asyncio.gather(*(look(one, clock) for one in (database, other, database, other)))
    finally:
        await other.close()

    told = [row for row in await rows(database, FeedEvent) if row.type == "incident.proposed"]
    assert len(told) == 2 * len(await rows(database, Proposal)) == 10


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_reports_merges_dismissals_and_the_job_at_once_agree(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    city = as_(CITY, "desk")
    hazards = ("flood.river", "fire.building", "weather.hail", "service.water", "road.blocked", "flood.flash")
    pairs = []
    for hazard in hazards:
        found = [
            await post(client, as_(node, "reporter"), location=at(), hazard=hazard, summary=f"【演练】{hazard}")
            for node in (VILLAGE, FAR_VILLAGE)
        ]
        pairs.append([one["incident_id"] for one in found])

    async def report(node: str, hazard: str) -> None:
        await post(client, as_(node, "reporter"), location=at(), hazard=hazard, kind="followup")

    async def decide(verb: str, one: str, **body: str) -> None:
        while (answer := await act(client, city, one, verb, **body)).status_code == 409:
            assert answer.json()["code"] == "not_proposed", answer.text
            await asyncio.sleep(0.05)
        assert answer.status_code == 200, answer.text

    jobs = [proposing.run_due(database, policy=POLICY, clock=clock) for _ in range(3)]
    reports = [report(node, hazard) for hazard in hazards for node in (VILLAGE, FAR_VILLAGE)]
    merges = [decide("merge", other, into=one) for one, other in pairs[:3]]
    dismissals = [decide("dismiss", one, other=other) for one, other in pairs[3:]]
    await asyncio.gather(*jobs, *reports, *merges, *dismissals, proposing.run_due(database, policy=POLICY, clock=clock))

    stored = await look(database, clock)
    assert await listed(client, city) == set()
    dismissed = {frozenset(map(str, (row.incident_id, row.other_id))) for row in stored if row.state == "dismissed"}
    assert dismissed == {frozenset(pair) for pair in pairs[3:]}
    for row in await rows(database, Incident):
        steps = [step for step in await rows(database, IncidentStep) if step.incident_id == row.id]
        assert len([step for step in steps if step.type == "incident.proposed"]) <= 1
    await agree(database)


@ON_ONE_DATABASE
async def test_what_happens_besides_costs_the_job_no_write(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    one, _ = await border(client, as_)
    await look(database, clock)
    before = {row.id: row.version for row in await rows(database, Incident)}

    await done(client, as_(CITY, "desk"), one, "assign", node=TOWN)
    await look(database, clock)
    await look(database, clock)

    after = {row.id: row.version for row in await rows(database, Incident)}
    assert after == before | {UUID(one): before[UUID(one)] + 1}
