import json
import random
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.clock import ManualClock
from app.field import answers, retrying
from app.field.retrying import BASE, CAP
from tests.builders import NOON, report
from tests.field.devices import Device, device
from tests.field.server import Server, problem

draws = st.floats(0, 1, exclude_max=True)


@given(tries=st.integers(1, 10_000), draw=draws)
def test_the_wait_is_anything_up_to_a_bound_that_doubles_until_the_cap(tries: int, draw: float) -> None:
    bound = min(CAP, BASE * 2 ** min(tries, 10))

    assert timedelta() <= retrying.full_jitter(tries, draw) <= bound
    assert retrying.full_jitter(tries, 0.5) == pytest.approx(bound / 2, rel=1e-6)


@given(tries=st.integers(1, 50), draw=draws, seconds=st.integers(0, 3600))
def test_what_the_server_asked_for_is_waited_for_at_least(tries: int, draw: float, seconds: int) -> None:
    asked = timedelta(seconds=seconds)

    for header in (str(seconds), format_datetime(NOON + asked, usegmt=True)):
        at = retrying.next_at(tries, now=NOON, draw=draw, retry_after=header)
        assert NOON + asked <= at <= NOON + asked + CAP


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "Mon, 20 Aug", "２", format_datetime(NOON)])
def test_any_other_word_asks_for_nothing(header: str | None) -> None:
    assert retrying.told(header, NOON) == timedelta()


def test_nobody_is_kept_waiting_for_more_than_an_hour() -> None:
    assert retrying.told("999999999999", NOON) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (201, {"id": "1"}, "stored"),
        (200, {"id": "1"}, "stored"),
        (202, {"id": "1", "state": "held"}, "held"),
        (202, {"id": "0", "corrects": "1", "state": "held"}, "held"),
        (202, {"id": "1", "state": "rejected", "note": "no"}, "refused"),
        # Not about this report, or no answer of Beacon at all.
        (201, {"id": "2"}, "link"),
        (200, None, "link"),
        (302, None, "link"),
        (404, None, "link"),
        (403, None, "link"),
        (502, None, "link"),
        (500, None, "again"),
        (429, problem(429, "too_many_requests"), "link"),
        (503, problem(503, "database_away"), "link"),
        (500, problem(500, "internal"), "again"),
        (401, problem(401, "sign_in_invalid"), "sign_in"),
        (403, problem(403, "scope_missing"), "sign_in"),
        (403, problem(403, "sign_in_lapsed"), "refused"),
        (409, problem(409, "version_conflict"), "conflict"),
        (409, problem(409, "id_conflict"), "refused"),
        (409, problem(409, "quarantine_full"), "later"),
        (413, problem(413, "body_too_large"), "refused"),
        (422, problem(422, "invalid"), "refused"),
    ],
)
def test_what_an_answer_means(status: int, body: dict[str, Any] | None, word: str) -> None:
    content = b"<html>Welcome</html>" if body is None else json.dumps(body).encode()

    assert answers.single(status, content, report_id="1").word == word


class Moody(Server):
    """Answers with what is laid out for it first."""

    def __init__(self, *first: httpx.Response, poison: str = "") -> None:
        super().__init__(random.Random(0))
        self.first = list(first)
        self.poison = poison
        self.asked: list[int] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        self.asked.append(len(json.loads(content).get("reports", [0])))
        if self.first:
            return self.first.pop(0)
        if self.poison and self.poison.encode() in content:
            return httpx.Response(500, json=problem(500, "internal"))
        return await super().handle_async_request(request)


def phone_of(server: Server) -> Device:
    return device(server, clock=ManualClock(NOON), session="t")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(status: int) -> None:
    busy = httpx.Response(status, json=problem(status, "busy"), headers={"Retry-After": "90"})
    phone = phone_of(server := Moody(busy))
    phone.outbox.put(report())

    done = await phone.wake()
    assert done.retry_at is not None
    assert timedelta(seconds=90) <= done.retry_at - NOON <= timedelta(seconds=92)
    phone.clock.advance(timedelta(seconds=89))
    assert not (await phone.wake()).asked
    await phone.deliver()

    assert (len(server.stored), server.asked) == (1, [1, 1])


@pytest.mark.anyio
async def test_a_report_that_the_server_fails_on_holds_up_no_other() -> None:
    phone = phone_of(server := Moody())
    ids = [phone.outbox.put(report()) for _ in range(5)]
    server.poison = ids[2]

    done = await phone.wake()
    assert set(server.stored) == {*ids} - {ids[2]}
    assert done.retry_at is not None
    server.poison = ""
    await phone.deliver()

    assert set(server.stored) == {*ids}
    # The batch, each alone, and the one again.
    assert server.asked == [5, 1, 1, 1, 1, 1, 1]


@pytest.mark.anyio
async def test_a_batch_is_no_larger_than_a_bad_link_carries() -> None:
    phone = phone_of(server := Moody())
    for _ in range(120):
        phone.outbox.put(report())
    for _ in range(3):
        phone.outbox.put(report(description="x" * 30_000))

    await phone.wake()

    assert server.asked == [50, 50, 21, 2]
    assert len(server.stored) == 123
