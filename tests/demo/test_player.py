from collections import defaultdict
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.demo import night
from tests.demo.fake import DRILL, FakeBeacon
from tests.demo.replaying import START, Clock, failing, replay, step
from tests.field.server import problem


def test_the_whole_night_is_answered_and_every_report_comes_from_its_own_office() -> None:
    server = FakeBeacon()
    steps = night.load("run", datetime.now(UTC), DRILL)

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
    steps = night.load("run", datetime.now(UTC), DRILL)

    replay(server, steps)

    sent, came = defaultdict(list), defaultdict(list)
    for one in steps:
        sent[one.node].append(one.body["id"])
    for office, body in server.received:
        came[office].append(body["id"])
    assert came == sent


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

    tally = replay(server, [step(1)], transport=httpx.MockTransport(answer_lost_once))

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
    server.before = failing(
        1, "/v1/reports", httpx.Response(422, json={**problem(422, "hazard_unknown"), "detail": "no such hazard"})
    )

    tally = replay(server, [step(1), step(2)])

    assert tally.statuses == {422: 1, 201: 1}
    assert tally.answered == 1
    assert tally.failures == ["a report-1: 422 no such hazard"]


def test_a_line_that_stays_broken_is_told_as_a_failure_after_a_bounded_number_of_tries() -> None:
    server, clock = FakeBeacon(), Clock()
    server.before = failing(1000, "/v1/reports", httpx.ConnectError("no"))

    tally = replay(server, [step(1)], clock=clock)

    assert tally.failures == ["a report-1: no answer"]
    assert tally.answered == 0
    assert clock.now - 100 < 300
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


def test_it_is_kept_what_each_office_said_last_and_when_by_both_clocks() -> None:
    server = FakeBeacon()

    tally = replay(server, [step(1), step(2, minutes=5), step(3, node="b", minutes=9)])

    assert tally.latest == {"a": "report-2", "b": "report-3"}
    assert sorted(tally.heard.values()) == [START + timedelta(minutes=minutes) for minutes in (0, 5, 9)]
    assert {office for office, _ in tally.heard} == {"a", "b"}
