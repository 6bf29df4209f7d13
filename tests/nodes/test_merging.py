import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.nodes.borders import borders
from app.nodes.models import Node, NodeSpan, NodeSuccession
from app.reports.models import Report
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    FOURTH,
    NEIGHBOUR,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    THIRD,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Act = Callable[..., Any]


@pytest.fixture
def act(client: httpx.AsyncClient, as_: As) -> Act:
    """`await act(VILLAGE, "merge", into=NEIGHBOUR)`: what it answers, as a city's administrator."""

    async def done(code: str, what: str, *, expect: int = 200, **body: Any) -> Any:
        answer = await client.post(f"/v1/nodes/{code}/{what}", json=body, headers=as_(CITY, "admin"))
        assert answer.status_code == expect, answer.text
        return answer.json()

    return done


async def tree(database: Database) -> dict[str, tuple[str, str | None]]:
    """The open nodes: what each is called and stands under."""
    return {one.code: (one.name, one.parent_code) for one in await rows(database, Node) if one.closed_on is None}


async def test_a_village_becomes_part_of_another_and_stands_again(
    client: httpx.AsyncClient, as_: As, act: Act, database: Database, clock: ManualClock
) -> None:
    before = await tree(database)
    stored = (await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))).json()

    told = await act(VILLAGE, "merge", into=FAR_VILLAGE)

    assert told == {
        "applied": True,
        "effective_on": "2018-08-20",
        "changes": [{"node": VILLAGE, "name": "口子村", "what": "merged", "old": TOWN, "new": FAR_VILLAGE}],
    }
    node = (await client.get(f"/v1/nodes/{VILLAGE}", headers=as_(CITY, "desk"))).json()
    assert (node["closed_on"], node["merged_into"], node["parent"]) == ("2018-08-20", FAR_VILLAGE, TOWN)
    # Its reports are still its own; whoever it is part of sees them, with the town above.
    for office, sees in ((FAR_VILLAGE, 1), (OTHER_TOWN, 1), (TOWN, 1), (CITY, 1), (NEIGHBOUR, 0)):
        listed = (await client.get("/v1/reports", headers=as_(office, "desk"))).json()["items"]
        assert [one["node"] for one in listed] == [VILLAGE] * sees, office
    assert (await client.get(f"/v1/reports/{stored['id']}", headers=as_(OTHER_TOWN, "desk"))).status_code == 200
    assert (await client.get("/v1/me", headers=as_(VILLAGE, "reporter"))).status_code == 401

    clock.advance(timedelta(days=1))
    told = await act(FAR_VILLAGE, "split", parts=[{"code": VILLAGE}])

    assert told["changes"] == [{"node": VILLAGE, "name": "口子村", "what": "reopened", "old": FAR_VILLAGE, "new": TOWN}]
    assert await tree(database) == before
    assert (await client.get("/v1/reports", headers=as_(OTHER_TOWN, "desk"))).json()["items"] == []
    assert (await client.get("/v1/me", headers=as_(VILLAGE, "reporter"))).status_code == 200
    spans = [(str(one.since), str(one.until)) for one in await rows(database, NodeSpan) if one.code == VILLAGE]
    assert sorted(spans) == [("2000-01-01", "2018-08-20"), ("2018-08-21", "None")]
    assert [(one.kind, one.other) for one in await rows(database, NodeSuccession)] == [
        ("merge", FAR_VILLAGE),
        ("split", FAR_VILLAGE),
    ]


