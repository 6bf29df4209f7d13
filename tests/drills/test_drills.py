"""A drill is begun by an office for its subtree, and seen by all who take part."""

from datetime import datetime

import httpx
import pytest

from tests.alerts.acts import got
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    OTHER_CITY,
    OTHER_TOWN,
    TOWN,
    VILLAGE,
    report,
)
from tests.drills.acts import TITLE, As, begin, end, send

pytestmark = pytest.mark.anyio


async def test_an_office_begins_a_drill_for_itself_and_for_those_below(client: httpx.AsyncClient, as_: As) -> None:
    own = await begin(client, as_(TOWN, "desk"), pace=60)
    below = await begin(client, as_(CITY, "desk"), node=VILLAGE, title=" 【演练】 call 13800138000 ")

    assert own == {
        "id": own["id"],
        "node": TOWN,
        "title": TITLE,
        "pace": 60,
        "began_at": "2018-08-20T04:15:00Z",
        "ended_at": None,
    }
    assert (below["node"], below["pace"]) == (VILLAGE, 1.0)
    # Free text: personal identifiers are masked as everywhere.
    assert "13800138000" not in below["title"]
    assert await got(client, as_(TOWN, "desk"), f"/v1/drills/{own['id']}") == own


NO_DRILLS: list[tuple[str, str, dict[str, object], int, str]] = [
    (TOWN, "reporter", {}, 403, "scope_missing"),
    (VILLAGE, "desk", {"node": TOWN}, 422, "node_unknown"),
    (TOWN, "desk", {"node": FAR_VILLAGE}, 422, "node_unknown"),
    (CITY, "desk", {"node": OTHER_CITY}, 422, "node_unknown"),
    (CITY, "desk", {"node": "nowhere"}, 422, "node_unknown"),
    (CITY, "desk", {"title": "  "}, 422, "text_blank"),
    (CITY, "desk", {"title": ""}, 422, "invalid"),
    (CITY, "desk", {"title": "x" * 81}, 422, "invalid"),
    (CITY, "desk", {"title": "one\ntwo"}, 422, "text_control"),
    (CITY, "desk", {"pace": 0.5}, 422, "invalid"),
    (CITY, "desk", {"pace": 100_001}, 422, "invalid"),
    (CITY, "desk", {"pace": "60"}, 422, "invalid"),
    (CITY, "desk", {"drill": True}, 422, "invalid"),
]


async def test_what_is_no_drill_is_refused(client: httpx.AsyncClient, as_: As) -> None:
    for who, role, body, status, code in NO_DRILLS:
        answer = await client.post("/v1/drills", headers=as_(who, role), json={"title": TITLE, **body})
        assert (answer.status_code, answer.json()["code"]) == (status, code), body

    assert (await got(client, as_(CITY, "desk"), "/v1/drills"))["items"] == []


async def test_a_drill_is_seen_by_those_above_and_by_all_who_take_part(client: httpx.AsyncClient, as_: As) -> None:
    of_city = (await begin(client, as_(CITY, "desk")))["id"]
    of_town = (await begin(client, as_(TOWN, "desk")))["id"]
    of_village = (await begin(client, as_(VILLAGE, "desk")))["id"]

    async def seen(node: str) -> set[str]:
        headers = as_(node, "reporter")
        found = {one["id"] for one in (await got(client, headers, "/v1/drills"))["items"]}
        for drill in (of_city, of_town, of_village):
            status = (await client.get(f"/v1/drills/{drill}", headers=headers)).status_code
            assert (status == 200) == (drill in found)
        return found

    assert await seen(CITY) == await seen(TOWN) == await seen(VILLAGE) == {of_city, of_town, of_village}
    assert await seen(OTHER_TOWN) == await seen(FAR_VILLAGE) == {of_city}
    assert await seen(OTHER_CITY) == set()
    # Its end and its evaluation are for its own office and those above.
    for verb, method in (("end", "POST"), ("score", "GET")):
        for node, status in ((VILLAGE, 404), (OTHER_TOWN, 404), (OTHER_CITY, 404), (TOWN, 200), (CITY, 200)):
            answer = await client.request(method, f"/v1/drills/{of_town}/{verb}", headers=as_(node, "desk"))
            assert answer.status_code == status, (verb, node)
    assert (await client.post(f"/v1/drills/{of_city}/end", headers=as_(CITY, "reporter"))).status_code == 403


async def test_drills_are_paged_the_last_begun_first(client: httpx.AsyncClient, as_: As) -> None:
    made = [(await begin(client, as_(CITY, "desk")))["id"] for _ in range(5)]

    first = await got(client, as_(CITY, "desk"), "/v1/drills", limit=3)
    rest = await got(client, as_(CITY, "desk"), "/v1/drills", limit=3, cursor=first["next"])

    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


async def test_only_offices_that_take_part_report_in_a_drill_and_its_deadlines_run_at_its_pace(
    client: httpx.AsyncClient, as_: As
) -> None:
    drill = await begin(client, as_(TOWN, "desk"), pace=10)
    real = await send(client, as_(VILLAGE, "reporter"), **EXTREME)

    exercise = await send(client, as_(VILLAGE, "reporter"), drill_id=drill["id"], **EXTREME)
    outside = await client.post(
        "/v1/reports", headers=as_(FAR_VILLAGE, "reporter"), json=report(drill_id=drill["id"], **EXTREME)
    )

    assert (outside.status_code, outside.json()["code"]) == (422, "drill_unknown")
    assert exercise["drill_id"] == drill["id"]
    assert [_seconds(one) * 10 for one in exercise["custody"]] == [_seconds(one) for one in real["custody"]]
    assert exercise["level"] == real["level"]


async def test_an_ended_drill_takes_no_more_reports_and_answers_what_it_took(
    client: httpx.AsyncClient, as_: As
) -> None:
    drill = await begin(client, as_(CITY, "desk"))
    body = report(drill_id=drill["id"], **EXTREME)
    village = as_(VILLAGE, "reporter")
    first = await client.post("/v1/reports", headers=village, json=body)
    await end(client, as_(CITY, "desk"), drill["id"])

    again = await client.post("/v1/reports", headers=village, json=body)
    late = await client.post("/v1/reports", headers=village, json=report(drill_id=drill["id"], **EXTREME))

    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, body["id"])
    assert (late.status_code, late.json()["code"]) == (422, "drill_ended")


async def test_a_drill_without_reports_has_nothing_to_judge(client: httpx.AsyncClient, as_: As) -> None:
    drill = await begin(client, as_(CITY, "desk"))

    ended = await end(client, as_(CITY, "desk"), drill["id"])

    assert (ended["total"], ended["reports"], ended["bypassed"]) == (None, 0, [])
    assert ended["drill"]["ended_at"] == "2018-08-20T04:15:00Z"
    assert all((part["count"], part["in_time"]) == (0, 0) for part in ended["parts"])


def _seconds(custody: dict[str, str]) -> float:
    return (datetime.fromisoformat(custody["due_at"]) - datetime.fromisoformat(custody["since"])).total_seconds()
