"""What leaves Beacon, and by which way: offices only, and no way around the guard."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.logs import dict_config
from app.core.settings import Settings
from app.deliveries import channels, signing
from app.deliveries.fanout import outward
from app.deliveries.sending import Sender
from tests.alerts.acts import act
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, NOON, TOWN
from tests.deliveries.conftest import Subscribe, deliver
from tests.deliveries.receiving import receiving

As = Callable[[str, str], dict[str, str]]


@pytest.mark.anyio
async def test_of_who_took_an_alert_on_only_the_office_is_told(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving() as service:
        await subscribe(service.url, events=["*"])
        alert = (await raise_alert(client, as_))["alert_id"]
        taken = await act(client, as_(TOWN, "desk"), alert, "acknowledge")
        await act(client, as_(TOWN, "desk"), alert, "release", note="【演练】")
        await deliver(sender)

    assert taken.json()["owner"]["label"] == f"desk-{TOWN}"
    (told,) = [one.said["data"] for one in service.taken if one.said["type"] == "alert.acknowledged"]
    assert told["owner"]["node"] == TOWN
    assert f"desk-{TOWN}" not in b"".join(one.raw for one in service.taken).decode()


@pytest.mark.anyio
async def test_whatever_is_sent_has_its_id_its_version_and_its_drill(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving() as service:
        await subscribe(service.url, events=["*"])
        await raise_alert(client, as_)
        await deliver(sender)

    assert {one.said["type"] for one in service.taken} == {"incident.opened", "report.received", "alert.raised"}
    for one in service.taken:
        assert {"id", "version", "drill_id", "city_id"} <= one.said["data"].keys()


def test_what_is_too_large_is_sent_as_what_it_is_about() -> None:
    event = SimpleNamespace(subject_id="s", version=3, drill_id=None, body={"level": "red", "nodes": ["村" * 10] * 900})

    raw = signing.message("rollcall.due", NOON, outward(CITY, event))

    assert len(raw) < 20_000
    assert b'"truncated":true' in raw
    assert b'"id":"s"' in raw
    assert b'"version":3' in raw


@pytest.mark.parametrize(
    "url",
    [
        "mailtos://u:p@mail.example/?verify=no",
        "mailtos://u:p@mail.example/?redirect=yes",
        "mailtos://u:p@mail.example/?mode=insecure",
        "mailtos://u:p@mail.example/?pgpkey=/etc/passwd",
        "mailtos://u:p@mail.example/?rto=4000",
        "mailtos://u:p@mail.example/?+X-Header=1",
        "barks://bark.example/key/?retry=5",
        "bark://bark.example/key",
        "mailto://u:p@mail.example",
    ],
)
def test_a_channel_cannot_weaken_what_carries_it(url: str) -> None:
    assert not channels.is_known(url)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("mailtos://u:p@mail.example/?smtp=127.0.0.1", "127.0.0.1"),
        ("mailtos://u:p@mail.example", "mail.example"),
        ("barks://bark.example/key", "bark.example"),
    ],
)
@pytest.mark.anyio
async def test_a_channel_that_names_its_own_host_is_vetted_by_the_host_it_would_really_use(
    url: str,
    host: str,
    client: httpx.AsyncClient,
    as_: As,
    subscribe: Subscribe,
    clock: ManualClock,
    database: Database,
) -> None:
    asked, notified = [], []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    def notify(*given: object) -> bool:
        notified.append(given)
        return True

    sender = Sender(database, clock, resolve=resolve, notify=notify, draw=lambda: 0.0)
    made = await subscribe(url, at="/v1/channels", events=["alert.raised"])
    await raise_alert(client, as_)
    await deliver(sender)
    await sender.stop()

    path = f"/v1/channels/{made['id']}/deliveries"
    (sent,) = (await client.get(path, headers=as_(CITY, "admin"))).json()["items"]
    detail = (await client.get(f"{path}/{sent['id']}", headers=as_(CITY, "admin"))).json()
    assert (asked, notified) == ([host], [])
    assert [one["outcome"] for one in detail["receipts"]] == ["forbidden_target"]


def test_a_channel_follows_no_redirect_and_tries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    posts: list[dict[str, Any]] = []

    def post(url: str, **given: Any) -> Any:
        posts.append({"url": url, **given})
        return SimpleNamespace(status_code=302, content=b"", text="", headers={})

    monkeypatch.setattr("requests.post", post)

    assert channels.notify("barks://bark.example/key", "红色 RED", "【演练】", 4.0) is False
    assert [(one["allow_redirects"], one["verify"], one["timeout"]) for one in posts] == [(False, True, (2.0, 2.0))]


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_channels_and_name_servers_that_hang_delay_no_other_receiver(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)
    hanging, told = [], []

    def notify(url: str, title: str, text: str, seconds: float) -> bool:
        if "slow" in url:
            hanging.append(url)
            begun.release()
            return release.wait(10)
        told.append(url)
        begun.release()
        return True

    def look_up(host: str, port: int, **given: Any) -> list[Any]:
        if host == "127.0.0.1":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        hanging.append(host)
        begun.release()
        release.wait(10)
        raise OSError

    sender = Sender(database, clock, private_targets=True, notify=notify, draw=lambda: 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        async with receiving() as quick:
            for number in range(20):
                await subscribe(f"dingtalk://slow{number:012}", at="/v1/channels", events=["*"])
                await subscribe(f"https://slow{number}.example/hook")
            await subscribe(quick.url)
            await subscribe("dingtalk://quicktokentoken", at="/v1/channels", events=["alert.raised"])
            await raise_alert(client, as_, **EXTREME)
            await sender.run_due()
            async with asyncio.timeout(5):
                await quick.until(lambda service: len(service.taken) == 1)
                for _ in range(41):
                    await asyncio.to_thread(begun.acquire)
        release.set()
        await sender.settled()
    await sender.stop()

    assert len(set(hanging)) == 40
    assert told == ["dingtalk://quicktokentoken"]


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_host_with_several_addresses_is_reached_at_the_one_that_answers(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        # Nobody listens there; bracketed or not, both are tried as they are.
        return ["::1", "127.0.0.1"]

    sender = Sender(database, clock, private_targets=True, resolve=resolve, draw=lambda: 0.0)
    async with receiving() as service:
        port = service.url.split(":")[2].split("/")[0]
        await subscribe(f"http://two.example:{port}/hook")
        await raise_alert(client, as_)
        await deliver(sender)
    await sender.stop()

    assert [one.headers["host"] for one in service.taken] == [f"two.example:{port}"]


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_an_address_is_shown_whole_once_and_then_without_its_secrets(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe
) -> None:
    url = "https://gateway.example:8443/hooks/t0ken?key=s3cret"
    made = await subscribe(url)
    listed = await client.get("/v1/webhooks", headers=as_(CITY, "admin"))

    (shown,) = listed.json()["items"]
    assert made["url"] == url
    assert shown["url"] == "https://gateway.example:8443/…"
    for secret in ("t0ken", "s3cret", made["secret"]):
        assert secret not in listed.text


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("url", ["https://10.0.0.1/hook", "https://[::1]/hook", "https://169.254.169.254/latest"])
async def test_an_address_that_is_not_public_is_refused_at_once(
    client: httpx.AsyncClient, as_: As, settings: Settings, url: str
) -> None:
    app = client._transport.app  # type: ignore[attr-defined]  # the test's own ASGI transport
    app.state.settings = settings.model_copy(update={"delivery_private_targets": False})

    refused = await client.post("/v1/webhooks", json={"label": "x", "url": url}, headers=as_(CITY, "admin"))

    assert (refused.status_code, refused.json()["code"]) == (422, "target_wrong")


def test_the_libraries_that_know_the_tokens_of_channels_write_none_into_the_log() -> None:
    loggers = dict_config(Settings(log_level="debug"))["loggers"]

    for name in ("apprise", "urllib3", "httpx", "httpcore"):
        assert logging.getLevelNamesMapping()[loggers[name]["level"]] > logging.INFO
