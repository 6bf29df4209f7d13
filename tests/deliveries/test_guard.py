"""Where a delivery may not go, whatever its name says and says a moment later."""

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.deliveries import guard
from app.deliveries.sending import Sender
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY
from tests.deliveries.conftest import Subscribe, deliver
from tests.deliveries.receiving import receiving

As = Callable[[str, str], dict[str, str]]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "2001:db8::1",
        "nonsense",
        "",
    ],
)
def test_what_is_not_public_is_no_target(address: str) -> None:
    assert not guard.is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "223.5.5.5", "2606:4700:4700::1111", "2400:3200::1"])
def test_public_addresses_are_targets(address: str) -> None:
    assert guard.is_public(address)


@pytest.mark.anyio
async def test_one_private_address_among_public_ones_forbids_the_host() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "127.0.0.1"]

    with pytest.raises(guard.ForbiddenTarget):
        await guard.vetted("two.example", 443, resolve=resolve, private=False)
    assert await guard.vetted("two.example", 443, resolve=resolve, private=True) == ["1.1.1.1", "127.0.0.1"]


@pytest.mark.anyio
async def test_the_resolver_of_this_machine_knows_loopback() -> None:
    assert "127.0.0.1" in await guard.resolve("127.0.0.1", 80)
    with pytest.raises(guard.ForbiddenTarget):
        await guard.vetted("127.0.0.1", 80, resolve=guard.resolve, private=False)


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_nothing_is_sent_to_a_private_target_and_the_receipt_says_why(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    guarded = Sender(database, clock, resolve=resolve, draw=lambda: 0.0)
    async with receiving() as service:
        port = int(service.url.split(":")[2].split("/")[0])
        made = await subscribe(f"https://inside.example:{port}/hook")
        plain = await subscribe(service.url)
        await raise_alert(client, as_)
        await deliver(guarded)
    await guarded.stop()

    assert service.taken == []
    assert asked == [("inside.example", port)]  # resolved at the try; plain http not even that
    for one in (made, plain):
        path = f"/v1/webhooks/{one['id']}/deliveries"
        (sent,) = (await client.get(path, headers=as_(CITY, "admin"))).json()["items"]
        detail = (await client.get(f"{path}/{sent['id']}", headers=as_(CITY, "admin"))).json()
        assert [receipt["outcome"] for receipt in detail["receipts"]] == ["forbidden_target"]


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_the_connection_goes_to_the_address_that_was_vetted_under_the_name_that_was_asked_for(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    pinned = Sender(database, clock, private_targets=True, resolve=resolve, draw=lambda: 0.0)
    async with receiving() as service:
        port = service.url.split(":")[2].split("/")[0]
        # The name does not exist: only the vetted address can have been connected to.
        await subscribe(f"http://no-such-host.invalid:{port}/hook?a=1")
        await raise_alert(client, as_)
        await deliver(pinned)
    await pinned.stop()

    assert [one.headers["host"] for one in service.taken] == [f"no-such-host.invalid:{port}"]


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example/hook",
        "https://",
        "https:///hook",
        "ftp://gateway.example/hook",
        "https://user:secret@gateway.example/hook",
        "https://gateway.example:99999/hook",
        "https://[::1/hook",
        "javascript:alert(1)",
    ],
)
async def test_what_cannot_be_called_is_refused(client: httpx.AsyncClient, as_: As, url: str, app: FastAPI) -> None:
    body = {"label": "gateway", "url": url}
    app.state.settings = app.state.settings.model_copy(update={"delivery_private_targets": False})

    refused = await client.post("/v1/webhooks", json=body, headers=as_(CITY, "admin"))

    assert (refused.status_code, refused.json()["code"]) == (422, "target_wrong")
