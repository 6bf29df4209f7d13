"""Incidents that were one: all reports go to the other, and the name stays good."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from app.incidents import service as incidents
from app.incidents.models import IncidentMove, IncidentStep
from app.reports.models import Report
from tests.alerts.acts import got
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    OTHER_CITY,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    THIRD,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.drills.acts import begin
from tests.matters.acts import FIRE, ON_ONE_DATABASE, As, act, agree, done, post, refused, standing
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio


async def two(client: httpx.AsyncClient, as_: As, **second: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reports of two villages of one town that are two incidents."""
    one = await post(client, as_(VILLAGE, "reporter"), summary="【演练】河水上涨")
    other = await post(client, as_(NEIGHBOUR, "reporter"), **{"summary": "【演练】堤脚渗水", **second})
    assert one["incident_id"] != other["incident_id"]
    return one, other


async def test_a_merge_moves_all_reports_and_leaves_an_alias(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, other = await two(client, as_)
    second = await post(client, as_(NEIGHBOUR, "reporter"), summary="【演练】渗水扩大")
    town = as_(TOWN, "desk")

    merged = await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    assert merged["applied"] is True
    assert merged["incident"]["reports"] == 3
    assert merged["incident"]["aliases"] == [other["incident_id"]]
    assert merged["other"]["merged_into"] == one["incident_id"]
    assert merged["other"]["state"] == "closed"
    assert set(merged["moved"]) == {other["id"], second["id"]}
    alias = await got(client, town, f"/v1/incidents/{other['incident_id']}")
    assert (alias["merged_into"], alias["headline"]) == (one["incident_id"], "【演练】堤脚渗水")
    shown = await got(client, town, f"/v1/reports/{second['id']}")
    assert shown["incident_id"] == one["incident_id"]
    for node in (VILLAGE, NEIGHBOUR):
        for incident in (one, other):
            await got(client, as_(node, "reporter"), f"/v1/incidents/{incident['incident_id']}")
    assert {(str(row.from_incident), str(row.to_incident)) for row in await rows(database, IncidentMove)} == {
        (other["incident_id"], one["incident_id"])
    }
    await agree(database)


@ON_ONE_DATABASE
async def test_lists_hide_aliases_unless_asked(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_)
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    listed = (await got(client, town, "/v1/incidents"))["items"]
    whole = (await got(client, town, "/v1/incidents", aliases=True))["items"]

    assert [(item["id"], item["aliases"]) for item in listed] == [(one["incident_id"], [other["incident_id"]])]
    assert {item["id"] for item in whole} == {one["incident_id"], other["incident_id"]}


async def test_the_device_learns_where_its_reports_went(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_)
    device = as_(NEIGHBOUR, "reporter")
    start = (await got(client, device, "/v1/reports/changes"))["cursor"]

    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    changes = (await got(client, device, "/v1/reports/changes", since=start))["results"]
    assert [(change["type"], change["report"]["id"]) for change in changes] == [("report.moved", other["id"])]
    told = changes[0]["report"]
    assert (told["from"], told["to"]) == (other["incident_id"], one["incident_id"])
    assert told["incident_id"] == one["incident_id"]
    assert (told["office"], told["reason"]) == (TOWN, "【演练】同一险情")


@ON_ONE_DATABASE
async def test_both_timelines_tell_of_it_in_both_languages(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_)
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    first = (await got(client, town, f"/v1/incidents/{one['incident_id']}/timeline"))["items"]
    second = (await got(client, town, f"/v1/incidents/{other['incident_id']}/timeline"))["items"]

    assert [(step["type"], step["node"], step["tier"], step["other"]) for step in first] == [
        ("incident.updated", TOWN, "town", other["incident_id"])
    ]
    assert [(step["type"], step["other"]) for step in second] == [("incident.merged", one["incident_id"])]
    assert "上口镇将“【演练】堤脚渗水”并入“【演练】河水上涨”：【演练】同一险情" in second[0]["text_zh"]
    assert "merged" in second[0]["text"]
    page = await got(client, town, f"/v1/incidents/{one['incident_id']}/timeline", limit=1)
    assert page["next"] is None
    assert (
        await client.get(f"/v1/incidents/{one['incident_id']}/timeline", headers=as_(OTHER_TOWN, "desk"))
    ).status_code == 404


@ON_ONE_DATABASE
async def test_the_graver_headline_stands_and_nodes_are_joined(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_, **URGENT)

    merged = await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    assert merged["incident"]["level"] == other["level"] != one["level"]
    assert merged["incident"]["headline"] == "【演练】堤脚渗水"
    assert merged["incident"]["node"] == VILLAGE


@ON_ONE_DATABASE
async def test_the_same_merge_again_changes_nothing(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one, other = await two(client, as_)
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    before = await counts(database), len(await rows(database, IncidentStep))

    again = await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    assert again["applied"] is False
    assert again["notice"]["code"] == "incident_merged_before"
    assert (await counts(database), len(await rows(database, IncidentStep))) == before


async def test_a_dry_run_shows_all_and_stores_nothing(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one, other = await two(client, as_, **URGENT)
    town = as_(TOWN, "desk")
    before = await counts(database), await standing(database)

    shown = await done(client, town, other["incident_id"], "merge", into=one["incident_id"], dry_run=True)

    assert (await counts(database), await standing(database)) == before
    assert await rows(database, IncidentMove) == []
    really = await done(client, town, other["incident_id"], "merge", into=one["incident_id"])
    assert (shown["dry_run"], shown["applied"]) == (True, False)
    assert (really["dry_run"], really["applied"]) == (False, True)
    same = ("incident", "other", "moved")
    assert {name: shown[name] for name in same} == {name: really[name] for name in same}
    assert [alert["level"] for alert in shown["alerts"]] == [alert["level"] for alert in really["alerts"]] == ["orange"]


async def test_what_was_part_of_the_source_is_part_of_the_target(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, other = await two(client, as_)
    third = await post(client, as_(THIRD, "reporter"))
    town = as_(TOWN, "desk")
    await done(client, town, other["incident_id"], "merge", into=one["incident_id"])

    merged = await done(client, town, one["incident_id"], "merge", into=third["incident_id"])

    assert merged["incident"]["aliases"] == [one["incident_id"], other["incident_id"]]
    assert merged["incident"]["reports"] == 3
    async with database.reading() as conn:
        ids = {UUID(made["incident_id"]) for made in (one, other, third)}
        found = await incidents.resolve(conn, city_id=CITY, ids=ids)
    assert set(found.values()) == {UUID(third["incident_id"])}
    await agree(database)


async def test_a_node_whose_incident_was_merged_finds_the_one_that_has_its_reports(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, other = await two(client, as_)
    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    again = await post(client, as_(NEIGHBOUR, "reporter"), kind="followup", summary="【演练】渗水扩大")

    assert again["incident_id"] == one["incident_id"]
    assert again["reasons"][-1]["rule"] == "match.same_node"
    found = await got(client, as_(TOWN, "desk"), f"/v1/incidents/{one['incident_id']}")
    assert (found["reports"], found["headline"], found["node"]) == (3, "【演练】河水上涨", VILLAGE)
    await agree(database)


async def test_a_report_close_to_where_an_alias_was_finds_it_too(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"), location={"lat": 36.90, "lon": 118.90})
    other = await post(client, as_(NEIGHBOUR, "reporter"), location={"lat": 36.98, "lon": 118.90})
    assert one["incident_id"] != other["incident_id"]
    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    near = await post(client, as_(THIRD, "reporter"), location={"lat": 36.981, "lon": 118.90})

    assert (near["incident_id"], near["reasons"][-1]["rule"]) == (one["incident_id"], "match.nearby")


@pytest.mark.parametrize(
    ("node", "status"), [(VILLAGE, 422), (NEIGHBOUR, 404), (TOWN, 200), (OTHER_TOWN, 404), (CITY, 200)]
)
@ON_ONE_DATABASE
async def test_a_desk_merges_what_lies_in_its_subtree(
    client: httpx.AsyncClient, as_: As, node: str, status: int
) -> None:
    other, one = await two(client, as_)

    answer = await act(client, as_(node, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    assert answer.status_code == status, answer.text


async def test_across_towns_it_is_the_city_that_merges(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    far = await post(client, as_(FAR_VILLAGE, "reporter"))
    both = await post(client, as_(CITY, "desk"), node=FAR_VILLAGE, incident_id=one["incident_id"])
    own = await post(client, as_(VILLAGE, "reporter"), **FIRE)
    town = as_(TOWN, "desk")

    assert await refused(client, town, far["incident_id"], "merge", into=one["incident_id"]) == (404, "not_found")
    assert await refused(client, town, one["incident_id"], "merge", into=far["incident_id"]) == (
        422,
        "incident_unknown",
    )
    assert both["incident_id"] == one["incident_id"]
    assert await refused(client, town, own["incident_id"], "merge", into=one["incident_id"]) == (403, "incident_beyond")
    merged = await done(client, as_(CITY, "desk"), far["incident_id"], "merge", into=one["incident_id"])
    assert merged["incident"]["reports"] == 3
    await agree(database)


@ON_ONE_DATABASE
async def test_a_village_merges_nothing_and_nobody_without_the_scope(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(VILLAGE, "reporter"), **FIRE)

    assert await refused(client, as_(VILLAGE, "desk"), other["incident_id"], "merge", into=one["incident_id"]) == (
        403,
        "desk_above",
    )
    assert await refused(client, as_(TOWN, "reporter"), other["incident_id"], "merge", into=one["incident_id"]) == (
        403,
        "scope_missing",
    )


@ON_ONE_DATABASE
async def test_what_cannot_be_merged_is_refused_with_a_sentence(client: httpx.AsyncClient, as_: As) -> None:
    one, other = await two(client, as_)
    third = await post(client, as_(THIRD, "reporter"))
    strange = await post(client, as_(OTHER_CITY_VILLAGE, "reporter"))
    town = as_(TOWN, "desk")
    first, second = one["incident_id"], other["incident_id"]

    assert await refused(client, town, first, "merge", into=first) == (422, "incident_self")
    assert await refused(client, town, first, "merge", into=strange["incident_id"]) == (422, "incident_unknown")
    assert await refused(client, as_(OTHER_CITY, "desk"), first, "merge", into=strange["incident_id"]) == (
        404,
        "not_found",
    )
    assert await refused(client, town, second, "merge", into=first, version=7) == (412, "precondition_failed")
    assert await refused(client, town, second, "merge", into=first, reason="  ") == (422, "text_blank")
    await done(client, town, second, "merge", into=first, version=1)
    assert await refused(client, town, first, "merge", into=second) == (409, "incident_merged")
    assert await refused(client, town, second, "merge", into=third["incident_id"]) == (409, "incident_merged")
    answer = await act(client, town | {"Accept-Language": "zh"}, third["incident_id"], "merge", into=second)
    assert answer.status_code == 409
    assert answer.json()["merged_into"] == first
    assert "已并入" in answer.json()["detail"]


@ON_ONE_DATABASE
async def test_real_and_drill_never_merge(client: httpx.AsyncClient, as_: As) -> None:
    drill = await begin(client, as_(TOWN, "supervisor"))
    other_drill = await begin(client, as_(TOWN, "supervisor"))
    real = await post(client, as_(VILLAGE, "reporter"))
    played = await post(client, as_(VILLAGE, "reporter"), drill_id=drill["id"])
    elsewhere = await post(client, as_(VILLAGE, "reporter"), drill_id=other_drill["id"])
    beside = await post(client, as_(NEIGHBOUR, "reporter"), drill_id=drill["id"])
    town = as_(TOWN, "desk")

    for source, into in ((real, played), (played, real), (played, elsewhere)):
        assert await refused(client, town, source["incident_id"], "merge", into=into["incident_id"]) == (
            422,
            "incident_mixed",
        )
    merged = await done(client, town, beside["incident_id"], "merge", into=played["incident_id"])
    assert merged["incident"]["drill_id"] == drill["id"]
    await client.post(f"/v1/drills/{drill['id']}/end", headers=as_(TOWN, "supervisor"))
    assert await refused(client, town, played["incident_id"], "split", alias=beside["incident_id"]) == (
        422,
        "drill_ended",
    )


async def test_a_report_says_what_it_said_before(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one, other = await two(client, as_, **EXTREME)
    kept = [column.name for column in Report.__table__.columns if column.name != "incident_id"]

    async def said() -> list[list[Any]]:
        found = sorted(await rows(database, Report), key=lambda row: str(row.id))
        return [[getattr(row, name) for name in kept] for row in found]

    before = await said()
    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    assert await said() == before


async def test_a_correction_after_the_merge_makes_the_whole_graver(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    one, _ = await two(client, as_)
    body = report()
    body["id"] = (await post(client, as_(THIRD, "reporter")))["id"]
    third = await got(client, as_(THIRD, "reporter"), f"/v1/reports/{body['id']}")
    await done(client, as_(TOWN, "desk"), third["incident_id"], "merge", into=one["incident_id"])

    answer = await client.put(
        f"/v1/reports/{body['id']}",
        json={**body, **EXTREME, "summary": "【演练】决口"},
        headers=as_(THIRD, "reporter") | {"If-Match": '"1"'},
    )

    assert answer.status_code == 200, answer.text
    found = await got(client, as_(TOWN, "desk"), f"/v1/incidents/{one['incident_id']}")
    assert (found["level"], found["headline"]) == ("red", "【演练】决口")
    await agree(database)


async def test_a_report_may_still_name_the_alias(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    one, other = await two(client, as_)
    third = await post(client, as_(TOWN, "desk"), node=THIRD, incident_id=other["incident_id"])
    await done(client, as_(TOWN, "desk"), other["incident_id"], "merge", into=one["incident_id"])

    for node in (NEIGHBOUR, THIRD, VILLAGE):
        named = await post(client, as_(node, "reporter"), incident_id=other["incident_id"])
        assert named["incident_id"] == one["incident_id"]

    shown = await got(client, as_(TOWN, "desk"), f"/v1/incidents/{one['incident_id']}")
    assert (shown["reports"], shown["node"]) == (6, VILLAGE)
    assert third["incident_id"] == other["incident_id"]
    await agree(database)
