import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.passwords import Passwords
from app.core.clock import ManualClock
from app.core.settings import Settings
from app.field.session import SignIn
from tests.accounts.people import ADMIN, PASSWORD, USERNAME, cheap, create
from tests.builders import VILLAGE, report
from tests.field.devices import Device, device

pytestmark = pytest.mark.anyio


@pytest.fixture
async def phone(app: FastAPI, client: httpx.AsyncClient, clock: ManualClock, tmp_path: Path) -> Device:
    """A village officer's phone, signed in."""
    app.state.passwords.close()
    app.state.passwords = Passwords(cheap())
    made = await create(client, node=VILLAGE, role="reporter")
    assert made.status_code == 201, made.text
    found = another(app, clock, tmp_path)
    session = found.courier.session
    assert isinstance(session, SignIn)
    assert await session.sign_in(found.courier.client, username=USERNAME, password=PASSWORD) is None
    return found


async def test_a_phone_signs_in_with_a_code_though_an_answer_gets_lost(
    app: FastAPI, client: httpx.AsyncClient, clock: ManualClock, tmp_path: Path
) -> None:
    app.state.passwords.close()
    app.state.passwords = Passwords(cheap())
    body = {"username": USERNAME, "node": VILLAGE, "role": "reporter"}
    code = (await client.post("/v1/accounts", json=body, headers=ADMIN)).json()["code"]
    found = another(app, clock, tmp_path)
    session = found.courier.session
    assert isinstance(session, SignIn)
    transport = httpx.ASGITransport(app)
    lost: list[int] = []

    async def lossy(request: httpx.Request) -> httpx.Response:
        answer = await transport.handle_async_request(request)
        if request.url.path == "/v1/auth/enrol" and not lost:
            lost.append(answer.status_code)
            raise httpx.ReadError("the link is gone")
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(lossy), base_url="http://beacon.test") as link:
        assert await session.enrol(link, code=code) is None
        assert await session.enrol(link, code=code) == (
            "This code is wrong, used or expired. Ask the office that gave it for a new one."
        )
    assert lost == [200]
    assert (await client.get("/v1/me", headers=session.headers())).json()["label"] == USERNAME


def another(app: FastAPI, clock: ManualClock, tmp_path: Path) -> Device:
    """The same phone's file, open once more."""
    server = httpx.ASGITransport(app, raise_app_exceptions=False)
    return device(server, clock=clock, path=str(tmp_path / "phone.db"))


def state_of(phone: Device, report_id: str) -> object:
    return phone.outbox.report(report_id)["state"]


async def test_an_expired_sign_in_is_renewed_and_the_report_goes(
    phone: Device, clock: ManualClock, settings: Settings
) -> None:
    report_id = phone.outbox.put(report())
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))

    await phone.wake()

    assert state_of(phone, report_id) == "stored"


async def test_of_two_processes_with_an_expired_sign_in_one_renews_it_and_both_go_on(
    phone: Device, app: FastAPI, clock: ManualClock, settings: Settings, tmp_path: Path
) -> None:
    other = another(app, clock, tmp_path)
    ids = [phone.outbox.put(report()) for _ in range(2)]
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))

    await asyncio.gather(phone.courier.step(), other.courier.step())
    clock.advance(timedelta(minutes=1))
    await other.deliver()

    assert [state_of(phone, one) for one in ids] == ["stored", "stored"]
    again = phone.outbox.put(report())
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))
    await phone.deliver()
    assert state_of(phone, again) == "stored"


async def test_after_the_sign_in_was_revoked_what_waits_is_handed_in_and_held_and_reading_stops(
    phone: Device, client: httpx.AsyncClient, clock: ManualClock, settings: Settings
) -> None:
    before = phone.outbox.put(report(submitted_at=clock.now().isoformat()))
    phone.outbox.correct(before, {"description": "【演练】村北"})
    clock.advance(timedelta(minutes=1))
    (account,) = (
        one["id"]
        for one in (await client.get("/v1/accounts", headers=ADMIN)).json()["items"]
        if one["username"] == USERNAME
    )
    assert (await client.post(f"/v1/accounts/{account}/disable", headers=ADMIN)).status_code == 200
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))
    after = phone.outbox.put(report(submitted_at=clock.now().isoformat()))

    await phone.deliver()

    held, refused = phone.outbox.report(before), phone.outbox.report(after)
    assert [step["state"] for step in held["steps"]] == ["held", "held"]
    assert (held["state"], held["answer"]["reason"]) == ("held", "sign_in_revoked")
    assert (refused["state"], refused["answer"]["code"]) == ("refused", "sign_in_lapsed")
    assert (await phone.inbox.sync()).needs_sign_in
    assert (await phone.inbox.sync()).needs_sign_in


async def test_without_a_sign_in_everything_waits(phone: Device, clock: ManualClock) -> None:
    session = phone.courier.session
    assert isinstance(session, SignIn)
    session.keep("bt_unknown")
    report_id = phone.outbox.put(report())

    done = await phone.wake()

    assert (done.needs_sign_in, done.retry_at, state_of(phone, report_id)) == (True, None, "waiting")
    assert await session.sign_in(phone.courier.client, username=USERNAME, password="wrong") is not None
    assert await session.sign_in(phone.courier.client, username=USERNAME, password=PASSWORD) is None
    await phone.wake()
    assert state_of(phone, report_id) == "stored"


async def test_a_lost_answer_to_the_renewal_is_not_taken_for_a_refusal(
    phone: Device, clock: ManualClock, settings: Settings
) -> None:
    report_id = phone.outbox.put(report())
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))
    phone.link.down = True
    done = await phone.wake()
    assert (done.needs_sign_in, state_of(phone, report_id)) == (False, "waiting")

    phone.link.down = False
    await phone.deliver()

    assert state_of(phone, report_id) == "stored"
