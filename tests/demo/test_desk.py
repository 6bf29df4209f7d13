import asyncio

import httpx
import pytest

from app.demo.desk import Desk, DeskRefused, poll
from app.demo.link import PasswordSignIn, connect
from tests.demo.fake import DESK, DRILL, URL, FakeBeacon, alert_of


def change(alert: dict[str, object], kind: str = "raised") -> dict[str, object]:
    return {"cursor": "c", "type": kind, "at": "2026-01-01T00:00:00Z", "alert": alert}


def test_an_event_told_twice_changes_nothing() -> None:
    desk = Desk(DRILL)
    desk.listed([], "0", 1.0)
    event = change(alert_of())

    first = desk.changed([event], "1", 2.0)
    again = desk.changed([event], "2", 3.0)

    assert len(first) == 1
    assert again == []
    assert desk.changes == 1
    assert desk.carried == {"alert-370783108253": 2.0}
    assert desk.cursor == "2"


def test_a_list_and_every_poll_after_it_ask_for_the_drill_alone() -> None:
    server = FakeBeacon()
    server.alerts["real"] = alert_of("1", drill_id=None)
    server.alerts["own"] = alert_of("2")
    asked = []

    def note(request: httpx.Request) -> None:
        if request.url.path.startswith("/v1/alerts"):
            asked.append(request.url.params["drill"])

    server.before = note
    server.expire_at_poll = 1

    desk = turns(server, 2)

    assert asked == [DRILL, DRILL]
    assert desk.alerts.keys() == {"alert-2"}


def test_open_alerts_stand_by_gravity_then_the_latest_first_and_closed_ones_leave() -> None:
    desk = Desk(DRILL)
    desk.listed(
        [
            alert_of("1", level="orange", raised_at="2026-01-01T00:00:03Z"),
            alert_of("2", level="red", raised_at="2026-01-01T00:00:01Z"),
            alert_of("3", level="red", raised_at="2026-01-01T00:00:02Z"),
            alert_of("4", level="red", state="closed"),
        ],
        "0",
        1.0,
    )

    assert [alert["id"] for alert in desk.open_alerts()] == ["alert-3", "alert-2", "alert-1"]


def test_an_alert_missing_from_a_poll_stays_open() -> None:
    desk = Desk(DRILL)
    desk.listed([alert_of("1")], "0", 1.0)

    desk.changed([change(alert_of("2"))], "1", 2.0)

    assert {alert["id"] for alert in desk.open_alerts()} == {"alert-1", "alert-2"}


def turns(server: FakeBeacon, count: int) -> Desk:
    desk = Desk(DRILL)

    async def go() -> None:
        async with connect(URL, auth=PasswordSignIn(URL, *DESK), transport=server.transport) as client:
            for _ in range(count):
                await poll(client, desk)

    asyncio.run(go())
    return desk


def test_the_first_poll_lists_and_learns_the_names_on_the_way() -> None:
    server = FakeBeacon()
    server.alerts["x"] = alert_of()

    desk = turns(server, 1)

    assert desk.place(alert_of()) == "名370783108000 › 口子村"
    assert desk.polls == 1
    assert server.polls == 0


def test_a_cursor_that_is_gone_makes_the_desk_list_again() -> None:
    server = FakeBeacon()
    server.expire_at_poll = 1

    desk = turns(server, 3 - 1)
    server.alerts["x"] = alert_of()
    desk_after = turns_from(server, desk)

    assert desk_after.relists == 1
    assert server.lists == 2
    assert [alert["id"] for alert in desk_after.open_alerts()] == ["alert-370783108253"]
    assert "alert-370783108253" in desk_after.carried


def turns_from(server: FakeBeacon, desk: Desk) -> Desk:
    async def go() -> None:
        async with connect(URL, auth=PasswordSignIn(URL, *DESK), transport=server.transport) as client:
            await poll(client, desk)

    asyncio.run(go())
    return desk


def test_every_page_of_the_list_is_read_and_the_first_pages_cursor_is_kept() -> None:
    server = FakeBeacon()

    def pages(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/alerts":
            return None
        if "cursor" not in request.url.params:
            return httpx.Response(200, json={"items": [alert_of("1")], "cursor": "7", "next": "p2"})
        return httpx.Response(200, json={"items": [alert_of("2")], "cursor": "8", "next": None})

    server.before = pages

    desk = turns(server, 1)

    assert desk.alerts.keys() == {"alert-1", "alert-2"}
    assert desk.cursor == "7"


def test_a_sign_in_that_may_not_read_alerts_is_refused() -> None:
    server = FakeBeacon()
    server.before = lambda request: httpx.Response(403) if request.url.path == "/v1/alerts" else None

    with pytest.raises(DeskRefused, match="403"):
        turns(server, 1)