async def test_a_town_brings_its_villages_and_takes_those_back_that_are_still_there(
    client: httpx.AsyncClient, as_: As, act: Act, database: Database, clock: ManualClock
) -> None:
    stored = (await client.post("/v1/reports", json=report(**URGENT), headers=as_(VILLAGE, "reporter"))).json()
    told = await act(TOWN, "merge", into=OTHER_TOWN)

    assert [(one["node"], one["what"], one["new"]) for one in told["changes"]] == [
        *((village, "moved", OTHER_TOWN) for village in (VILLAGE, NEIGHBOUR, THIRD, FOURTH)),
        (TOWN, "merged", OTHER_TOWN),
    ]
    # What the town held and had not taken on, its successor holds.
    held = (await client.get(f"/v1/reports/{stored['id']}", headers=as_(OTHER_TOWN, "desk"))).json()["custody"]
    assert {one["node"] for one in held} == {OTHER_TOWN, CITY}
    alerts = (await client.get("/v1/alerts", headers=as_(OTHER_TOWN, "desk"))).json()["items"]
    assert [one["id"] for one in alerts] == [stored["alert_id"]]
    async with database.reading() as conn:
        found = await borders(conn, city_id=CITY, on=clock.now().date())
    assert found.merges == {TOWN: OTHER_TOWN}
    assert found.parents[VILLAGE] == OTHER_TOWN

    clock.advance(timedelta(days=1))
    await act(VILLAGE, "merge", into=FAR_VILLAGE)
    told = await act(OTHER_TOWN, "split", parts=[{"code": TOWN}])

    assert [(one["node"], one["what"], one["new"]) for one in told["changes"]] == [
        (TOWN, "reopened", CITY),
        *((village, "moved", TOWN) for village in (NEIGHBOUR, THIRD, FOURTH)),
    ]
    async with database.reading() as conn:
        then = await borders(conn, city_id=CITY, on=clock.now().date() - timedelta(days=1))
    assert then == found


async def test_what_was_merged_before_goes_with_it_there_and_back(act: Act, database: Database) -> None:
    await act(VILLAGE, "merge", into=NEIGHBOUR)
    await act(NEIGHBOUR, "merge", into=THIRD)
    merged = {one.code: one.merged_into for one in await rows(database, Node) if one.merged_into}
    await act(THIRD, "split", parts=[{"code": NEIGHBOUR}])

    assert merged == {VILLAGE: THIRD, NEIGHBOUR: THIRD}
    assert {one.code: one.merged_into for one in await rows(database, Node) if one.merged_into} == {VILLAGE: NEIGHBOUR}


async def test_a_new_part_stands_beside_with_the_villages_it_names(
    client: httpx.AsyncClient, as_: As, act: Act
) -> None:
    told = await act(TOWN, "split", parts=[{"code": "t-new", "name": "上口新区", "children": [VILLAGE, THIRD]}])

    assert [(one["node"], one["what"], one["old"], one["new"]) for one in told["changes"]] == [
        ("t-new", "created", TOWN, CITY),
        (VILLAGE, "moved", TOWN, "t-new"),
        (THIRD, "moved", TOWN, "t-new"),
    ]
    node = (await client.get("/v1/nodes/t-new", headers=as_(CITY, "desk"))).json()
    assert (node["tier"], node["parent"], node["opened_on"]) == ("town", CITY, "2018-08-20")
    code = await act(NEIGHBOUR, "split", parts=[{"code": "v-new", "name": "东堤新村"}])
    assert code["changes"][0]["new"] == TOWN


@pytest.mark.parametrize("what", ["merge", "split"])
async def test_a_dry_run_tells_the_same_and_changes_nothing(act: Act, database: Database, what: str) -> None:
    body: dict[str, Any] = {"into": OTHER_TOWN}
    code = TOWN
    if what == "split":
        await act(TOWN, "merge", into=OTHER_TOWN)
        code, body = OTHER_TOWN, {"parts": [{"code": TOWN}]}
    before = await counts(database), await tree(database)

    dry = await act(code, what, dry_run=True, **body)

    assert (await counts(database), await tree(database)) == before
    done = await act(code, what, **body)
    assert (dry.pop("applied"), done.pop("applied")) == (False, True)
    assert dry == done


@pytest.mark.parametrize(
    ("code", "into", "on", "expect", "problem"),
    [
        (VILLAGE, VILLAGE, None, 422, "node_merge_wrong"),
        (VILLAGE, OTHER_TOWN, None, 422, "node_merge_wrong"),
        (CITY, TOWN, None, 422, "node_merge_wrong"),
        (VILLAGE, OTHER_CITY_VILLAGE, None, 422, "node_unknown"),
        ("nowhere", VILLAGE, None, 404, "not_found"),
        (VILLAGE, NEIGHBOUR, "2018-08-21", 422, "node_date_wrong"),
        (VILLAGE, NEIGHBOUR, "2000-01-01", 422, "node_date_wrong"),
        (THIRD, FOURTH, None, 422, "node_closed"),
        (FOURTH, THIRD, None, 422, "node_closed"),
    ],
)
async def test_what_cannot_be_merged_is_told(
    act: Act, database: Database, code: str, into: str, on: str | None, expect: int, problem: str
) -> None:
    await act(THIRD, "merge", into=VILLAGE)
    if into == FOURTH:
        code = THIRD
    before = await counts(database)

    answer = await act(code, "merge", into=into, effective_on=on, expect=expect)

    assert answer["code"] == problem
    assert await counts(database) == before


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([{"code": NEIGHBOUR}], "node_split_wrong"),
        ([{"code": "v-new"}], "node_split_wrong"),
        ([{"code": "t-new", "name": "新", "children": [VILLAGE]}], "node_split_wrong"),
        ([{"code": THIRD}, {"code": THIRD}], "invalid"),
    ],
)
async def test_what_cannot_part_is_told(
    act: Act, database: Database, parts: list[dict[str, Any]], problem: str
) -> None:
    before = await counts(database)

    answer = await act(VILLAGE, "split", parts=parts, expect=422)

    assert answer["code"] == problem
    assert await counts(database) == before


