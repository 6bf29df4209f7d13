"""A place or a time that cannot be right is kept, shown as given and marked doubtful, and decides nothing."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.database import Database
from app.core.ids import new_id
from app.reports.models import Report
from tests.builders import CITY, EXTREME, NEIGHBOUR, NOON, TOWN, URGENT, VILLAGE, report
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

OWN = {"lat": 36.90, "lon": 118.90}
NEAR = {"lat": 36.905, "lon": 118.90}
FAR = {"lat": 37.20, "lon": 118.90}
NOWHERE = {"lat": 0.0, "lon": 0.0}


async def post(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=report(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def settle(client: httpx.AsyncClient, as_: As, **places: dict[str, float]) -> None:
    """Give offices their places: `_CODE=point`."""
    for code, point in places.items():
        answer = await client.patch(f"/v1/nodes/{code[1:]}", json=point, headers=as_(CITY, "admin"))
        assert answer.status_code == 200, answer.text


def codes(shown: dict[str, Any]) -> list[str]:
    return [doubt["code"] for doubt in shown["doubts"]]


POSITIONS = [
    ("its own place", VILLAGE, OWN, []),
    ("within 10 km", VILLAGE, {"lat": 36.98, "lon": 118.90}, []),
    ("beyond 10 km", VILLAGE, {"lat": 37.0, "lon": 118.90}, ["position_far"]),
    ("0,0", VILLAGE, NOWHERE, ["position_zero"]),
    ("right to 5 km", VILLAGE, OWN | {"accuracy_m": 5000.0}, []),
    ("right to less", VILLAGE, OWN | {"accuracy_m": 5001.0}, ["position_inaccurate"]),
    ("a town's within 30 km", TOWN, {"lat": 37.1, "lon": 118.90}, []),
    ("a town's beyond", TOWN, FAR, ["position_far"]),
    ("the city's within 20 km of its offices' hull", CITY, {"lat": 37.07, "lon": 118.90}, []),
    ("the city's beyond", CITY, FAR, ["position_far"]),
    ("an office without a place", NEIGHBOUR, FAR, []),
    ("an office without a place, 0,0", NEIGHBOUR, NOWHERE, ["position_zero"]),
]


@pytest.mark.parametrize(("node", "at", "expected"), [row[1:] for row in POSITIONS], ids=[row[0] for row in POSITIONS])
async def test_a_place_is_doubted_by_the_policy(
    client: httpx.AsyncClient, as_: As, node: str, at: dict[str, float], expected: list[str]
) -> None:
    await settle(client, as_, **{f"_{VILLAGE}": OWN, f"_{TOWN}": OWN})

    shown = await post(client, as_(node, "desk"), location=at)

    assert codes(shown) == expected
    # As it was given, whatever is thought of it.
    assert shown["location"] == {"accuracy_m": None} | at
    assert [one["rule"] for one in shown["reasons"] if one["rule"].startswith("doubt.")] == [
        f"doubt.{code}" for code in expected
    ]
    for doubt in shown["doubts"]:
        assert doubt["text"]
        assert any("\u4e00" <= character <= "\u9fff" for character in doubt["text_zh"])


async def test_the_offices_own_place_stands_in_for_a_doubtful_one(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    await settle(client, as_, **{f"_{VILLAGE}": OWN, f"_{NEIGHBOUR}": NEAR})
    first = await post(client, as_(VILLAGE, "reporter"), location=NOWHERE)

    # The neighbour is 560 m from the village's own place.
    second = await post(client, as_(NEIGHBOUR, "reporter"), location=NEAR)

    assert second["incident_id"] == first["incident_id"]
    stored = {row.node_code: row for row in await rows(database, Report)}
    assert (stored[VILLAGE].lat, stored[VILLAGE].lon) == (36.90, 118.90)
    assert (stored[VILLAGE].given["lat"], stored[VILLAGE].given["lon"]) == (0, 0)
    assert stored[NEIGHBOUR].given is None


async def test_without_an_own_place_only_the_same_office_matches(client: httpx.AsyncClient, as_: As) -> None:
    first = await post(client, as_(VILLAGE, "reporter"), location=NOWHERE)

    other = await post(client, as_(NEIGHBOUR, "reporter"), location=NOWHERE)
    same = await post(client, as_(VILLAGE, "reporter"), location=NOWHERE)

    assert other["incident_id"] != first["incident_id"]
    assert same["incident_id"] == first["incident_id"]


def at(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat()


YEAR = 366 * 24 * 60
TIMES = [
    ("both right", at(-5), at(-3), []),
    ("a little ahead", at(9), at(9), []),
    ("seen ahead", at(11), at(-3), ["observed_ahead"]),
    ("seen years back", at(-YEAR), at(-3), ["observed_long_ago"]),
    ("written ahead, seen before", at(-5), at(60 * 24), ["submitted_ahead"]),
    ("both ahead", at(60), at(61), ["submitted_ahead", "observed_ahead"]),
    ("only one clock", None, at(60 * 24 * 400), ["submitted_ahead"]),
    ("1970", "1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z", ["submitted_long_ago", "observed_long_ago"]),
    ("year one", "0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z", ["submitted_long_ago", "observed_long_ago"]),
    ("the end of time", "9999-12-31T23:59:59Z", at(-3), ["observed_ahead"]),
]


@pytest.mark.parametrize(("seen", "written", "expected"), [row[1:] for row in TIMES], ids=[row[0] for row in TIMES])
async def test_no_report_is_refused_for_its_times_and_the_servers_stands_in(
    client: httpx.AsyncClient, as_: As, database: Database, seen: str | None, written: str, expected: list[str]
) -> None:
    shown = await post(client, as_(VILLAGE, "reporter"), observed_at=seen, submitted_at=written, **URGENT)

    assert codes(shown) == expected
    assert datetime.fromisoformat(shown["submitted_at"]) == datetime.fromisoformat(written)
    assert datetime.fromisoformat(shown["observed_at"]) == datetime.fromisoformat(seen or written)
    (row,) = await rows(database, Report)
    wrong = {code.split("_")[0] for code in expected}
    assert (row.submitted_at == NOON) == ("submitted" in wrong)
    assert (row.observed_at == NOON) == ("observed" in wrong or (seen is None and "submitted" in wrong))
    # It is an alert like any other.
    assert shown["alert_id"]


async def test_a_wrong_clock_does_not_part_what_is_one_incident(client: httpx.AsyncClient, as_: As) -> None:
    first = await post(client, as_(VILLAGE, "reporter"))

    second = await post(
        client, as_(VILLAGE, "reporter"), observed_at="2031-01-01T00:00:00Z", submitted_at="2031-01-01T00:00:00Z"
    )
    third = await post(client, as_(VILLAGE, "reporter"))

    assert first["incident_id"] == second["incident_id"] == third["incident_id"]
    incident = (await client.get(f"/v1/incidents/{first['incident_id']}", headers=as_(CITY, "desk"))).json()
    assert datetime.fromisoformat(incident["last_observed_at"]) == NOON


async def test_sent_again_it_is_a_replay_and_every_reader_is_shown_what_was_given(
    client: httpx.AsyncClient, as_: As
) -> None:
    body = report(observed_at=at(60), submitted_at=at(61), location=NOWHERE)
    me = as_(VILLAGE, "reporter")
    first = (await client.post("/v1/reports", json=body, headers=me)).json()

    again = await client.post("/v1/reports", json=body, headers=me)
    got = (await client.get(f"/v1/reports/{body['id']}", headers=me)).json()
    listed = (await client.get("/v1/reports", headers=me)).json()["items"]

    assert again.status_code == 200
    for shown in (again.json(), got, listed[0]):
        assert shown["observed_at"] == first["observed_at"] == "2018-08-20T05:15:00Z"
        assert shown["location"] == {"lat": 0, "lon": 0, "accuracy_m": None}
        assert codes(shown) == ["position_zero", "submitted_ahead", "observed_ahead"]


async def test_a_correction_cures_a_doubt_and_may_bring_one(client: httpx.AsyncClient, as_: As) -> None:
    body = report(location=NOWHERE)
    me = as_(VILLAGE, "reporter")
    await client.post("/v1/reports", json=body, headers=me)

    cured = await client.put(
        f"/v1/reports/{body['id']}", json=body | {"location": OWN}, headers=me | {"If-Match": '"1"'}
    )
    doubted = await client.put(
        f"/v1/reports/{body['id']}",
        json=body | {"location": OWN, "observed_at": at(60)},
        headers=me | {"If-Match": '"2"'},
    )

    assert (codes(cured.json()), cured.json()["location"]) == ([], OWN | {"accuracy_m": None})
    assert codes(doubted.json()) == ["observed_ahead"]
    versions = (await client.get(f"/v1/reports/{body['id']}/versions", headers=me)).json()["items"]
    assert [codes(version) for version in versions] == [["position_zero"], [], ["observed_ahead"]]
    assert versions[0]["location"] == {"lat": 0, "lon": 0, "accuracy_m": None}


async def test_with_a_doubtful_clock_whether_it_was_written_in_time_is_the_desks_to_decide(
    client: httpx.AsyncClient, app: FastAPI, as_: As, revoked: dict[str, str]
) -> None:
    app.state.clock.advance(timedelta(hours=1))
    ahead = report(submitted_at=(NOON + timedelta(days=3)).isoformat(), observed_at=None, **EXTREME)
    after = report(submitted_at=(NOON + timedelta(minutes=30)).isoformat(), observed_at=None, **EXTREME)

    held = await client.post("/v1/reports", json=ahead, headers=revoked)
    refused = await client.post("/v1/reports", json=after, headers=revoked)
    released = await client.post(
        f"/v1/quarantine/{ahead['id']}/release", json={"note": "【演练】已核实"}, headers=as_(TOWN, "desk")
    )

    assert held.status_code == 202, held.text
    assert (refused.status_code, refused.json()["code"]) == (403, "sign_in_lapsed")
    assert (released.status_code, codes(released.json())) == (200, ["submitted_ahead"])


async def test_in_a_batch_each_report_has_its_own_doubts(client: httpx.AsyncClient, as_: As) -> None:
    items = [report(new_id()), report(new_id(), location=NOWHERE), report(new_id(), observed_at=at(60))]

    results = (
        await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))
    ).json()["results"]

    assert [codes(one["report"]) for one in results] == [[], ["position_zero"], ["observed_ahead"]]
    assert len({one["report"]["incident_id"] for one in results}) == 1
