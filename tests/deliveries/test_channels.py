"""Notification channels: who is told, in what words, with a receipt for each try."""

import threading
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from app.alerts import engine
from app.core.clock import ManualClock
from app.core.database import Database
from app.deliveries import channels
from app.deliveries.sending import Sender
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME
from tests.deliveries.conftest import Subscribe, deliver

As = Callable[[str, str], dict[str, str]]

URL = "dingtalk://tokentokentoken"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "feishu://abc123token",
        "lark://abc123token",
        "wecombot://abcdefgh-1234-1234-1234-abcdefabcdef",
        "mailtos://user:pass@mail.example/?to=desk@mail.example",
    ],
)
def test_the_channels_of_the_offices_are_known_to_the_library(url: str) -> None:
    assert channels.is_known(url)


@pytest.mark.parametrize(
    "url", ["json://127.0.0.1/", "syslog://", "file:///etc/passwd", "https://x.example", "dingtalk://"]
)
def test_any_other_scheme_is_not_allowed(url: str) -> None:
    assert not channels.is_known(url)


def test_a_message_says_level_place_reason_and_what_to_do_and_an_exercise_says_so_first() -> None:
    body = {
        "level": "red",
        "state": "raised",
        "headline": "河水漫堤，12 人被困",
        "node": {"code": "370783108201", "name": "口子村"},
        "reasons": [{"rule": "trapped", "text": "12 trapped", "text_zh": "被困 12 人"}],
        "drill_id": None,
    }

    title, text = channels.text_of("alert.bypassed", body)
    marked, marked_text = channels.text_of("alert.raised", {**body, "drill_id": "d"})

    assert title == "红色 RED 乡镇未按时开阅 A town did not open it in time"
    assert text.splitlines() == [
        "红色 RED 河水漫堤，12 人被困",
        "地点 where: 口子村 (370783108201)",
        "原因 why: 被困 12 人 12 trapped",
        "请登录 Beacon 确认或处置。Sign in to Beacon and acknowledge it.",
    ]
    assert marked.startswith("【演练】EXERCISE ")
    assert marked_text.startswith("【演练】EXERCISE ")


@pytest.mark.anyio
async def test_a_channel_is_told_when_the_escalation_reaches_it_and_not_before(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    told: list[tuple[str, str]] = []

    def notify(url: str, title: str, text: str, seconds: float) -> bool:
        assert url == URL
        told.append((title, threading.current_thread().name))
        return len(told) > 1

    sender = Sender(database, clock, notify=notify, draw=lambda: 0.0)
    made = await subscribe(URL, at="/v1/channels")
    await raise_alert(client, as_, **EXTREME)
    await deliver(sender)
    before = list(told)
    clock.advance(timedelta(minutes=5))
    await engine.run_due(database, clock=clock)
    await deliver(sender)
    clock.advance(timedelta(seconds=1))
    await deliver(sender)
    await sender.stop()

    path = f"/v1/channels/{made['id']}/deliveries"
    items = (await client.get(path, headers=as_(CITY, "admin"))).json()["items"]
    receipts = [
        [(one["outcome"], one["status"]) for one in detail.json()["receipts"]]
        for item in items
        for detail in [await client.get(f"{path}/{item['id']}", headers=as_(CITY, "admin"))]
    ]
    assert before == []
    assert {one["type"] for one in items} <= {"alert.bypassed", "alert.escalated"}
    assert len(told) == len(items) + 1
    assert all("红色 RED" in title for title, _ in told)
    assert all(name != threading.main_thread().name for _, name in told)  # not on the event loop
    assert sorted(map(len, receipts))[-1] == 2
    assert all(one[-1] == ("delivered", None) for one in receipts)
    assert made["secret"] is None
    assert made["url"] == URL  # shown this once
    shown = (await client.get(f"/v1/channels/{made['id']}", headers=as_(CITY, "admin"))).json()
    assert shown["url"] == "dingtalk://…"


@pytest.mark.anyio
@pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
async def test_a_channel_that_cannot_be_is_refused(
    client: httpx.AsyncClient, as_: As, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    async def code(url: str) -> tuple[int, str]:
        refused = await client.post("/v1/channels", json={"label": "x", "url": url}, headers=as_(CITY, "admin"))
        return refused.status_code, str(refused.json()["code"])

    assert await code("json://127.0.0.1/x") == (422, "channel_wrong")
    assert await code("dingtalk://[::1") == (422, "channel_wrong")
    monkeypatch.setattr(channels, "find_spec", lambda name: None)
    assert await code(URL) == (503, "channels_missing")
