import asyncio
from datetime import timedelta

import httpx
import pytest

from app.demo.player import Act
from tests.demo.fake import FakeBeacon
from tests.demo.replaying import START, Clock, replay, step


@pytest.mark.parametrize("speed", [0, 600], ids=["max", "paced"])
def test_an_act_begins_when_all_before_it_is_answered_and_what_it_holds_comes_after_it(speed: float) -> None:
    server, clock = FakeBeacon(), Clock()
    order = []

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/reports":
            await clock.sleep(1)
        response = await server.transport.handle_async_request(request)
        if request.url.path == "/v1/reports":
            order.append(server.received[-1][1]["id"])
        return response

    async def do() -> None:
        order.append("act begins")
        await clock.sleep(50)
        order.append("act ends")

    acts = [Act(START + timedelta(minutes=1), do, holds=True)]
    steps = [step(1), step(2, node="b"), step(3, minutes=2)]

    replay(server, steps, acts=acts, speed=speed, clock=clock, transport=httpx.MockTransport(slow))

    assert sorted(order[:2]) == ["report-1", "report-2"]
    assert order[2:] == ["act begins", "act ends", "report-3"]


def test_an_act_that_does_not_hold_runs_beside_the_script() -> None:
    server, clock = FakeBeacon(), Clock()
    released = asyncio.Event()

    async def do() -> None:
        await released.wait()

    def note(request: httpx.Request) -> None:
        if b"report-2" in request.content:
            released.set()

    server.before = note

    tally = replay(
        server,
        [step(1), step(2, minutes=20)],
        acts=[Act(START + timedelta(minutes=10), do, holds=False)],
        speed=600,
        clock=clock,
    )

    assert tally.answered == 2
