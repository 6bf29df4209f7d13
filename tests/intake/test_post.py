import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.database import Database
from app.core.ids import new_id
from app.reports.models import Report
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    NOON,
    OTHER_CITY_VILLAGE,
    TOWN,
    URGENT,
    VILLAGE,
    report,
)
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def post(client: httpx.AsyncClient, headers: dict[str, str], body: Any) -> httpx.Response:
    # As ASCII, so that a lone surrogate can be sent, as some devices do.
    content = json.dumps(body).encode()
    return await client.post("/v1/reports", content=content, headers=headers | {"Content-Type": "application/json"})


async def test_a_routine_report_is_stored_with_its_custody_at_the_parent(client: httpx.AsyncClient, as_: As) -> None:
    body = report(
        location={"lat": 36.9, "lon": 118.9, "accuracy_m": 30},
        figures={"affected": 3, "crop_area_lost_ha": 1.5},
        description="第一行\n第二行",
    )

    answer = await post(client, as_(VILLAGE, "reporter"), body)

    assert answer.status_code == 201
    stored = answer.json()
    for key in ("id", "kind", "hazard", "urgency", "severity", "certainty", "summary", "description", "figures"):
        assert stored[key] == body[key]
    assert stored["node"] == VILLAGE
    assert stored["location"] == body["location"]
    assert stored["version"] == 1
    assert stored["level"] in ("routine", "blue")
    assert stored["reasons"]
    assert stored["alert_id"] is None
    assert stored["masked"] == 0
    assert stored["received_at"] == "2018-08-20T04:15:00Z"
    assert [(held["node"], held["tier"], held["state"]) for held in stored["custody"]] == [(TOWN, "town", "received")]
    assert stored["custody"][0]["due_at"] > stored["custody"][0]["since"]


async def test_the_three_times_are_kept_apart(client: httpx.AsyncClient, as_: As) -> None:
    body = report(observed_at="2018-08-20T09:10:00+08:00", submitted_at="2018-08-20T10:12:00+08:00")

    stored = (await post(client, as_(VILLAGE, "reporter"), body)).json()

    assert stored["observed_at"] == "2018-08-20T01:10:00Z"
    assert stored["submitted_at"] == "2018-08-20T02:12:00Z"
    assert stored["received_at"] == "2018-08-20T04:15:00Z"


async def test_an_urgent_report_reaches_every_tier_at_once_with_its_alert(client: httpx.AsyncClient, as_: As) -> None:
    stored = (await post(client, as_(VILLAGE, "reporter"), report(**EXTREME))).json()

    assert stored["level"] == "red"
    assert [held["node"] for held in stored["custody"]] == [TOWN, CITY]
    alert = (await client.get(f"/v1/alerts/{stored['alert_id']}", headers=as_(CITY, "desk"))).json()
    assert alert["level"] == "red"
    assert alert["state"] == "raised"
    assert alert["incident_id"] == stored["incident_id"]
    assert alert["node"] == {"code": VILLAGE, "name": "口子村", "path": [CITY, TOWN, VILLAGE]}
    assert alert["reports"] == 1


async def test_a_desk_files_for_a_node_of_its_subtree(client: httpx.AsyncClient, as_: As) -> None:
    stored = (await post(client, as_(TOWN, "desk"), report(node=VILLAGE))).json()

    assert stored["node"] == VILLAGE
    assert stored["filed_by"] == TOWN


async def test_the_city_holds_its_own_report(client: httpx.AsyncClient, as_: As) -> None:
    stored = (await post(client, as_(CITY, "desk"), report(**URGENT))).json()

    assert [held["node"] for held in stored["custody"]] == [CITY]


