"""Who is signed in changes, and what an office sees: a device follows, and mixes nothing up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.settings import Settings
from app.field.session import SignIn
from app.field.store import server_of
from tests.accounts.people import ADMIN, USERNAME
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, OTHER_TOWN, TOWN, VILLAGE, report
from tests.conftest import token_of
from tests.drills.acts import begin
from tests.field.devices import URL, Device, device
from tests.field.test_held import decide
from tests.field.test_held import phone as held_phone  # noqa: F401  a fixture
from tests.field.test_sign_in import another, phone, state_of  # noqa: F401  a fixture

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
def server(app: FastAPI) -> httpx.ASGITransport:
    return httpx.ASGITransport(app, raise_app_exceptions=False)


async def test_after_another_office_signs_in_what_waits_stays_of_the_one_that_wrote_it(
    server: httpx.ASGITransport, clock: ManualClock
) -> None:
    theirs = device(server, clock=clock, session=token_of(FAR_VILLAGE, "reporter"))
    listed = theirs.outbox.put(report())
    await theirs.deliver()
    one = device(server, clock=clock)
    session = one.courier.session
    assert isinstance(session, SignIn)
    assert await session.sign_in_with(one.courier.client, token_of(VILLAGE, "reporter")) is None
    one.outbox.put(report())
    await one.deliver()
    await one.inbox.sync()
    waits = one.outbox.put({key: value for key, value in report().items() if key != "node"})

    assert await session.sign_in_with(one.courier.client, token_of(FAR_VILLAGE, "reporter")) is None
    await one.inbox.sync()
    await one.deliver()

    assert [known["id"] for known in one.inbox.reports()] == [listed]
    found = one.outbox.report(waits)
    assert (found["state"], found["answer"]["code"]) == ("refused", "node_unknown")
    assert found["body"]["node"] == VILLAGE


async def test_a_sign_in_that_fails_changes_nothing(server: httpx.ASGITransport, clock: ManualClock) -> None:
    one = device(server, clock=clock)
    session = one.courier.session
    assert isinstance(session, SignIn)
    assert await session.sign_in_with(one.courier.client, token_of(VILLAGE, "reporter")) is None

    async with httpx.AsyncClient(transport=server, base_url="http://elsewhere.test") as elsewhere:
        assert await session.sign_in(elsewhere, username="nobody", password="wrong") is not None
        assert await session.sign_in_with(elsewhere, "bk_unknown") is not None

    assert server_of(one.store) == URL
    assert session.headers()["Authorization"] == f"Bearer {token_of(VILLAGE, 'reporter')}"


@pytest.mark.parametrize(("what", "state"), [("release", "stored"), ("reject", "refused")])
async def test_what_a_desk_decides_while_all_is_listed_again_is_heard(
    held_phone: Device,  # noqa: F811
    client: httpx.AsyncClient,
    as_: As,
    what: str,
    state: str,
) -> None:
    one = held_phone
    (report_id,) = one.outbox.reports()
    await one.inbox.sync()
    moved = await client.patch(f"/v1/nodes/{NEIGHBOUR}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    assert moved.status_code == 200
    await decide(client, as_, report_id, what)

    one.inbox = replace(one.inbox, most=1)
    await one.inbox.sync()

    assert state_of(one, report_id) == state


async def test_in_a_drill_too_a_node_that_changes_hands_is_listed_again(
    server: httpx.ASGITransport, client: httpx.AsyncClient, clock: ManualClock, as_: As
) -> None:
    drill = await begin(client, as_(CITY, "admin"))
    sent = await client.post("/v1/reports", json=report(drill_id=drill["id"]), headers=as_(VILLAGE, "reporter"))
    old, new = (device(server, clock=clock, session=token_of(town, "desk")) for town in (TOWN, OTHER_TOWN))
    for one in (old, new):
        one.inbox = replace(one.inbox, drill=drill["id"])
        await one.inbox.sync()

    await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    for one in (old, new):
        await one.inbox.sync()

    assert old.inbox.reports() == []
    assert [known["id"] for known in new.inbox.reports()] == [sent.json()["id"]]


class Slow(httpx.AsyncBaseTransport):
    """The answer to a renewal comes after `meanwhile`."""

    def __init__(self, inner: httpx.AsyncBaseTransport, meanwhile: Callable[[], Any]) -> None:
        self.inner, self.meanwhile = inner, meanwhile

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        if "refresh" in request.url.path:
            await self.meanwhile()
        return answer


async def test_a_renewal_whose_answer_comes_late_ends_no_sign_in(
    phone: Device,  # noqa: F811
    app: FastAPI,
    clock: ManualClock,
    settings: Settings,
    tmp_path: Path,
) -> None:
    other = another(app, clock, tmp_path)
    phone.outbox.put(report())
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))

    async def meanwhile() -> None:
        # The first process is suspended; another one renews likewise.
        clock.advance(timedelta(minutes=2))
        other.outbox.put(report(), urgent=True)
        await other.wake()

    slow = httpx.AsyncClient(transport=Slow(phone.link, meanwhile), base_url=URL)
    await replace(phone.courier, client=slow).flush()
    clock.advance(timedelta(minutes=settings.access_token_minutes + 1))
    last = phone.outbox.put(report())
    await phone.deliver()

    assert state_of(phone, last) == "stored"
    assert phone.outbox.waiting() == 0


async def test_after_a_rejected_correction_the_next_one_is_held_and_released(
    phone: Device,  # noqa: F811
    client: httpx.AsyncClient,
    clock: ManualClock,
    as_: As,
) -> None:
    one = phone.outbox.put(report(submitted_at=clock.now().isoformat()))
    await phone.wake()
    for number, summary in enumerate(("甲", "乙", "丙")):
        clock.advance(timedelta(seconds=10))
        phone.outbox.correct(one, {"summary": f"【演练】{summary}", "figures": {"dead": number}})
    clock.advance(timedelta(minutes=1))
    accounts = (await client.get("/v1/accounts", headers=ADMIN)).json()["items"]
    (account,) = (found["id"] for found in accounts if found["username"] == USERNAME)
    assert (await client.post(f"/v1/accounts/{account}/disable", headers=ADMIN)).status_code == 200

    await phone.courier.step()
    await phone.courier.step()
    for step in phone.outbox.report(one)["steps"][1:3]:
        await decide(client, as_, step["answer"]["id"], "reject")
    await phone.wake()
    last = phone.outbox.report(one)["steps"][-1]
    assert last["state"] == "held"
    await decide(client, as_, last["answer"]["id"], "release")

    shown = (await client.get(f"/v1/reports/{one}", headers=as_(TOWN, "desk"))).json()
    assert (shown["version"], shown["summary"], shown["figures"]) == (2, "【演练】丙", {"dead": 2})


async def test_a_correction_of_what_went_to_another_office_is_refused_with_its_reason(
    server: httpx.ASGITransport, client: httpx.AsyncClient, clock: ManualClock, as_: As
) -> None:
    one = device(server, clock=clock, session=token_of(TOWN, "desk"))
    report_id = one.outbox.put(report(node=VILLAGE))
    await one.deliver()
    await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    clock.advance(timedelta(hours=1))
    one.outbox.correct(report_id, {"summary": "【演练】后来"})

    await one.deliver()

    step = one.outbox.report(report_id)["steps"][-1]
    assert (step["state"], step["answer"]["code"]) == ("refused", "not_found")
