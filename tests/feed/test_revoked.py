"""What is revoked gets nothing more: in every process, before any later event, also where somebody waits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.accounts import command
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from app.deliveries.sending import Sender
from app.feed.models import FeedEvent
from app.feed.revocations import Revocations
from app.main import create_app
from tests.accounts.people import bearer, create_key
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, OTHER_TOWN, TOWN, VILLAGE
from tests.conftest import running
from tests.deliveries.conftest import deliver
from tests.deliveries.receiving import receiving
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Revoke = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]
DESK = f"desk-{TOWN}"


@asynccontextmanager
async def another(settings: Settings, clock: ManualClock) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    """One more application on the same database, and its client."""
    app = create_app(settings, clock=clock)
    transport = httpx.ASGITransport(app)
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
        yield app, client


async def account_of(client: httpx.AsyncClient, admin: dict[str, str]) -> str:
    """The id of the town's desk."""
    found = (await client.get("/v1/accounts", params={"limit": 200}, headers=admin)).json()["items"]
    return next(str(one["id"]) for one in found if one["username"] == DESK)


async def waiting(app: FastAPI, most: int) -> None:
    """Return when so many wait for the city's log."""
    until = time.monotonic() + 10
    while len(app.state.heads._waiters.get(CITY, ())) < most:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


def said(stream: httpx.Response) -> list[tuple[str, Any]]:
    """The events of a stream that has ended, without heartbeats."""
    found = []
    for block in stream.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if fields.get("event", "heartbeat") != "heartbeat":
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def disable(client: httpx.AsyncClient, account: str, admin: dict[str, str]) -> httpx.Response:
    return await client.post(f"/v1/accounts/{account}/disable", headers=admin)


async def reset(client: httpx.AsyncClient, account: str, admin: dict[str, str]) -> httpx.Response:
    return await client.post(f"/v1/accounts/{account}/reset", headers=admin)


async def lower(client: httpx.AsyncClient, account: str, admin: dict[str, str]) -> httpx.Response:
    return await client.patch(f"/v1/accounts/{account}", json={"role": "reporter"}, headers=admin)


async def move(client: httpx.AsyncClient, account: str, admin: dict[str, str]) -> httpx.Response:
    return await client.patch(f"/v1/accounts/{account}", json={"node": OTHER_TOWN}, headers=admin)


async def sign_out(client: httpx.AsyncClient, account: str, admin: dict[str, str]) -> httpx.Response:
    return await client.post("/v1/auth/revoke", json={"token": f"bt_desk-{TOWN}"})


@pytest.mark.parametrize(
    ("revoke", "code"),
    [
        (disable, "sign_in_invalid"),
        (reset, "sign_in_invalid"),
        (sign_out, "sign_in_invalid"),
        (lower, "sign_in_changed"),
        (move, "sign_in_changed"),
    ],
)
async def test_who_waits_in_another_process_is_told_of_the_revocation_and_of_nothing_after_it(
    settings: Settings, clock: ManualClock, as_: As, revoke: Any, code: str
) -> None:
    async with another(settings, clock) as (_, here), another(settings, clock) as (there, elsewhere):
        await raise_alert(here, as_)
        desk, admin = as_(TOWN, "desk"), as_(CITY, "admin")
        account = await account_of(here, admin)
        since = (await elsewhere.get("/v1/alerts", headers=desk)).json()["cursor"]
        polls = [
            asyncio.create_task(elsewhere.get(path, params={"since": since, "wait": 30}, headers=desk))
            for path in ("/v1/alerts/changes", "/v1/reports/changes")
        ]
        stream = asyncio.create_task(elsewhere.get("/v1/alerts/stream", params={"since": since}, headers=desk))
        spared = asyncio.create_task(
            elsewhere.get("/v1/alerts/changes", params={"since": since, "wait": 30}, headers=as_(TOWN, "supervisor"))
        )
        await waiting(there, 4)

        began = time.monotonic()
        assert (await revoke(here, account, admin)).is_success
        after = (await raise_alert(here, as_, hazard="fire.building"))["alert_id"]
        answers = await asyncio.gather(*polls)
        events = said(await stream)
        assert time.monotonic() - began < 15

        for answer in answers:
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert [(kind, problem["code"]) for kind, problem in events] == [("problem", code)]
        # Whose sign-in is good hears of the alert, and not of the revocation.
        told = (await spared).json()["results"]
        assert [(one["type"], one["alert"]["id"]) for one in told] == [("alert.raised", after)]


async def test_a_revoked_key_waits_no_longer_and_gets_nothing_more(
    settings: Settings, clock: ManualClock, as_: As
) -> None:
    async with another(settings, clock) as (_, here), another(settings, clock) as (there, elsewhere):
        made = (await create_key(here, node=CITY, scopes=["alerts:read", "reports:read"])).json()
        key = bearer(made["key"])
        await raise_alert(here, as_)
        since = (await elsewhere.get("/v1/alerts", headers=key)).json()["cursor"]
        poll = asyncio.create_task(
            elsewhere.get("/v1/alerts/changes", params={"since": since, "wait": 30}, headers=key)
        )
        stream = asyncio.create_task(elsewhere.get("/v1/alerts/stream", params={"since": since}, headers=key))
        await waiting(there, 2)

        await here.delete(f"/v1/keys/{made['id']}", headers=as_(CITY, "admin"))
        after = (await raise_alert(here, as_, hazard="fire.building"))["alert_id"]

        assert (await poll).json()["code"] == "sign_in_invalid"
        assert [(kind, problem["code"]) for kind, problem in said(await stream)] == [("problem", "sign_in_invalid")]
        # What this process remembers of the key does not open a poll that would be told something, either.
        again = await elsewhere.get("/v1/alerts/changes", params={"since": since}, headers=key)
        assert again.status_code == 401
        assert after not in again.text


