"""Who leads, and how it ended."""

from datetime import timedelta

import httpx
import pytest

from app.core.database import Database
from app.incidents.models import IncidentStep
from app.incidents.views import Outcome
from tests.alerts.acts import act as alert_act
from tests.alerts.acts import got
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    NEIGHBOUR,
    NOON,
    OTHER_TOWN,
    TOWN,
    URGENT,
    VILLAGE,
)
from tests.matters.acts import ON_ONE_DATABASE, As, act, done, post, refused
from tests.tables import rows

pytestmark = pytest.mark.anyio

ENDED = {"outcome": "resolved", "text": "【演练】险情排除"}


async def test_an_office_is_set_to_lead(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    made = await post(client, as_(VILLAGE, "reporter"))
    incident, city = made["incident_id"], as_(CITY, "desk")
    due = (NOON + timedelta(days=2)).isoformat()

    led = await done(client, city, incident, "assign", node=OTHER_TOWN, due_at=due, note="【演练】请支援")

    assert led["applied"] is True
    assert led["incident"]["assigned"]["node"] == OTHER_TOWN
    # It sees what it leads.
    shown = await got(client, as_(OTHER_TOWN, "desk"), f"/v1/incidents/{incident}")
    assert shown["assigned"]["due_at"] == "2018-08-22T04:15:00Z"
    assert [item["id"] for item in (await got(client, as_(OTHER_TOWN, "desk"), "/v1/incidents"))["items"]] == [incident]
    steps = (await got(client, as_(VILLAGE, "reporter"), f"/v1/incidents/{incident}/timeline"))["items"]
    assert [(step["type"], step["node"]) for step in steps] == [("incident.assigned", CITY)]
    assert steps[0]["text_zh"] == "寿光市指定圣城街道牵头，时限 08-22 12:15：【演练】请支援"
    again = await done(client, city, incident, "assign", node=OTHER_TOWN, due_at=due)
    assert (again["applied"], again["notice"]["code"]) == (False, "incident_assigned_before")
    assert len(await rows(database, IncidentStep)) == 1


@ON_ONE_DATABASE
async def test_only_an_office_of_the_callers_subtree_is_set_to_lead(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await post(client, as_(VILLAGE, "reporter")))["incident_id"]
    town = as_(TOWN, "desk")

    assert await refused(client, town, incident, "assign", node=OTHER_TOWN) == (422, "node_unknown")
    assert await refused(client, town, incident, "assign", node=VILLAGE, due_at=NOON.isoformat()) == (422, "due_past")
    assert await refused(client, as_(VILLAGE, "desk"), incident, "assign", node=VILLAGE) == (403, "desk_above")
    assert await refused(client, as_(OTHER_TOWN, "desk"), incident, "assign", node=OTHER_TOWN) == (404, "not_found")
    assert (await done(client, town, incident, "assign", node=VILLAGE))["applied"] is True


@pytest.mark.parametrize("outcome", list(Outcome))
@ON_ONE_DATABASE
async def test_an_outcome_closes_the_matter_and_every_device_learns_it(
    client: httpx.AsyncClient, as_: As, outcome: Outcome
) -> None:
    made = await post(client, as_(VILLAGE, "reporter"))
    town = as_(TOWN, "desk")
    second = await post(client, town, node=NEIGHBOUR, incident_id=made["incident_id"])
    start = (await got(client, as_(VILLAGE, "reporter"), "/v1/reports/changes"))["cursor"]

    ended = await done(client, town, made["incident_id"], "outcome", outcome=outcome, text="【演练】已查实")

    assert ended["incident"]["state"] == "closed"
    assert (ended["incident"]["ended"]["outcome"], ended["incident"]["ended"]["called_zh"]) == (outcome, outcome.zh)
    for node, report_id in ((VILLAGE, made["id"]), (NEIGHBOUR, second["id"])):
        changes = (await got(client, as_(node, "reporter"), "/v1/reports/changes", since=start))["results"]
        told = [change["report"] for change in changes]
        assert [(change["type"], change["report"]["id"]) for change in changes] == [("report.outcome", report_id)]
        assert (told[0]["outcome"], told[0]["text"], told[0]["office"]) == (outcome, "【演练】已查实", TOWN)
    again = await done(client, town, made["incident_id"], "outcome", outcome=outcome, text="【演练】已查实")
    assert (again["applied"], again["notice"]["code"]) == (False, "incident_ended_before")


async def test_a_matter_with_an_open_alert_does_not_end(client: httpx.AsyncClient, as_: As) -> None:
    made = await post(client, as_(VILLAGE, "reporter"), **URGENT)
    town, incident = as_(TOWN, "desk"), made["incident_id"]

    answer = await act(client, town, incident, "outcome", **ENDED)
    assert (answer.status_code, answer.json()["code"]) == (409, "alert_open")
    assert answer.json()["alert_id"] == made["alert_id"]
    await alert_act(client, town, made["alert_id"], "close", reason="【演练】水退")

    assert (await done(client, town, incident, "outcome", **ENDED))["applied"] is True


@ON_ONE_DATABASE
async def test_what_has_ended_is_reopened_before_anything_else(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    town, first, second = as_(TOWN, "desk"), one["incident_id"], other["incident_id"]
    assert (await done(client, town, first, "reopen"))["notice"]["code"] == "incident_is_open"
    await done(client, town, first, "outcome", **ENDED)

    assert await refused(client, town, first, "merge", into=second) == (409, "incident_ended")
    assert await refused(client, town, second, "merge", into=first) == (409, "incident_ended")
    assert await refused(client, town, first, "split", reports=[one["id"]]) == (409, "incident_ended")
    assert await refused(client, town, first, "assign", node=VILLAGE) == (409, "incident_ended")
    assert await refused(client, town, first, "outcome", outcome="referred", text="【演练】移交") == (
        409,
        "incident_ended",
    )
    later = await post(client, as_(VILLAGE, "reporter"))
    assert later["incident_id"] != first
    opened = await done(client, town, first, "reopen")
    assert (opened["applied"], opened["incident"]["state"], opened["incident"]["ended"]) == (True, "open", None)
    changes = (await got(client, as_(VILLAGE, "reporter"), "/v1/reports/changes"))["results"]
    assert [change["type"] for change in changes if change["report"]["id"] == one["id"]] == [
        "report.received",
        "report.outcome",
        "report.reopened",
    ]
    assert (await done(client, town, second, "merge", into=first))["applied"] is True


@ON_ONE_DATABASE
async def test_a_report_that_names_an_ended_matter_opens_it_again(client: httpx.AsyncClient, as_: As) -> None:
    made = await post(client, as_(VILLAGE, "reporter"))
    town, incident = as_(TOWN, "desk"), made["incident_id"]
    await done(client, town, incident, "outcome", **ENDED)

    named = await post(client, as_(VILLAGE, "reporter"), incident_id=incident)

    shown = await got(client, town, f"/v1/incidents/{incident}")
    assert named["incident_id"] == incident
    assert (shown["state"], shown["ended"]) == ("open", None)
    assert (await done(client, town, incident, "outcome", **ENDED))["applied"] is True


@ON_ONE_DATABASE
async def test_the_office_that_leads_may_end_it(client: httpx.AsyncClient, as_: As) -> None:
    made = await post(client, as_(VILLAGE, "reporter"))
    village, incident = as_(VILLAGE, "desk"), made["incident_id"]
    assert await refused(client, village, incident, "outcome", **ENDED) == (403, "desk_above")
    await done(client, as_(TOWN, "desk"), incident, "assign", node=VILLAGE)

    assert (await done(client, village, incident, "outcome", **ENDED))["applied"] is True
    assert await refused(client, village, incident, "reopen") == (403, "desk_above")


@ON_ONE_DATABASE
async def test_an_alias_has_no_outcome_of_its_own(client: httpx.AsyncClient, as_: As) -> None:
    one = await post(client, as_(VILLAGE, "reporter"))
    other = await post(client, as_(NEIGHBOUR, "reporter"))
    town, alias = as_(TOWN, "desk"), other["incident_id"]
    await done(client, town, alias, "merge", into=one["incident_id"])

    assert await refused(client, town, alias, "outcome", **ENDED) == (409, "incident_merged")
    assert await refused(client, town, alias, "assign", node=TOWN) == (409, "incident_merged")
    assert await refused(client, town, alias, "reopen") == (409, "incident_merged")
    assert await refused(client, town, one["incident_id"], "outcome", outcome="gone", text="x") == (422, "invalid")


@ON_ONE_DATABASE
async def test_what_is_written_into_the_text_is_masked(client: httpx.AsyncClient, as_: As) -> None:
    made = await post(client, as_(VILLAGE, "reporter"))
    town = as_(TOWN, "desk")

    ended = await done(
        client, town, made["incident_id"], "outcome", outcome="resolved", text="【演练】联系电话 13800138000"
    )

    assert "13800138000" not in ended["incident"]["ended"]["text"]
    answer = await client.get(f"/v1/incidents/{made['incident_id']}/timeline", headers=town)
    assert "13800138000" not in answer.text


async def test_a_timeline_is_paged_without_loss(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await post(client, as_(FAR_VILLAGE, "reporter")))["incident_id"]
    city = as_(CITY, "desk")
    for node in (FAR_VILLAGE, OTHER_TOWN, FAR_VILLAGE, CITY, OTHER_TOWN):
        await done(client, city, incident, "assign", node=node)

    seen, cursor = [], None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await got(client, city, f"/v1/incidents/{incident}/timeline", **params)
        seen += [step["id"] for step in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen)
