"""Custody when offices merge, move and part: nothing is held by nobody, and its way stays readable."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.reports import handover
from app.reports.models import Custody
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, OTHER_TOWN, TOWN, URGENT, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Act = Callable[..., Any]
Filed = Callable[..., Any]
Step = tuple[str, str | None, str | None]


@pytest.fixture
def admin(client: httpx.AsyncClient, as_: As) -> Act:
    async def done(method: str, path: str, **body: Any) -> None:
        answer = await client.request(method, f"/v1/nodes/{path}", json=body, headers=as_(CITY, "admin"))
        assert answer.status_code == 200, answer.text

    return done


async def way(client: httpx.AsyncClient, headers: dict[str, str], report_id: str) -> list[Step]:
    items = (await client.get(f"/v1/reports/{report_id}/timeline", headers=headers)).json()["items"]
    return [(one["type"].removeprefix("report."), one["node"], one["to"]) for one in items]


async def test_what_a_merged_town_held_its_successor_has_and_the_way_tells_who_had_it_when(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, clock: ManualClock
) -> None:
    report_id = await filed()
    clock.advance(timedelta(minutes=1))
    await admin("POST", f"{TOWN}/merge", into=OTHER_TOWN)
    clock.advance(timedelta(minutes=1))
    await act(OTHER_TOWN, report_id, "acknowledge")

    village = as_(VILLAGE, "reporter")
    assert await way(client, village, report_id) == [
        ("received", None, TOWN),
        ("handed_over", TOWN, OTHER_TOWN),
        ("acknowledged", OTHER_TOWN, None),
    ]
    # Given to it anew: what its custody told before is still told.
    await act(OTHER_TOWN, report_id, "forward", to=CITY)
    await act(CITY, report_id, "forward", to=OTHER_TOWN, note="【演练】")
    assert (await way(client, village, report_id))[:2] == [("received", None, TOWN), ("handed_over", TOWN, OTHER_TOWN)]
    handed = (await client.get(f"/v1/reports/{report_id}/timeline", headers=village)).json()["items"][1]
    assert handed["text"] == "圣城街道 holds it since, in place of 上口镇."


async def test_what_a_merged_town_had_taken_on_its_successor_passes_on(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act
) -> None:
    report_id = await filed()
    await act(TOWN, report_id, "acknowledge")
    await admin("POST", f"{TOWN}/merge", into=OTHER_TOWN)

    again = await act(OTHER_TOWN, report_id, "acknowledge")
    passed = await act(OTHER_TOWN, report_id, "forward", to=CITY, note="【演练】请接手")

    assert (again["applied"], again["notice"]["code"]) == (False, "report_yours")
    held = {one["node"]: (one["state"], one["given_by"]) for one in passed["custody"]}
    assert held == {TOWN: ("forwarded", None), CITY: ("received", OTHER_TOWN)}


async def test_what_both_hold_is_overdue_with_one_of_them_only(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, database: Database, clock: ManualClock
) -> None:
    report_id = await filed(**URGENT)
    await act(CITY, report_id, "forward", to=OTHER_TOWN, note="【演练】")
    await admin("POST", f"{TOWN}/merge", into=OTHER_TOWN)
    clock.advance(timedelta(days=1))

    found = (await client.get("/v1/custody", params={"overdue": "true"}, headers=as_(CITY, "desk"))).json()["items"]
    assert [one["node"] for one in found] == [OTHER_TOWN]
    states = {one.node_code: (one.state, one.forwarded_to, one.bypass_at) for one in await rows(database, Custody)}
    assert states[TOWN] == ("forwarded", OTHER_TOWN, None)
    assert ("handed_over", TOWN, OTHER_TOWN) in await way(client, as_(VILLAGE, "reporter"), report_id)


async def test_a_question_to_a_village_that_was_merged_goes_to_whom_it_is_part_of(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act
) -> None:
    report_id = await filed()
    await admin("POST", f"{VILLAGE}/merge", into=NEIGHBOUR)

    asked = await act(TOWN, report_id, "return", question="【演练】谁在现场？")

    assert {one["node"]: one["given_by"] for one in asked["custody"]} == {TOWN: None, NEIGHBOUR: TOWN}
    read = await client.get(f"/v1/reports/{report_id}", headers=as_(NEIGHBOUR, "reporter"))
    assert {one["node"]: one["state"] for one in read.json()["custody"]} == {TOWN: "opened", NEIGHBOUR: "opened"}


async def test_a_question_to_an_office_that_was_closed_is_with_the_office_above_and_no_other_goes_there(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, clock: ManualClock
) -> None:
    report_id = await filed()
    await act(TOWN, report_id, "return", question="【演练】几人？")
    await admin("PATCH", VILLAGE, closed_on="2018-08-20")

    answer = await act(TOWN, report_id, "return", question="【演练】几户？", expect=422)

    assert answer["code"] == "return_nowhere"
    shown = (await client.get(f"/v1/reports/{report_id}", headers=as_(TOWN, "desk"))).json()["custody"]
    assert {one["node"]: (one["state"], one["forwarded_to"]) for one in shown} == {
        TOWN: ("opened", None),
        VILLAGE: ("forwarded", TOWN),
    }
    clock.advance(timedelta(days=10))
    found = (await client.get("/v1/custody", params={"overdue": "true"}, headers=as_(CITY, "desk"))).json()["items"]
    assert [one["node"] for one in found] == [TOWN]


@pytest.fixture
def midnight(database: Database, clock: ManualClock) -> Callable[[], Any]:
    async def passes() -> Any:
        clock.advance(timedelta(days=1))
        return await handover.run_due(database, clock=clock)

    return passes


async def test_what_an_office_holds_on_its_last_day_is_with_the_office_above_on_the_next(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, clock: ManualClock, midnight: Act
) -> None:
    report_id = await filed()
    clock.advance(timedelta(minutes=1))
    await act(TOWN, report_id, "return", question="【演练】几人？")
    clock.advance(timedelta(minutes=1))
    await admin("PATCH", VILLAGE, closed_on="2018-08-22")
    assert (await client.get(f"/v1/reports/{report_id}", headers=as_(VILLAGE, "reporter"))).status_code == 200

    assert await midnight() == datetime(2018, 8, 21, 16, tzinfo=UTC)
    desk = as_(TOWN, "desk")
    assert "handed_over" not in [type for type, *_ in await way(client, desk, report_id)]
    assert await midnight() is None

    assert (await way(client, desk, report_id))[-1] == ("handed_over", VILLAGE, TOWN)
    shown = (await client.get(f"/v1/reports/{report_id}", headers=desk)).json()["custody"]
    assert {one["node"]: one["state"] for one in shown} == {TOWN: "opened", VILLAGE: "forwarded"}
    assert await midnight() is None
    assert [type for type, *_ in await way(client, desk, report_id)].count("handed_over") == 1


async def test_what_the_successor_had_passed_on_is_with_it_again(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, clock: ManualClock, midnight: Act
) -> None:
    report_id = await filed(**URGENT)
    for office, to in ((TOWN, CITY), (CITY, OTHER_TOWN)):
        clock.advance(timedelta(minutes=1))
        await act(office, report_id, "forward", to=to, note="【演练】请接手")
    await admin("PATCH", FAR_VILLAGE, parent=TOWN)
    await admin("PATCH", OTHER_TOWN, closed_on="2018-08-21")

    await midnight()

    desk = as_(CITY, "desk")
    found = (await client.get("/v1/custody", params={"overdue": "true"}, headers=desk)).json()["items"]
    assert [(one["node"], one["given_by"]) for one in found] == [(CITY, OTHER_TOWN)]
    shown = (await client.get(f"/v1/reports/{report_id}", headers=desk)).json()["custody"]
    held = {one["node"]: (one["tier"], one["state"], one["given_by"]) for one in shown}
    assert held == {
        TOWN: ("town", "forwarded", None),
        CITY: ("city", "opened", OTHER_TOWN),
        OTHER_TOWN: ("town", "forwarded", CITY),
    }
    steps = await way(client, desk, report_id)
    assert sorted(steps[:2]) == [("received", None, CITY), ("received", None, TOWN)]
    assert steps[2:] == [
        ("forwarded", TOWN, CITY),
        ("forwarded", CITY, OTHER_TOWN),
        ("handed_over", OTHER_TOWN, CITY),
        ("opened", CITY, None),
    ]
    assert (await act(CITY, report_id, "acknowledge"))["applied"]


async def test_a_question_to_a_village_is_a_towns_once_a_town_has_it(
    client: httpx.AsyncClient, as_: As, act: Act, filed: Filed, admin: Act, midnight: Act
) -> None:
    report_id = await filed()
    await act(TOWN, report_id, "acknowledge")
    await act(TOWN, report_id, "return", question="【演练】几人？")
    await admin("PATCH", VILLAGE, parent=OTHER_TOWN)
    await admin("PATCH", VILLAGE, closed_on="2018-08-21")
    await midnight()

    shown = (await client.get(f"/v1/reports/{report_id}", headers=as_(OTHER_TOWN, "desk"))).json()["custody"]
    assert {one["node"]: (one["tier"], one["given_by"]) for one in shown} == {
        TOWN: ("town", None),
        OTHER_TOWN: ("town", TOWN),
    }
