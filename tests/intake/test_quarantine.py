import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.accounts.models import Account
from app.core.clock import ManualClock
from app.core.database import Database
from app.intake.models import Quarantined
from app.reports.models import Report
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def post(client: httpx.AsyncClient, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/reports", json=body, headers=headers)


async def held(client: httpx.AsyncClient, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/v1/quarantine", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def release(client: httpx.AsyncClient, headers: dict[str, str], held_id: str) -> httpx.Response:
    return await client.post(f"/v1/quarantine/{held_id}/release", json={"note": "【演练】已核实"}, headers=headers)


async def reject(client: httpx.AsyncClient, headers: dict[str, str], held_id: str) -> httpx.Response:
    return await client.post(f"/v1/quarantine/{held_id}/reject", json={"note": "【演练】重复"}, headers=headers)


async def test_what_was_written_before_the_sign_in_was_revoked_is_held_with_a_receipt(
    client: httpx.AsyncClient, as_: As, database: Database, revoked: dict[str, str]
) -> None:
    body = report(**URGENT)

    answer = await post(client, revoked, body)
    again = await post(client, revoked, body)

    assert (answer.status_code, again.status_code) == (202, 202)
    receipt = answer.json()
    assert again.json() == receipt
    assert (receipt["id"], receipt["state"], receipt["reason"]) == (body["id"], "held", "sign_in_revoked")
    assert (receipt["node"], receipt["desk"], receipt["level"]) == (VILLAGE, TOWN, "orange")
    assert (receipt["corrects"], receipt["base_version"]) == (None, None)
    assert "2018-08-20 12:15" in receipt["text"]
    assert "2018-08-20 12:15" in receipt["text_zh"]
    # It is no report yet: nothing is counted, nobody is alarmed.
    assert await rows(database, Report) == []
    for office in (TOWN, CITY, VILLAGE):
        assert [one["id"] for one in await held(client, as_(office, "desk"))] == [body["id"]], office
    for office in (OTHER_TOWN, NEIGHBOUR, FAR_VILLAGE):
        assert await held(client, as_(office, "desk")) == []
        assert (await client.get(f"/v1/quarantine/{body['id']}", headers=as_(office, "desk"))).status_code == 404
    changes = (await client.get("/v1/reports/changes", headers=as_(TOWN, "desk"))).json()["results"]
    assert [(one["type"], one["report"]["id"]) for one in changes] == [("report.quarantined", body["id"])]


async def test_released_it_is_a_report_like_any_other(
    client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock, revoked: dict[str, str]
) -> None:
    body = report(**URGENT)
    await post(client, revoked, body)
    clock.advance(timedelta(hours=1))

    answer = await release(client, as_(TOWN, "desk"), body["id"])
    again = await release(client, as_(CITY, "desk"), body["id"])

    assert (answer.status_code, again.status_code) == (200, 200)
    stored = answer.json()
    assert (stored["id"], stored["level"], stored["version"]) == (body["id"], "orange", 1)
    assert (stored["received_at"], stored["released_at"]) == ("2018-08-20T04:15:00Z", "2018-08-20T05:15:00Z")
    assert again.json()["id"] == body["id"]
    assert len(await rows(database, Report)) == 1
    alert = (await client.get(f"/v1/alerts/{stored['alert_id']}", headers=as_(CITY, "desk"))).json()
    assert alert["state"] == "raised"
    # The desks have their time from now on.
    assert all(one["since"] == "2018-08-20T05:15:00Z" for one in stored["custody"])
    one = (await client.get(f"/v1/quarantine/{body['id']}", headers=as_(VILLAGE, "desk"))).json()
    assert (one["state"], one["decided_by"], one["note"]) == ("released", TOWN, "【演练】已核实")
    assert await held(client, as_(TOWN, "desk")) == []
    assert [item["id"] for item in await held(client, as_(TOWN, "desk"), state="released")] == [body["id"]]
    changes = (await client.get("/v1/reports/changes", headers=as_(VILLAGE, "desk"))).json()["results"]
    assert [(one["type"], one["deleted"]) for one in changes] == [
        ("report.quarantined", False),
        ("report.received", False),
        ("report.released", False),
        # The city read its alert.
        ("report.opened", False),
    ]
    # The device learns of it by sending it again.
    late = await post(client, revoked, body)
    assert (late.status_code, late.json()["version"]) == (200, 1)


async def test_rejected_it_is_told_why_and_stays_rejected(
    client: httpx.AsyncClient, as_: As, database: Database, revoked: dict[str, str]
) -> None:
    body = report()
    await post(client, revoked, body)

    without = await client.post(f"/v1/quarantine/{body['id']}/reject", json={"note": " "}, headers=as_(TOWN, "desk"))
    answer = await reject(client, as_(TOWN, "desk"), body["id"])
    again = await reject(client, as_(CITY, "desk"), body["id"])
    late = await release(client, as_(CITY, "desk"), body["id"])

    assert without.status_code == 422
    assert (answer.status_code, answer.json()["state"], answer.json()["decided_by"]) == (200, "rejected", TOWN)
    assert again.json() == answer.json()
    assert (late.status_code, late.json()["code"]) == (409, "already_decided")
    assert await rows(database, Report) == []
    receipt = (await post(client, revoked, body)).json()
    assert (receipt["state"], receipt["note"]) == ("rejected", "【演练】重复")
    changes = (await client.get("/v1/reports/changes", headers=as_(VILLAGE, "desk"))).json()["results"]
    assert [(one["type"], one["deleted"]) for one in changes] == [
        ("report.quarantined", False),
        ("report.rejected", True),
    ]


@pytest.mark.parametrize(
    ("written", "status", "code"),
    [
        (NOON - timedelta(seconds=1), 202, None),
        (NOON, 403, "sign_in_lapsed"),
        (NOON + timedelta(minutes=1), 403, "sign_in_lapsed"),
        (NOON - timedelta(days=7) + timedelta(seconds=1), 202, None),
        (NOON - timedelta(days=7), 403, "sign_in_lapsed"),
    ],
)
async def test_when_it_was_written_decides_within_the_policys_days(
    client: httpx.AsyncClient, database: Database, revoked: dict[str, str], written: Any, status: int, code: str | None
) -> None:
    answer = await post(
        client, revoked, report(observed_at=(NOON - timedelta(days=8)).isoformat(), submitted_at=written.isoformat())
    )

    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert len(await rows(database, Quarantined)) == (status == 202)


async def test_of_a_closed_node_it_is_held_for_the_office_above(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    clock.advance(timedelta(days=1))
    today = NOON + timedelta(days=1)
    closed = await client.patch(
        f"/v1/nodes/{VILLAGE}", json={"closed_on": today.date().isoformat()}, headers=as_(CITY, "admin")
    )
    assert closed.status_code == 200, closed.text
    # Closed from this morning, but nobody could know before it was recorded, at noon.
    before = report(submitted_at=(today - timedelta(minutes=3)).isoformat())
    after = report(submitted_at=today.isoformat())

    by_itself = await post(client, as_(VILLAGE, "reporter"), before)
    too_late = await post(client, as_(VILLAGE, "reporter"), after)
    by_its_town = await post(client, as_(TOWN, "desk"), report(node=VILLAGE))
    town_late = await post(client, as_(TOWN, "desk"), after | {"node": VILLAGE})

    assert (by_itself.status_code, by_itself.json()["reason"]) == (202, "node_closed")
    assert (by_itself.json()["desk"], by_itself.json()["filed_by"]) == (TOWN, VILLAGE)
    assert (too_late.status_code, too_late.json()["code"]) == (403, "sign_in_lapsed")
    assert (by_its_town.status_code, by_its_town.json()["reason"]) == (202, "node_closed")
    assert (town_late.status_code, town_late.json()["code"]) == (422, "node_closed")
    released = await release(client, as_(TOWN, "desk"), before["id"])
    assert (released.status_code, released.json()["node"]) == (200, VILLAGE)


async def test_of_a_moved_village_its_old_towns_report_is_for_the_new_one(
    client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    clock.advance(timedelta(days=1))
    moved = await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    assert moved.status_code == 200, moved.text
    body = report(node=VILLAGE)

    today = await post(
        client, as_(TOWN, "desk"), report(node=VILLAGE, submitted_at=(clock.now() - timedelta(minutes=3)).isoformat())
    )
    assert (today.status_code, today.json()["reason"]) == (202, "node_moved")
    await reject(client, as_(OTHER_TOWN, "desk"), today.json()["id"])
    answer = await post(client, as_(TOWN, "desk"), body)
    never = await post(client, as_(NEIGHBOUR, "reporter"), report(node=VILLAGE))
    fresh = await post(client, as_(TOWN, "desk"), report(node=VILLAGE, submitted_at=clock.now().isoformat()))

    assert (answer.status_code, answer.json()["reason"], answer.json()["desk"]) == (202, "node_moved", OTHER_TOWN)
    assert [response.json()["code"] for response in (never, fresh)] == ["node_unknown", "node_unknown"]
    assert [one["id"] for one in await held(client, as_(OTHER_TOWN, "desk"))] == [body["id"]]
    assert await held(client, as_(TOWN, "desk")) == []
    path, match = f"/v1/reports/{body['id']}", {"If-Match": '"1"'}
    details = body | {"summary": "【演练】详情"}
    more = await client.put(path, json=details, headers=as_(TOWN, "desk") | match)
    assert (more.status_code, more.json()["corrects"], more.json()["desk"]) == (202, body["id"], OTHER_TOWN)
    for stranger in (NEIGHBOUR, FAR_VILLAGE):
        for node in (VILLAGE, stranger):
            headers = as_(stranger, "reporter") | match
            assert (await client.put(path, json=details | {"node": node}, headers=headers)).status_code == 404
    assert (await release(client, as_(TOWN, "desk"), body["id"])).status_code == 404
    assert (await release(client, as_(OTHER_TOWN, "desk"), body["id"])).status_code == 200


async def test_a_batch_tells_what_is_held_from_what_is_refused(
    client: httpx.AsyncClient, revoked: dict[str, str]
) -> None:
    good, late = report(), report(submitted_at=NOON.isoformat())
    items = [good, late, report(node=NEIGHBOUR), report(hazard="no.such"), good]

    results = (await client.post("/v1/reports/batch", json={"reports": items}, headers=revoked)).json()["results"]

    assert [one["status"] for one in results] == ["quarantined", "rejected", "rejected", "rejected", "rejected"]
    assert [one["problem"]["code"] for one in results[1:]] == [
        "sign_in_lapsed",
        "node_unknown",
        "hazard_unknown",
        "id_duplicate",
    ]
    assert (results[0]["receipt"]["id"], results[0]["report"]) == (good["id"], None)


async def test_the_same_id_with_other_words_is_a_conflict(
    client: httpx.AsyncClient, revoked: dict[str, str], database: Database
) -> None:
    body = report()
    await post(client, revoked, body)

    answer = await post(client, revoked, body | {"summary": "【演练】另一件事"})

    assert (answer.status_code, answer.json()["code"]) == (409, "id_conflict")
    (row,) = await rows(database, Quarantined)
    assert row.body["summary"] == "【演练】河水上涨"


async def test_a_sign_in_cannot_fill_the_desk(
    client: httpx.AsyncClient, as_: As, app: FastAPI, revoked: dict[str, str]
) -> None:
    quarantine = app.state.policy.quarantine.model_copy(update={"most_held": 2})
    policy = app.state.policy.model_copy(update={"quarantine": quarantine})
    app.state.policy = policy
    app.state.writer._policy = policy
    first = report()

    codes = [(await post(client, revoked, body)).status_code for body in (first, report(), report())]
    full = (await post(client, revoked, report())).json()["code"]
    await reject(client, as_(TOWN, "desk"), first["id"])

    assert (codes, full) == ([202, 202, 409], "quarantine_full")
    assert (await post(client, revoked, report())).status_code == 202


async def test_a_correction_written_in_time_is_held_and_released_as_one(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    me, desk = as_(VILLAGE, "reporter"), as_(TOWN, "desk")
    stored = (await post(client, me, report())).json()
    async with database.reading() as conn:
        account = (await conn.execute(select(Account.id).where(Account.username == f"reporter-{VILLAGE}"))).scalar_one()
    await client.post(f"/v1/accounts/{account}/disable", headers=as_(CITY, "admin"))
    details = report(UUID(stored["id"]), summary="【演练】详情", figures={"trapped": 2}, **URGENT)
    path, match = f"/v1/reports/{stored['id']}", me | {"If-Match": '"1"'}

    receipt = await client.put(path, json=details, headers=match)
    again = await client.put(path, json=details, headers=match)
    batch = await client.post("/v1/reports/batch", json={"reports": [details | {"base_version": 1}]}, headers=me)

    assert (receipt.status_code, again.json()) == (202, receipt.json())
    assert batch.json()["results"][0]["receipt"] == receipt.json()
    assert (receipt.json()["corrects"], receipt.json()["base_version"]) == (stored["id"], 1)
    assert (await client.get(path, headers=desk)).json()["version"] == 1
    done = await release(client, desk, receipt.json()["id"])
    assert (done.status_code, done.json()["version"], done.json()["figures"]) == (200, 2, {"trapped": 2})
    assert done.json()["level"] == "orange"
    assert (await client.put(path, json=details, headers=match)).json()["version"] == 2


async def test_a_correction_of_what_is_held_waits_for_it(
    client: httpx.AsyncClient, as_: As, revoked: dict[str, str]
) -> None:
    body = report()
    await post(client, revoked, body)
    details = report(UUID(body["id"]), summary="【演练】详情")

    receipt = await client.put(f"/v1/reports/{body['id']}", json=details, headers=revoked | {"If-Match": '"1"'})
    unknown = report()
    nothing = await client.put(f"/v1/reports/{unknown['id']}", json=unknown, headers=revoked | {"If-Match": '"1"'})
    early = await release(client, as_(TOWN, "desk"), receipt.json()["id"])
    await release(client, as_(TOWN, "desk"), body["id"])
    done = await release(client, as_(TOWN, "desk"), receipt.json()["id"])

    assert (receipt.status_code, nothing.status_code) == (202, 404)
    assert (early.status_code, early.json()["code"]) == (409, "report_first")
    assert (done.status_code, done.json()["summary"], done.json()["version"]) == (200, "【演练】详情", 2)


async def test_of_desks_that_decide_at_once_one_is_first(
    client: httpx.AsyncClient, as_: As, database: Database, revoked: dict[str, str]
) -> None:
    body = report(**URGENT)
    await post(client, revoked, body)

    answers = await asyncio.gather(
        *(release(client, as_(office, "desk"), body["id"]) for office in (TOWN, CITY)),
        *(reject(client, as_(office, "desk"), body["id"]) for office in (TOWN, CITY)),
    )

    (row,) = await rows(database, Quarantined)
    mine = [200, 200, 409, 409] if row.state == "released" else [409, 409, 200, 200]
    assert [answer.status_code for answer in answers] == mine
    assert len(await rows(database, Report)) == (row.state == "released")


async def test_a_reporter_does_not_decide(
    client: httpx.AsyncClient, as_: As, database: Database, revoked: dict[str, str]
) -> None:
    body = report()
    await post(client, revoked, body)
    before = await counts(database)

    for headers, status in ((as_(TOWN, "reporter"), 403), (as_(VILLAGE, "desk"), 404), (as_(OTHER_TOWN, "desk"), 404)):
        assert (await release(client, headers, body["id"])).status_code == status
        assert (await reject(client, headers, body["id"])).status_code == status
    assert await counts(database) == before
