import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.demo.link import connect
from app.demo.towns import Acts, Hands, keep
from tests.demo.fake import DRILL, URL, FakeBeacon, alert_of

TOWN = "370783108000"
ALERT = "alert-370783108253"


class Slept:
    """Notes how long it was asked to sleep, and sleeps no longer than others need to get on."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def at_the_desk(server: FakeBeacon, happens: Callable[[], None], *, delay: float = 0) -> tuple[Acts, Slept]:
    """What a town's desk does while `happens` is called again and again, until nothing is left to do."""
    acts, slept = Acts(), Slept()
    server.keys["bk_town"] = TOWN

    async def go() -> None:
        async with connect(URL, transport=server.transport) as client:
            hands = Hands(TOWN, client, acts, delay, {"Authorization": "Bearer bk_town"}, sleep=slept)
            desk = asyncio.create_task(keep(hands, DRILL))
            await idle()
            happens()
            await idle()
            desk.cancel()
            await asyncio.gather(desk, return_exceptions=True)

    asyncio.run(go())
    return acts, slept


async def idle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def raised(server: FakeBeacon, **other: Any) -> None:
    server.tell("alert.raised", alert_of(**other))


def test_what_is_raised_in_the_town_is_acknowledged_once_after_the_delay() -> None:
    server = FakeBeacon()

    acts, slept = at_the_desk(server, lambda: raised(server), delay=0.2)

    assert server.acknowledged == [(TOWN, ALERT)]
    assert slept.seconds == [0.2]
    assert acts.taken == {TOWN: 1}
    assert acts.failures == []


def test_what_stood_raised_when_the_desk_sat_down_is_acknowledged_too() -> None:
    server = FakeBeacon()
    raised(server)

    at_the_desk(server, lambda: None)

    assert server.acknowledged == [(TOWN, ALERT)]


def test_what_is_raised_again_is_acknowledged_again() -> None:
    server = FakeBeacon()
    raised(server)

    def rearm() -> None:
        alert = server.alerts[ALERT]
        server.tell("alert.rearmed", {**alert, "version": alert["version"] + 1, "state": "raised", "owner": None})

    at_the_desk(server, rearm)

    assert server.acknowledged == [(TOWN, ALERT)] * 2


def test_another_report_of_an_alert_that_is_taken_on_asks_for_nothing() -> None:
    server = FakeBeacon()
    raised(server)

    def update() -> None:
        alert = server.alerts[ALERT]
        server.tell("alert.updated", {**alert, "version": alert["version"] + 1, "reports": 2})

    at_the_desk(server, update)

    assert server.acknowledged == [(TOWN, ALERT)]


def test_what_is_of_another_drill_or_real_is_left_alone() -> None:
    server = FakeBeacon()

    def two() -> None:
        raised(server, drill_id=None)
        raised(server, drill_id="another")

    at_the_desk(server, two)

    assert server.acknowledged == []


def test_that_somebody_else_was_first_is_counted_and_is_no_failure() -> None:
    server = FakeBeacon()

    acts, _ = at_the_desk(server, lambda: raised(server, owner="somebody"))

    assert acts.late == 1
    assert acts.taken.total() == 0
    assert acts.failures == []


def test_an_act_that_is_refused_is_told_and_the_desk_goes_on() -> None:
    server = FakeBeacon()
    refused = iter([httpx.Response(422, json={"detail": "no"})])
    server.before = lambda request: next(refused, None) if request.url.path.endswith("acknowledge") else None

    def two() -> None:
        raised(server)
        raised(server, office="370783108211")

    acts, _ = at_the_desk(server, two)

    assert acts.failures == [f"{TOWN} POST /v1/alerts/{ALERT}/acknowledge: 422 no"]
    assert server.acknowledged == [(TOWN, "alert-370783108211")]


@pytest.mark.parametrize(
    ("answer", "said"), [(httpx.Response(403), "DeskRefused"), (httpx.ConnectError("gone"), "ConnectError")]
)
def test_a_desk_that_cannot_follow_ends_with_a_line(answer: httpx.Response | Exception, said: str) -> None:
    server = FakeBeacon()

    def cut(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/alerts":
            return None
        if isinstance(answer, Exception):
            raise answer
        return answer

    server.before = cut

    acts, _ = at_the_desk(server, lambda: None)

    assert len(acts.failures) == 1
    assert acts.failures[0].startswith(f"{TOWN}: {said}")