async def test_the_same_report_again_gets_the_first_answer(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    body = report(**URGENT)
    first = await post(client, as_(VILLAGE, "reporter"), body)
    before = await counts(database)

    again = await post(client, as_(VILLAGE, "reporter"), body)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert await counts(database) == before


async def test_the_same_time_in_another_zone_is_the_same_report(client: httpx.AsyncClient, as_: As) -> None:
    body = report(observed_at="2018-08-20T12:00:00+08:00")
    await post(client, as_(VILLAGE, "reporter"), body)

    again = await post(client, as_(VILLAGE, "reporter"), body | {"observed_at": "2018-08-20T04:00:00Z"})

    assert again.status_code == 200


async def test_the_same_id_with_another_body_is_a_conflict_with_both_digests(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    body = report()
    await post(client, as_(VILLAGE, "reporter"), body)
    before = await counts(database)

    answer = await post(client, as_(VILLAGE, "reporter"), body | {"summary": "【演练】别的事"})

    assert answer.status_code == 409
    problem = answer.json()
    assert problem["code"] == "id_conflict"
    assert len({problem["stored_digest"], problem["sent_digest"]}) == 2
    assert await counts(database) == before


async def test_a_conflict_tells_nothing_of_a_report_the_sender_may_not_see(client: httpx.AsyncClient, as_: As) -> None:
    body = report()
    await post(client, as_(FAR_VILLAGE, "reporter"), body)

    answer = await post(client, as_(VILLAGE, "reporter"), body)

    assert answer.status_code == 409
    assert "digest" not in answer.text


async def test_personal_identifiers_are_masked_before_anything_is_stored(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    body = report(summary="【演练】联系13800138000", description="车牌鲁V12345，邮箱 a@b.com", **URGENT)

    stored = (await post(client, as_(VILLAGE, "reporter"), body)).json()

    assert stored["masked"] == 3
    everything = str([await rows(database, table) for table in (Report,)]) + str(stored)
    for secret in ("13800138000", "鲁V12345", "a@b.com"):
        assert secret not in everything


async def test_a_report_joins_the_open_incident_of_its_node(client: httpx.AsyncClient, as_: As) -> None:
    first = (await post(client, as_(VILLAGE, "reporter"), report(**URGENT))).json()
    second = (await post(client, as_(VILLAGE, "reporter"), report(kind="followup"))).json()
    other = (await post(client, as_(VILLAGE, "reporter"), report(hazard="fire.building"))).json()

    assert second["incident_id"] == first["incident_id"]
    assert second["alert_id"] == first["alert_id"]
    assert "match.same_node" in [reason["rule"] for reason in second["reasons"]]
    assert other["incident_id"] != first["incident_id"]


async def test_a_report_close_by_joins_the_incident_next_door(client: httpx.AsyncClient, as_: As) -> None:
    here, near, far = ({"lat": lat, "lon": 118.9} for lat in (36.9, 36.91, 36.95))
    first = (await post(client, as_(VILLAGE, "reporter"), report(location=here))).json()
    second = (await post(client, as_(NEIGHBOUR, "reporter"), report(location=near))).json()
    third = (await post(client, as_(TOWN, "reporter"), report(location=far))).json()

    assert second["incident_id"] == first["incident_id"]
    assert "match.nearby" in [reason["rule"] for reason in second["reasons"]]
    assert third["incident_id"] != first["incident_id"]


async def test_a_report_may_name_an_incident_its_sender_sees(client: httpx.AsyncClient, as_: As) -> None:
    first = (await post(client, as_(VILLAGE, "reporter"), report())).json()

    by_town = await post(client, as_(TOWN, "desk"), report(node=NEIGHBOUR, incident_id=first["incident_id"]))
    by_party = await post(client, as_(NEIGHBOUR, "reporter"), report(incident_id=first["incident_id"]))
    by_stranger = await post(client, as_(FAR_VILLAGE, "reporter"), report(incident_id=first["incident_id"]))
    by_nobody = await post(client, as_(VILLAGE, "reporter"), report(incident_id=str(new_id())))

    assert by_town.json()["incident_id"] == by_party.json()["incident_id"] == first["incident_id"]
    for answer in (by_stranger, by_nobody):
        assert (answer.status_code, answer.json()["code"]) == (422, "incident_unknown")


async def test_a_report_just_ahead_of_the_servers_clock_is_taken(client: httpx.AsyncClient, as_: As) -> None:
    ahead = (NOON + timedelta(minutes=9)).isoformat()

    assert (await post(client, as_(VILLAGE, "reporter"), report(observed_at=ahead))).status_code == 201


BAD: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("an unknown field", {"colour": "red"}, 422, "invalid", "/colour"),
    ("a missing time", {"submitted_at": None}, 422, "invalid", "/submitted_at"),
    ("a time without zone", {"observed_at": "2018-08-20T04:10:00"}, 422, "invalid", "/observed_at"),
    ("a unix time", {"observed_at": 1534709400}, 422, "invalid", "/observed_at"),
    ("a unix time in quotes", {"observed_at": "1534709400"}, 422, "invalid", "/observed_at"),
    ("a NUL in the node", {"node": "a\x00"}, 422, "invalid", "/node"),
    ("a latitude out of range", {"location": {"lat": 91, "lon": 1}}, 422, "invalid", "/location/lat"),
    ("a longitude out of range", {"location": {"lat": 9, "lon": -181}}, 422, "invalid", "/location/lon"),
    ("a latitude in quotes", {"location": {"lat": "36.9", "lon": 1}}, 422, "invalid", "/location/lat"),
    ("half a location", {"location": {"lat": 9}}, 422, "invalid", "/location/lon"),
    ("a negative figure", {"figures": {"dead": -1}}, 422, "invalid", "/figures/dead"),
    ("a fractional count", {"figures": {"dead": 1.5}}, 422, "invalid", "/figures/dead"),
    ("a figure in words", {"figures": {"dead": "1"}}, 422, "invalid", "/figures/dead"),
    ("an unknown figure", {"figures": {"angry": 1}}, 422, "invalid", "/figures/angry"),
    ("an unknown hazard", {"hazard": "opinion.public"}, 422, "hazard_unknown", "/hazard"),
    ("an unknown node", {"node": "999999999999"}, 422, "node_unknown", "/node"),
    ("a node outside the subtree", {"node": NEIGHBOUR}, 422, "node_unknown", "/node"),
    ("a node of another city", {"node": OTHER_CITY_VILLAGE}, 422, "node_unknown", "/node"),
    ("an id that is no UUIDv7", {"id": str(uuid4())}, 422, "invalid", "/id"),
    ("an unknown kind", {"kind": "rumour"}, 422, "invalid", "/kind"),
    ("an unknown urgency", {"urgency": "Soon"}, 422, "invalid", "/urgency"),
]


@pytest.mark.parametrize(("changes", "status", "code", "pointer"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
async def test_bad_input_gets_a_clear_problem_and_stores_nothing(
    client: httpx.AsyncClient,
    as_: As,
    database: Database,
    changes: dict[str, Any],
    status: int,
    code: str,
    pointer: str,
) -> None:
    answer = await post(client, as_(VILLAGE, "reporter"), report(**changes))

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["detail"]
    if pointer:
        assert problem["errors"][0]["pointer"] == pointer
    assert set((await counts(database)).values()) == {0}


async def test_a_summary_of_a_megabyte_is_too_large(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    answer = await post(client, as_(VILLAGE, "reporter"), report(summary="水" * 1_000_000))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert set((await counts(database)).values()) == {0}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[1,", b'{"id": NaN'])
async def test_malformed_json_is_told(client: httpx.AsyncClient, as_: As, content: bytes) -> None:
    headers = as_(VILLAGE, "reporter") | {"Content-Type": "application/json"}

    answer = await client.post("/v1/reports", content=content, headers=headers)

    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["code"] in ("json_invalid", "invalid")


async def test_problems_are_told_in_chinese_to_those_who_prefer_it(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(VILLAGE, "reporter") | {"Accept-Language": "zh-CN,zh;q=0.9"}

    assert "灾种" in (await post(client, headers, report(hazard="no.such"))).json()["detail"]
    assert (await post(client, headers, report(submitted_at=None))).json()["errors"][0]["message"] == "缺少必填项"


async def test_an_urgent_report_fits_into_200_bytes_and_says_the_rest_later(client: httpx.AsyncClient, as_: As) -> None:
    report_id = str(new_id())
    tiny = {
        "id": report_id,
        "hazard": "flood.river",
        "urgency": "Immediate",
        "severity": "Severe",
        "certainty": "Observed",
        "submitted_at": "2018-08-20T04:12:00Z",
    }
    content = json.dumps(tiny, separators=(",", ":")).encode()
    assert len(content) < 200
    headers = as_(VILLAGE, "reporter") | {"Content-Type": "application/json"}

    first = await client.post("/v1/reports", content=content, headers=headers)

    assert first.status_code == 201
    stored = first.json()
    assert (stored["level"], stored["summary"]) == ("orange", "河道洪水")
    assert stored["observed_at"] == stored["submitted_at"] == "2018-08-20T04:12:00Z"
    assert stored["alert_id"]
    details = report(UUID(report_id), **URGENT, figures={"trapped": 12}, description="【演练】村北")
    full = await client.put(f"/v1/reports/{report_id}", json=details, headers=headers | {"If-Match": '"1"'})
    assert full.status_code == 200
    assert full.json()["figures"] == {"trapped": 12}
    assert full.json()["alert_id"] == stored["alert_id"]


async def test_without_a_sign_in_nothing_is_taken(client: httpx.AsyncClient, as_: As) -> None:
    assert (await client.post("/v1/reports", json=report())).json()["code"] == "sign_in_required"
    wrong = {"Authorization": "Bearer bt_wrong"}
    assert (await post(client, wrong, report())).json()["code"] == "sign_in_invalid"
