"""One incident that was two: reports leave, and merges are undone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.incidents.models import IncidentMove, IncidentStep
from tests.alerts.acts import got
from tests.builders import CITY, FAR_VILLAGE, FOURTH, NEIGHBOUR, NOON, OTHER_TOWN, THIRD, TOWN, URGENT, VILLAGE
from tests.matters.acts import FIRE, ON_ONE_DATABASE, As, agree, done, post, refused, standing
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio


async def one_of_three(client: httpx.AsyncClient, as_: As) -> list[dict[str, Any]]:
    """Reports of three villages in one incident."""
    first = await post(client, as_(VILLAGE, "reporter"))
    town = as_(TOWN, "desk")
    return [
        first,
        *[
            await post(client, town, node=node, incident_id=first["incident_id"], summary=f"【演练】{node}渗水", **more)
            for node, more in ((NEIGHBOUR, URGENT), (THIRD, {}))
        ],
    ]


async def test_named_reports_leave_into_a_new_incident(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    first, _second, third = await one_of_three(client, as_)
    town = as_(TOWN, "desk")

    split = await done(client, town, first["incident_id"], "split", reports=[third["id"]])

    new = split["other"]
    assert (split["applied"], split["moved"]) == (True, [third["id"]])
    assert split["incident"]["reports"] == 2
    assert (new["reports"], new["node"], new["headline"], new["state"]) == (1, THIRD, f"【演练】{THIRD}渗水", "open")
    assert new["level"] == third["level"]
    shown = await got(client, as_(THIRD, "reporter"), f"/v1/reports/{third['id']}")
    assert shown["incident_id"] == new["id"]
    steps = (await got(client, town, f"/v1/incidents/{new['id']}/timeline"))["items"]
    assert [(step["type"], step["other"]) for step in steps] == [("incident.opened", first["incident_id"])]
    again = await post(client, as_(THIRD, "reporter"), kind="followup")
    assert again["incident_id"] == new["id"]
    await agree(database)


@ON_ONE_DATABASE
async def test_when_the_first_node_leaves_the_rest_begins_where_it_was_heard_next(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    first, second, _ = await one_of_three(client, as_)

    split = await done(client, as_(TOWN, "desk"), first["incident_id"], "split", reports=[first["id"]])

    assert (split["incident"]["node"], split["other"]["node"]) == (NEIGHBOUR, VILLAGE)
    mine = await post(client, as_(VILLAGE, "reporter"), kind="followup")
    theirs = await post(client, as_(NEIGHBOUR, "reporter"), kind="followup")
    assert mine["incident_id"] == split["other"]["id"]
    assert theirs["incident_id"] == first["incident_id"] == second["incident_id"]
    await agree(database)


async def test_a_split_undoes_a_merge_and_history_keeps_both(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), summary="【演练】河水上涨")
    other = await post(client, as_(NEIGHBOUR, "reporter"), summary="【演练】堤脚渗水", **URGENT)
    town = as_(TOWN, "desk")
    before = await standing(database)
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    split = await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert await standing(database) == before
    assert (split["other"]["id"], split["other"]["state"]) == (other["incident_id"], "open")
    assert split["other"]["merged_into"] is None
    assert [(str(row.from_incident), str(row.to_incident)) for row in await rows(database, IncidentMove)] == [
        (other["incident_id"], one["incident_id"]),
        (one["incident_id"], other["incident_id"]),
    ]
    steps = (await got(client, town, f"/v1/incidents/{other['incident_id']}/timeline"))["items"]
    assert [step["type"] for step in steps] == ["incident.merged", "incident.restored"]


@ON_ONE_DATABASE
async def test_what_came_after_the_merge_stays(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    later = await post(client, as_(NEIGHBOUR, "reporter"), kind="followup")

    split = await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert later["incident_id"] == one["incident_id"]
    assert split["moved"] == [other["id"]]
    assert (split["incident"]["reports"], split["other"]["reports"]) == (2, 1)
    await agree(database)


async def test_a_report_that_was_split_off_meanwhile_does_not_go_back(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    second = await post(client, as_(NEIGHBOUR, "reporter"), kind="followup")
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    left = await done(client, town, one["incident_id"], "split", reports=[second["id"]])
    # Also when it came back another way.
    await done(client, town, left["other"]["id"], "merge", into=one["incident_id"])

    split = await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert split["moved"] == [other["id"]]
    assert split["incident"]["aliases"] == [left["other"]["id"]]
    await done(client, town, one["incident_id"], "split", alias=left["other"]["id"])
    assert {key: len(value[0]) for key, value in (await standing(database)).items()} == dict.fromkeys(
        map(UUID, (one["incident_id"], other["incident_id"], left["other"]["id"])), 1
    )
    await agree(database)


async def test_an_alias_that_brought_aliases_takes_them_along(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    made = [await post(client, as_(node, "reporter")) for node in (VILLAGE, NEIGHBOUR, THIRD, FOURTH)]
    one, two, three, four = (report["incident_id"] for report in made)
    town = as_(TOWN, "desk")
    await done(client, town, one, "merge", into=two)
    two_of_them = await standing(database)
    await done(client, town, two, "merge", into=three)
    await done(client, town, four, "merge", into=three)

    await done(client, town, three, "split", alias=four)
    split = await done(client, town, three, "split", alias=two)

    assert await standing(database) == two_of_them
    assert split["other"]["aliases"] == [one]
    back = await done(client, town, two, "split", alias=one)
    assert back["moved"] == [made[0]["id"]]
    await agree(database)


@ON_ONE_DATABASE
async def test_an_inner_alias_leaves_the_whole_alone(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    made = [await post(client, as_(node, "reporter")) for node in (VILLAGE, NEIGHBOUR, THIRD)]
    one, two, three = (report["incident_id"] for report in made)
    town = as_(TOWN, "desk")
    await done(client, town, one, "merge", into=two)
    await done(client, town, two, "merge", into=three)

    split = await done(client, town, three, "split", alias=one)
    assert (split["moved"], split["incident"]["aliases"]) == ([made[0]["id"]], [two])
    split = await done(client, town, three, "split", alias=two)
    assert (split["moved"], split["other"]["aliases"]) == ([made[1]["id"]], [])
    await agree(database)


async def test_a_dry_run_of_a_split_stores_nothing(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    first, second, _third = await one_of_three(client, as_)
    town = as_(TOWN, "desk")
    before = await counts(database), await standing(database)

    shown = await done(client, town, first["incident_id"], "split", reports=[second["id"]], dry_run=True)

    assert (await counts(database), await standing(database)) == before
    assert await rows(database, IncidentMove) == await rows(database, IncidentStep) == []
    assert (shown["applied"], shown["dry_run"], shown["moved"]) == (False, True, [second["id"]])
    assert shown["other"]["node"] == NEIGHBOUR


@ON_ONE_DATABASE
async def test_what_cannot_be_split_is_refused(client: httpx.AsyncClient, as_: As) -> None:
    first, second, third = await one_of_three(client, as_)
    stranger = await post(client, as_(FOURTH, "reporter"))
    town, incident = as_(TOWN, "desk"), first["incident_id"]
    everything = [one["id"] for one in (first, second, third)]

    assert await refused(client, town, incident, "split", reports=everything) == (422, "nothing_left")
    assert await refused(client, town, incident, "split", reports=[stranger["id"]]) == (422, "reports_elsewhere")
    assert await refused(client, town, incident, "split", reports=[str(new_id())]) == (422, "reports_elsewhere")
    assert await refused(client, town, incident, "split", reports=[]) == (422, "invalid")
    assert await refused(client, town, incident, "split") == (422, "invalid")
    assert await refused(client, town, incident, "split", alias=stranger["incident_id"]) == (422, "alias_unknown")
    assert await refused(client, town, incident, "split", alias=str(new_id())) == (422, "incident_unknown")
    assert await refused(client, town, incident, "split", reports=[third["id"]], version=9) == (
        412,
        "precondition_failed",
    )
    assert await refused(client, as_(VILLAGE, "desk"), incident, "split", reports=[third["id"]]) == (
        403,
        "incident_beyond",
    )
    assert await refused(client, as_(OTHER_TOWN, "desk"), incident, "split", reports=[third["id"]]) == (
        404,
        "not_found",
    )


@ON_ONE_DATABASE
async def test_an_alias_that_stands_alone_again_is_no_news(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    again = await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    assert (again["applied"], again["notice"]["code"]) == (False, "incident_split_before")


@ON_ONE_DATABASE
async def test_an_alias_whose_reports_have_all_left_is_not_opened_empty(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    await done(client, town, one["incident_id"], "split", reports=[other["id"]])

    assert await refused(client, town, one["incident_id"], "split", alias=other["incident_id"]) == (409, "alias_empty")


@ON_ONE_DATABASE
async def test_the_next_towns_reports_are_split_off_by_the_city(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    city = as_(CITY, "desk")
    far = await post(client, city, node=FAR_VILLAGE, incident_id=one["incident_id"])
    far_town = as_(OTHER_TOWN, "desk")
    await got(client, far_town, f"/v1/incidents/{one['incident_id']}")
    assert await refused(client, far_town, one["incident_id"], "split", reports=[far["id"]]) == (403, "incident_beyond")

    split = await done(client, city, one["incident_id"], "split", reports=[far["id"]])

    assert (await got(client, far_town, f"/v1/incidents/{split['other']['id']}"))["node"] == FAR_VILLAGE
    assert (await client.get(f"/v1/incidents/{one['incident_id']}", headers=far_town)).status_code == 404
    await agree(database)


@ON_ONE_DATABASE
async def test_a_node_that_moved_while_its_incident_was_an_alias_is_found_in_its_new_town(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one = await post(client, as_(NEIGHBOUR, "reporter"))
    other = await post(client, as_(VILLAGE, "reporter"))
    city = as_(CITY, "desk")
    await done(client, city, other["incident_id"], "merge", into=one["incident_id"])
    await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))

    await done(client, city, one["incident_id"], "split", alias=other["incident_id"])

    named = await post(client, as_(OTHER_TOWN, "desk"), node=VILLAGE, incident_id=other["incident_id"])
    assert named["incident_id"] == other["incident_id"]


async def test_figures_tell_each_moment_by_the_moves(
    client: httpx.AsyncClient, as_: As, database: Database, app: FastAPI, clock: ManualClock
) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), **FIRE)
    other = await post(client, as_(NEIGHBOUR, "reporter"), **FIRE)
    town = as_(TOWN, "desk")
    clock.advance(timedelta(hours=1))
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    clock.advance(timedelta(hours=1))
    await done(client, town, one["incident_id"], "split", alias=other["incident_id"])

    moves = await rows(database, IncidentMove)

    assert [(str(row.report_id), row.at - NOON) for row in moves] == [
        (other["id"], timedelta(hours=1)),
        (other["id"], timedelta(hours=2)),
    ]