@pytest.mark.parametrize("kind", ["poll", "stream"])
async def test_a_waiter_does_not_outlive_its_key(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock, kind: str
) -> None:
    body = {"node": CITY, "scopes": ["alerts:read"], "label": "gateway"}
    until = clock.now() + timedelta(seconds=1)
    made = await client.post("/v1/keys", json=body | {"expires_at": until.isoformat()}, headers=as_(CITY, "admin"))
    key = bearer(made.json()["key"])
    await raise_alert(client, as_)
    since = (await client.get("/v1/alerts", headers=key)).json()["cursor"]
    path = "/v1/alerts/changes" if kind == "poll" else "/v1/alerts/stream"
    params = {"since": since} | ({"wait": "30"} if kind == "poll" else {})
    asked = asyncio.create_task(client.get(path, params=params, headers=key))
    await waiting(app, 1)

    began = time.monotonic()
    clock.advance(timedelta(seconds=1))
    answer = await asked

    assert time.monotonic() - began < 10
    if kind == "poll":
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_invalid")
    else:
        assert [(name, problem["code"]) for name, problem in said(answer)] == [("problem", "sign_in_invalid")]


async def test_a_refreshed_sign_in_goes_on_waiting(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    await raise_alert(client, as_)
    headers = as_(CITY, "admin")
    made = {"username": "new.desk", "node": TOWN, "role": "desk", "password": "three words of mine"}
    assert (await client.post("/v1/accounts", json=made, headers=headers)).status_code == 201
    form = {"grant_type": "password", "username": made["username"], "password": made["password"]}
    pair = (await client.post("/v1/auth/token", data=form)).json()
    desk = bearer(pair["access_token"])
    since = (await client.get("/v1/alerts", headers=desk)).json()["cursor"]
    poll = asyncio.create_task(client.get("/v1/alerts/changes", params={"since": since, "wait": 30}, headers=desk))
    await waiting(app, 1)

    await client.post("/v1/auth/refresh", json={"refresh_token": pair["refresh_token"]})
    after = (await raise_alert(client, as_, hazard="fire.building"))["alert_id"]

    answer = await poll
    assert (answer.status_code, [one["alert"]["id"] for one in answer.json()["results"]]) == (200, [after])


async def test_nobody_is_shown_the_entry_of_a_revocation(settings: Settings, as_: As, clock: ManualClock) -> None:
    admin = as_(CITY, "admin")
    private = settings.model_copy(update={"delivery_private_targets": True})
    async with receiving() as service, another(private, clock) as (app, client):
        database = app.state.database
        sender = Sender(database, clock, private_targets=True, draw=lambda: 0.0)
        hook = {"label": "gateway", "url": service.url, "events": ["*"]}
        assert (await client.post("/v1/webhooks", json=hook, headers=admin)).status_code == 201
        await disable(client, await account_of(client, admin), admin)
        await raise_alert(client, as_)
        await deliver(sender)
        await sender.stop()
        shown = [await client.get(path, headers=admin) for path in ("/v1/alerts/changes", "/v1/reports/changes")]
        entries = await rows(database, FeedEvent)

    stored = [row for row in entries if row.topic == "internal"]
    assert [(row.type, row.city_id, row.node_code, row.body) for row in stored] == [("sign_in.ended", CITY, TOWN, {})]
    assert {one.said["type"] for one in service.taken} == {"incident.opened", "report.received", "alert.raised"}
    for answer in shown:
        assert "sign_in" not in answer.text
        assert answer.json()["pending"] == 0


async def test_the_command_line_ends_sign_ins_of_running_processes_too(
    app: FastAPI, client: httpx.AsyncClient, as_: As, settings: Settings, clock: ManualClock
) -> None:
    await raise_alert(client, as_)
    desk = as_(TOWN, "desk")
    since = (await client.get("/v1/alerts", headers=desk)).json()["cursor"]
    poll = asyncio.create_task(client.get("/v1/alerts/changes", params={"since": since, "wait": 30}, headers=desk))
    await waiting(app, 1)

    server = Database(settings.database_url, pool=1)
    server.before_commit.append(Revocations(clock).record)
    await command.switch(server, username=DESK, to="disabled", now=clock.now())
    await server.close()

    assert (await poll).status_code == 401


async def test_a_closed_office_waits_no_longer(
    app: FastAPI, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    await raise_alert(client, as_)
    village = as_(VILLAGE, "desk")
    since = (await client.get("/v1/alerts", headers=village)).json()["cursor"]
    poll = asyncio.create_task(client.get("/v1/alerts/changes", params={"since": since, "wait": 30}, headers=village))
    await waiting(app, 1)

    closing = {"closed_on": date(2018, 8, 20).isoformat()}
    closed = await client.patch(f"/v1/nodes/{VILLAGE}", json=closing, headers=as_(CITY, "admin"))
    assert closed.status_code == 200, closed.text

    assert (await poll).status_code == 401
