import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.demo import night
from app.demo.link import SignInRefused
from app.demo.night import Step
from app.demo.player import OfficeRefused, Tally, play
from tests.demo.fake import ADMIN, URL, FakeBeacon

START = datetime.fromisoformat("2018-08-19T18:00:00+08:00")


class Clock:
    """Time that passes only while somebody sleeps, and only when all others have done what they can."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        self.now += seconds


def step(number: int, *, node: str = "a", minutes: float = 0, **other: Any) -> Step:
    body = {"id": f"report-{number}", "severity": "Minor", "summary": "【演练】", "description": "", **other}
    return Step(START + timedelta(minutes=minutes), node, body)


def replay(
    server: FakeBeacon, steps: list[Step], *, speed: float = 0, password: str = ADMIN[1], clock: Clock | None = None
) -> Tally:
    tally, clock = Tally(), clock or Clock()
    asyncio.run(
        play(
            URL,
            steps=steps,
            speed=speed,
            admin_username=ADMIN[0],
            admin_password=password,
            tally=tally,
            transport=server.transport,
            now=lambda: clock.now,
            sleep=clock.sleep,
        )
    )
    return tally


def failing(times: int, path: str, answer: httpx.Response | httpx.TransportError) -> Any:
    left = times

    def before(request: httpx.Request) -> httpx.Response | None:
        nonlocal left
        if request.url.path != path or not left:
            return None
        left -= 1
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer

    return before


def test_the_whole_night_is_answered_and_every_report_comes_from_its_own_office() -> None:
    server = FakeBeacon()
    steps = night.load("run", datetime.now(UTC))

    tally = replay(server, steps)

    assert tally.answered == tally.total == len(steps)
    assert tally.failures == []
    assert tally.replays == 3
    assert tally.statuses == {201: len(steps) - 3, 200: 3}
    assert tally.masked == 1
    assert tally.urgent == len([s for s in server.stored.values() if s["severity"] == "Extreme"])
    assert all(office == body["node"] for office, body in server.received)


def test_an_offices_reports_arrive_in_their_order_also_as_fast_as_possible() -> None:
    server = FakeBeacon()
    steps = night.load("run", datetime.now(UTC))

    replay(server, steps)

    sent, came = defaultdict(list), defaultdict(list)
    for one in steps:
        sent[one.node].append(one.body["id"])
    for office, body in server.received:
        came[office].append(body["id"])
    assert came == sent


def test_every_office_gets_one_key_and_all_are_revoked_at_the_end() -> None:
    server = FakeBeacon()

    tally = replay(server, [step(1), step(2), step(3, node="b")])

    assert sorted(server.keys.values()) == ["a", "b"]
    assert sorted(server.revoked) == ["id-a", "id-b"]
    assert tally.keys_left == 0


@pytest.mark.parametrize(
    "trouble",
    [httpx.Response(503, headers={"Retry-After": "1"}), httpx.Response(429), httpx.ReadError("gone")],
    ids=["503", "429", "broken line"],
)
def test_trouble_is_met_by_sending_the_same_report_again(trouble: httpx.Response | httpx.TransportError) -> None:
    server = FakeBeacon()
    server.before = failing(2, "/v1/reports", trouble)

    tally = replay(server, [step(1)])

    assert [body["id"] for _, body in server.received] == ["report-1"]
    assert tally.retries == 2
    assert tally.statuses == {201: 1}


def test_a_report_whose_answer_was_lost_is_counted_as_a_replay() -> None:
    server = FakeBeacon()
    lost = False

    async def answer_lost_once(request: httpx.Request) -> httpx.Response:
        nonlocal lost
        response = await server.transport.handle_async_request(request)
        if request.url.path == "/v1/reports" and not lost:
            lost = True
            raise httpx.ReadError("after it was stored")
        return response

    tally, clock = Tally(), Clock()
    asyncio.run(
        play(
            URL,
            steps=[step(1)],
            speed=0,
            admin_username=ADMIN[0],
            admin_password=ADMIN[1],
            tally=tally,
            transport=httpx.MockTransport(answer_lost_once),
            sleep=clock.sleep,
        )
    )

    assert [body["id"] for _, body in server.received] == ["report-1", "report-1"]
    assert tally.replays == 1
    assert tally.failures == []


def test_retry_after_is_waited_out() -> None:
    server, clock = FakeBeacon(), Clock()
    server.before = failing(1, "/v1/reports", httpx.Response(503, headers={"Retry-After": "9"}))

    replay(server, [step(1)], clock=clock)

    assert clock.now - 100 >= 9


def test_a_refused_report_is_told_and_does_not_stop_the_others() -> None:
    server = FakeBeacon()
    server.before = failing(1, "/v1/reports", httpx.Response(422, json={"detail": "no such hazard"}))

    tally = replay(server, [step(1), step(2)])

    assert tally.statuses == {422: 1, 201: 1}
    assert tally.answered == 1
    assert tally.failures == ["a report-1: 422 no such hazard"]


def test_a_line_that_stays_broken_is_told_as_a_failure_after_a_bounded_number_of_tries() -> None:
    server, clock = FakeBeacon(), Clock()
    server.before = failing(1000, "/v1/reports", httpx.ConnectError("no"))

    tally = replay(server, [step(1)], clock=clock)

    assert tally.failures == ["a report-1: ConnectError"]
    assert tally.answered == 0
    assert clock.now - 100 < 120
    assert server.revoked == ["id-a"]


def test_the_script_is_paced_by_its_own_times_divided_by_the_speed() -> None:
    server, clock = FakeBeacon(), Clock()
    arrived = []

    def note(request: httpx.Request) -> None:
        if request.url.path == "/v1/reports":
            arrived.append(clock.now)

    server.before = note

    replay(server, [step(1), step(2, minutes=10), step(3, minutes=60)], speed=600, clock=clock)

    assert arrived == pytest.approx([100, 101, 106])


def test_an_alert_is_timed_from_the_first_urgent_answer_that_names_it() -> None:
    server, clock = FakeBeacon(), Clock()

    tally = replay(
        server,
        [step(1), step(2, severity="Extreme", minutes=1), step(3, severity="Extreme", minutes=2)],
        speed=60,
        clock=clock,
    )

    assert tally.raised == {"alert-a": pytest.approx(101)}
    assert tally.levels == {"routine": 1, "red": 2}


def test_a_wrong_password_is_refused_before_any_key_is_made() -> None:
    server = FakeBeacon()

    with pytest.raises(SignInRefused, match="401 wrong"):
        replay(server, [step(1)], password="no")

    assert server.keys == {}


def test_an_office_the_server_does_not_know_ends_the_replay_and_revokes_what_was_given() -> None:
    server = FakeBeacon()

    def unknown(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/keys" and b'"b"' in request.content:
            return httpx.Response(422, json={"detail": "There is no node b."})
        return None

    server.before = unknown

    with pytest.raises(OfficeRefused, match="office b: 422 There is no node b"):
        replay(server, [step(1), step(2, node="b")])

    assert server.received == []
    assert server.revoked == ["id-a"]


def test_the_admin_signs_in_once_and_again_only_when_the_token_has_ended() -> None:
    server = FakeBeacon()
    server.before = failing(1, "/v1/keys/id-a", httpx.Response(401))

    tally = replay(server, [step(1), step(2, node="b")])

    assert server.sign_ins == 2
    assert sorted(server.revoked) == ["id-a", "id-b"]
    assert tally.keys_left == 0
