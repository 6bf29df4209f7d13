"""Who may act on an alert: the table of docs/acting.md, as a decision and over HTTP."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.alerts import permissions
from tests.alerts.acts import act
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, OTHER_CITY, OTHER_TOWN, TOWN, URGENT, VILLAGE
from tests.matters.acts import done, post

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

LINE = (CITY, TOWN, VILLAGE)
ACTS: list[permissions.Act] = ["acknowledge", "release", "escalate", "close"]
BODIES: dict[str, dict[str, Any]] = {"close": {"reason": "【演练】水退"}}

# Owner, office: the answer for acknowledge, release, escalate, close.
TABLE: list[tuple[str | None, str, str]] = [
    (None, VILLAGE, "yes yes yes yes"),
    (None, TOWN, "yes yes yes yes"),
    (None, CITY, "yes yes yes yes"),
    (None, NEIGHBOUR, "beyond beyond beyond beyond"),
    (None, OTHER_TOWN, "beyond beyond beyond beyond"),
    (None, OTHER_CITY, "beyond beyond beyond beyond"),
    (VILLAGE, VILLAGE, "yes yes yes yes"),
    (VILLAGE, TOWN, "owned yes yes yes"),
    (VILLAGE, CITY, "owned yes yes yes"),
    (TOWN, VILLAGE, "owned owned owned owned"),
    (TOWN, TOWN, "yes yes yes yes"),
    (TOWN, CITY, "owned yes yes yes"),
    (TOWN, NEIGHBOUR, "beyond beyond beyond beyond"),
    (CITY, VILLAGE, "owned owned owned owned"),
    (CITY, TOWN, "owned owned owned owned"),
    (CITY, CITY, "yes yes yes yes"),
    (CITY, OTHER_TOWN, "beyond beyond beyond beyond"),
]


@pytest.mark.parametrize(("owner", "office", "answers"), TABLE)
def test_the_line_acts_and_what_a_higher_tier_owns_only_that_tier_ends(
    owner: str | None, office: str, answers: str
) -> None:
    found = [permissions.may(one, office=office, line=LINE, owner=owner) for one in ACTS]

    assert found == answers.split()


# Its incident became one of two towns by a merge: it is the city's.
OF_TWO_TOWNS = [
    (None, TOWN, "beyond beyond beyond beyond"),
    (None, CITY, "yes yes yes yes"),
    (TOWN, TOWN, "yes yes yes beyond"),
    (TOWN, CITY, "owned yes yes yes"),
    (TOWN, OTHER_TOWN, "beyond beyond beyond beyond"),
]


@pytest.mark.parametrize(("owner", "office", "answers"), OF_TWO_TOWNS)
def test_what_is_of_two_towns_is_the_citys_and_its_owner_may_hand_it_over(
    owner: str | None, office: str, answers: str
) -> None:
    found = [permissions.may(one, office=office, line=(CITY,), owner=owner) for one in ACTS]

    assert found == answers.split()


@pytest.mark.parametrize("verb", ACTS)
async def test_an_office_that_sees_it_by_a_report_of_its_own_may_not_act_and_is_told_who_may(
    client: httpx.AsyncClient, as_: As, verb: str
) -> None:
    alert = await raise_alert(client, as_)
    joined = await post(client, as_(TOWN, "desk"), node=NEIGHBOUR, incident_id=alert["incident_id"], **URGENT)
    assert joined["alert_id"] == alert["alert_id"]

    refused = await act(client, as_(NEIGHBOUR, "desk"), alert["alert_id"], verb, **BODIES.get(verb, {}))

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (403, "alert_beyond")
    assert problem["offices"] == [VILLAGE, TOWN, CITY]
    assert "上口镇" in problem["detail"]
    seen = await client.get(f"/v1/alerts/{alert['alert_id']}", headers=as_(NEIGHBOUR, "desk"))
    assert (seen.status_code, seen.json()["state"]) == (200, "raised")


async def test_after_a_merge_across_towns_the_city_acts_and_the_owner_may_only_hand_it_over(
    client: httpx.AsyncClient, as_: As
) -> None:
    ours = await raise_alert(client, as_)
    theirs = await raise_alert(client, as_, FAR_VILLAGE)
    town, city = as_(TOWN, "desk"), as_(CITY, "desk")
    await act(client, town, ours["alert_id"], "acknowledge")
    await act(client, city, theirs["alert_id"], "acknowledge")
    await done(client, city, theirs["incident_id"], "merge", into=ours["incident_id"])
    alert = ours["alert_id"]

    closed = await act(client, town, alert, "close", reason="【演练】水退")
    released = await act(client, town, alert, "release")
    again = await act(client, town, alert, "acknowledge")
    by_city = await act(client, city, alert, "acknowledge")

    assert (closed.status_code, closed.json()["code"]) == (403, "alert_beyond")
    assert (released.status_code, released.json()["state"]) == (200, "raised")
    assert (again.status_code, again.json()["offices"]) == (403, [CITY])
    assert by_city.json()["owner"]["node"] == CITY


@pytest.mark.parametrize("verb", ACTS)
async def test_an_act_is_on_the_version_that_if_match_names(client: httpx.AsyncClient, as_: As, verb: str) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    town, body = as_(TOWN, "desk"), BODIES.get(verb, {})
    if verb == "release":
        await act(client, town, alert, "acknowledge")
    seen = await client.get(f"/v1/alerts/{alert}", headers=town)
    path = f"/v1/alerts/{alert}/{verb}"

    stale = await client.post(path, headers=town | {"If-Match": '"99"'}, json=body)
    strange = [
        await client.post(path, headers=town | {"If-Match": tag}, json=body) for tag in ('W/"1"', "1", '"a"', "")
    ]
    done = await client.post(path, headers=town | {"If-Match": seen.headers["ETag"]}, json=body)
    repeated = await client.post(path, headers=town | {"If-Match": seen.headers["ETag"]}, json=body)

    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert {(one.status_code, one.json()["code"]) for one in strange} == {(400, "if_match_invalid")}
    assert done.status_code == 200
    assert done.json()["applied"]
    # What is done already is answered so, also to who sends it again since the answer was lost.
    assert (repeated.status_code, repeated.json()["applied"]) == (200, False)
    assert repeated.headers["ETag"] == done.headers["ETag"]
