"""Photos come late: also when the sign-in that sent the report has lapsed meanwhile."""

from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select

from app.accounts.models import Account
from app.core.clock import ManualClock
from app.core.database import Database
from tests.attachments.sending import As, Phone, Posted, picture
from tests.builders import CITY, NOON, TOWN, VILLAGE, report

pytestmark = pytest.mark.anyio

PHOTO = picture()


async def revoke(client: httpx.AsyncClient, as_: As, database: Database) -> None:
    async with database.reading() as conn:
        account = (await conn.execute(select(Account.id).where(Account.username == f"reporter-{VILLAGE}"))).scalar_one()
    answer = await client.post(f"/v1/accounts/{account}/disable", headers=as_(CITY, "admin"))
    assert answer.status_code == 200, answer.text


async def test_a_lapsed_sign_in_adds_to_what_it_sent_and_to_nothing_else(
    phone: Phone, posted: Posted, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    own = await posted()
    body = report()
    await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "desk"))
    await phone.send(own["id"], "begun.jpg", PHOTO, part=(0, 100))
    await revoke(client, as_, database)

    begun = await phone.send(own["id"], "begun.jpg", PHOTO, part=(100, len(PHOTO)))
    other = await phone.send(body["id"], "a.jpg", PHOTO)

    assert begun.status_code == 201, begun.text
    assert (other.status_code, other.json()["code"]) == (403, "attachment_lapsed")
    # How far a file has come it may ask; nothing else.
    head = await client.head(f"/v1/reports/{own['id']}/attachments/begun.jpg", headers=phone.headers)
    assert (head.status_code, head.headers["Upload-State"]) == (204, "stored")
    assert (await phone.read(own["id"], "begun.jpg")).status_code == 401


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_what_was_written_after_the_sign_in_ended_gets_no_more(
    phone: Phone, posted: Posted, client: httpx.AsyncClient, as_: As, database: Database, clock: ManualClock
) -> None:
    late = await posted(submitted_at=(NOON + timedelta(minutes=1)).isoformat())
    await revoke(client, as_, database)

    answer = await phone.send(late["id"], "a.jpg", PHOTO)

    assert (answer.status_code, answer.json()["code"]) == (403, "attachment_lapsed")
    assert "2018-08-20 12:15" in answer.json()["detail"]


async def test_a_report_in_quarantine_gets_its_photos_when_it_is_released(
    phone: Phone, client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    await revoke(client, as_, database)
    body = report()
    held = await client.post("/v1/reports", json=body, headers=phone.headers)
    assert held.status_code == 202
    assert (await phone.send(body["id"], "a.jpg", PHOTO)).status_code == 404

    released = await client.post(
        f"/v1/quarantine/{body['id']}/release", json={"note": "【演练】已核实"}, headers=as_(TOWN, "desk")
    )

    assert released.status_code == 200, released.text
    assert (await phone.send(body["id"], "a.jpg", PHOTO)).status_code == 201
    desk = Phone(client, as_(TOWN, "desk"))
    assert [one["filed_by"] for one in await desk.list(body["id"])] == [VILLAGE]


@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_report_of_a_village_that_was_moved_gets_its_photos(
    phone: Phone, posted: Posted, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    sent = await posted()
    clock.advance(timedelta(days=1))
    today = (clock.now() + timedelta(hours=8)).date().isoformat()
    closed = await client.patch(f"/v1/nodes/{VILLAGE}", json={"closed_on": today}, headers=as_(CITY, "admin"))
    assert closed.status_code == 200, closed.text

    assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 201