async def test_only_who_keeps_the_tree_merges(client: httpx.AsyncClient, as_: As) -> None:
    for headers, expect in ((as_(CITY, "desk"), 403), (as_(OTHER_TOWN, "admin"), 404)):
        answer = await client.post(f"/v1/nodes/{VILLAGE}/merge", json={"into": NEIGHBOUR}, headers=headers)
        assert answer.status_code == expect


@pytest.mark.parametrize("seed", range(4))
async def test_split_undoes_merge_whatever_was_merged_before(
    act: Act, database: Database, clock: ManualClock, seed: int
) -> None:
    rng = random.Random(seed)
    done: list[tuple[dict[str, tuple[str, str | None]], str, str]] = []
    for _ in range(6):
        before = await tree(database)
        tier = rng.choice(("village", "village", "village", "town"))
        open_ones = sorted(
            one.code
            for one in await rows(database, Node)
            if one.closed_on is None and one.tier == tier and one.city_id == CITY
        )
        if len(open_ones) < 2:
            continue
        code, into = rng.sample(open_ones, 2)
        await act(code, "merge", into=into)
        done.append((before, code, into))
        clock.advance(timedelta(days=rng.randint(0, 2)))
    assert done
    for before, code, into in reversed(done):
        assert await tree(database) != before
        await act(into, "split", parts=[{"code": code}])
        assert await tree(database) == before
        clock.advance(timedelta(days=rng.randint(0, 2)))
    assert not any(one.merged_into for one in await rows(database, Node))


async def test_what_is_in_flight_while_a_village_is_merged_is_stored_or_held(
    client: httpx.AsyncClient, as_: As, act: Act, database: Database
) -> None:
    bodies = [report(node=VILLAGE) for _ in range(24)]

    async def post(at: int) -> int:
        await asyncio.sleep(0)
        headers = as_(VILLAGE, "reporter") if at % 2 else as_(TOWN, "desk")
        return (await client.post("/v1/reports", json=bodies[at], headers=headers)).status_code

    first = [asyncio.create_task(post(at)) for at in range(12)]
    merging = asyncio.create_task(act(VILLAGE, "merge", into=NEIGHBOUR))
    rest = [asyncio.create_task(post(at)) for at in range(12, 24)]
    answers = await asyncio.gather(*first, *rest)
    await merging
    late = await asyncio.gather(*(post(at) for at in range(24)))

    assert set(answers) <= {201, 202}
    assert set(late) <= {200, 202}
    stored = {str(one.id) for one in await rows(database, Report)}
    assert stored == {body["id"] for body, status in zip(bodies, answers, strict=True) if status == 201}


@pytest.mark.parametrize(
    ("node", "found"),
    [
        (VILLAGE, {VILLAGE}),
        (NEIGHBOUR, {VILLAGE, NEIGHBOUR}),
        (TOWN, {VILLAGE, NEIGHBOUR}),
        (CITY, {VILLAGE, NEIGHBOUR, FAR_VILLAGE}),
    ],
)
async def test_a_list_of_one_nodes_reports_has_those_of_what_became_part_of_it(
    client: httpx.AsyncClient, as_: As, act: Act, node: str, found: set[str]
) -> None:
    for one in (VILLAGE, NEIGHBOUR, FAR_VILLAGE):
        await client.post("/v1/reports", json=report(), headers=as_(one, "reporter"))
    await act(VILLAGE, "merge", into=NEIGHBOUR)

    answer = await client.get("/v1/reports", params={"node": node}, headers=as_(CITY, "desk"))

    assert {one["node"] for one in answer.json()["items"]} == found
