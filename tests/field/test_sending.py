from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.feed.models import FeedEvent
from app.field import wire
from app.reports.models import Report
from tests.builders import EXTREME, NOON, VILLAGE, report
from tests.conftest import token_of
from tests.field.devices import Device, device
from tests.field.links import Faults
from tests.tables import rows

pytestmark = pytest.mark.anyio


@pytest.fixture
def phone(app: FastAPI, clock: ManualClock) -> Device:
    """A village officer's phone on a good link to the real application."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return device(transport, clock=clock, session=token_of(VILLAGE, "reporter"))


def asked(phone: Device) -> list[tuple[str, str]]:
    """Every request that the phone makes from now on: method and path."""
    made: list[tuple[str, str]] = []

    async def note(request: httpx.Request) -> None:
        made.append((request.method, request.url.path))

    phone.courier.client.event_hooks["request"].append(note)
    return made


def state_of(phone: Device, report_id: str) -> Any:
    return phone.outbox.report(report_id)["state"]


async def test_what_was_put_is_stored_and_the_answer_is_kept(phone: Device) -> None:
    report_id = phone.outbox.put(report())

    done = await phone.wake()

    found = phone.outbox.report(report_id)
    assert (found["state"], found["version"], found["answer"]["level"]) == ("stored", 1, "routine")
    assert (done.asked, done.retry_at, phone.outbox.waiting()) == (True, None, 0)


async def test_the_urgent_goes_first_and_alone_and_the_rest_together(phone: Device) -> None:
    routine = [phone.outbox.put(report()) for _ in range(3)]
    urgent = phone.outbox.put(report(**EXTREME), urgent=True)
    made = asked(phone)

    await phone.courier.step()
    assert [state_of(phone, one) for one in (urgent, *routine)] == ["stored", "waiting", "waiting", "waiting"]
    await phone.wake()

    assert made == [("POST", "/v1/reports"), ("POST", "/v1/reports/batch")]
    assert [state_of(phone, one) for one in routine] == ["stored"] * 3


async def test_a_tiny_urgent_report_is_under_200_bytes_and_its_details_follow_under_the_same_id(phone: Device) -> None:
    told = report(**EXTREME, description="【演练】" + "堤上有管涌。" * 100, figures={"trapped": 12})
    report_id = phone.outbox.put(told, urgent=True, tiny_first=True)

    first = phone.outbox.due(NOON, most=9)
    assert len(first) == 1
    assert len(first[0].body) < 200
    await phone.courier.step()
    tiny = phone.outbox.report(report_id)
    assert (tiny["state"], tiny["answer"]["level"], tiny["answer"]["description"]) == ("stored", "red", "")
    await phone.wake()

    whole = phone.outbox.report(report_id)
    assert (whole["version"], whole["answer"]["version"], whole["answer"]["figures"]) == (2, 2, {"trapped": 12})
    assert whole["answer"]["description"] == told["description"]
    assert whole["answer"]["observed_at"] == "2018-08-20T04:10:00Z"


async def test_a_correction_waits_for_its_report_and_builds_on_what_that_became(phone: Device) -> None:
    report_id = phone.outbox.put(report())
    phone.outbox.correct(report_id, {"summary": "【演练】河水上涨一米"})
    phone.outbox.correct(report_id, {"figures": {"affected": 7}})

    assert len(phone.outbox.due(NOON, most=9)) == 1
    await phone.wake()

    found = phone.outbox.report(report_id)
    assert [step["state"] for step in found["steps"]] == ["stored"] * 3
    assert (found["answer"]["version"], found["answer"]["summary"]) == (3, "【演练】河水上涨一米")
    assert found["answer"]["figures"] == {"affected": 7}


async def test_a_report_that_is_refused_is_kept_with_its_reason_and_goes_again_when_it_is_put_right(
    phone: Device,
) -> None:
    wrong = phone.outbox.put(report(hazard="flood.rivre"))
    right = phone.outbox.put(report())
    await phone.wake()
    refused = phone.outbox.report(wrong)
    assert (refused["state"], refused["answer"]["code"]) == ("refused", "hazard_unknown")
    assert state_of(phone, right) == "stored"

    phone.outbox.correct(wrong, {"hazard": "flood.river"})
    await phone.wake()

    assert state_of(phone, wrong) == "stored"


async def test_the_details_of_a_refused_report_take_its_place(phone: Device) -> None:
    wrong = phone.outbox.put(report(hazard="flood.rivre"))
    phone.outbox.correct(wrong, {"hazard": "flood.river"})

    await phone.wake()

    found = phone.outbox.report(wrong)
    assert (found["state"], found["version"]) == ("stored", 1)
    assert [step["state"] for step in found["steps"]] == ["refused", "stored"]


async def test_a_stale_correction_is_kept_in_conflict_with_both_versions_until_the_person_settles_it(
    phone: Device, client: httpx.AsyncClient, as_: Any
) -> None:
    body = report()
    report_id = phone.outbox.put(body)
    await phone.wake()
    desk = {**as_(VILLAGE, "desk"), "If-Match": '"1"'}
    other = await client.put(f"/v1/reports/{report_id}", headers=desk, json={**body, "summary": "【演练】水已退"})
    assert other.status_code == 200

    phone.outbox.correct(report_id, {"figures": {"affected": 7}})
    phone.outbox.correct(report_id, {"description": "【演练】村北"})
    await phone.wake()

    found = phone.outbox.report(report_id)
    assert [step["state"] for step in found["steps"]] == ["stored", "conflict", "conflict"]
    both = found["steps"][1]["answer"]
    assert (both["code"], both["stored"]["summary"], both["stored"]["version"]) == (
        "version_conflict",
        "【演练】水已退",
        2,
    )
    assert both["sent"]["figures"] == {"affected": 7}
    phone.outbox.correct(report_id, {"figures": {"affected": 7}}, onto=both["stored"])
    await phone.wake()
    settled = phone.outbox.report(report_id)
    assert (settled["answer"]["version"], settled["answer"]["summary"]) == (3, "【演练】水已退")
    assert settled["answer"]["figures"] == {"affected": 7}
    assert phone.outbox.waiting() == 0


async def test_a_lost_answer_makes_a_replay_which_is_as_good_as_stored(app: FastAPI, clock: ManualClock) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    phone = device(transport, clock=clock, session=token_of(VILLAGE, "reporter"), faults=Faults(drop_answer=1.0))
    ids = [phone.outbox.put(report(), urgent=urgent) for urgent in (True, False)]
    phone.outbox.correct(ids[0], {"figures": {"affected": 7}})
    done = await phone.wake()
    assert (phone.outbox.waiting(), done.asked) == (3, True)
    assert done.retry_at is not None
    assert clock.now() < done.retry_at <= clock.now() + timedelta(seconds=2)

    for _ in range(3):
        # Each of the three arrives, and its answer is lost once.
        phone.link.faults = Faults()
        clock.advance(timedelta(minutes=10))
        await phone.courier.step()
        phone.link.faults = Faults(drop_answer=1.0)
        await phone.courier.step()

    phone.link.faults = Faults()
    await phone.deliver()
    assert [state_of(phone, one) for one in ids] == ["stored", "stored"]
    assert phone.outbox.report(ids[0])["answer"]["version"] == 2


async def test_what_is_new_and_urgent_does_not_wait_for_the_link_to_rest(phone: Device) -> None:
    phone.link.down = True
    phone.outbox.put(report())
    await phone.wake()
    phone.link.down = False
    assert not (await phone.wake()).asked

    urgent = phone.outbox.put(report(**EXTREME), urgent=True)
    await phone.wake()

    assert state_of(phone, urgent) == "stored"


def test_a_tiny_report_says_nothing_but_what_must_be_known_at_once() -> None:
    said = wire.tiny(report(description="long", figures={"dead": 1}, node=VILLAGE))

    assert set(said) == {"id", "node", "hazard", "urgency", "severity", "certainty", "submitted_at"}


@pytest.mark.parametrize("seed", range(3))
async def test_over_a_bad_link_everything_is_stored_exactly_once_as_it_was_said(
    app: FastAPI, database: Database, clock: ManualClock, seed: int
) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    bad = Faults(drop_request=0.15, drop_answer=0.15, duplicate=0.15, delay=0.15)
    phone = device(transport, clock=clock, session=token_of(VILLAGE, "reporter"), seed=seed, faults=bad)
    ids = []
    for number in range(12):
        urgent = number % 3 == 0
        told = report(**EXTREME, description="【演练】村北") if urgent else report()
        ids.append(phone.outbox.put(told, urgent=urgent, tiny_first=urgent))
        if number % 2:
            phone.outbox.correct(ids[-1], {"figures": {"affected": number}})
        await phone.courier.step()

    await phone.deliver()
    await phone.link.deliver_late()

    stored = {str(row.id): row for row in await rows(database, Report)}
    assert set(stored) == set(ids)
    for one in map(phone.outbox.report, ids):
        assert {step["state"] for step in one["steps"]} == {"stored"}
        row, body = stored[one["id"]], one["body"]
        assert (row.version, row.figures) == (one["version"], body.get("figures", {}))
        assert (row.summary, row.description) == (body["summary"], body.get("description", ""))
    log = [row.type for row in await rows(database, FeedEvent)]
    assert log.count("report.received") == len(ids)
    assert log.count("report.corrected") == sum(row.version - 1 for row in stored.values())


@pytest.mark.parametrize("urgent", [True, False])
async def test_a_phone_whose_clock_is_ahead_is_set_right_by_the_servers(
    app: FastAPI, clock: ManualClock, database: Database, urgent: bool
) -> None:
    ahead = ManualClock(clock.now() + timedelta(hours=3))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    phone = device(transport, clock=ahead, session=token_of(VILLAGE, "reporter"))
    seen = wire.moment(ahead.now() - timedelta(minutes=10))
    said = {key: value for key, value in report(**EXTREME).items() if key != "submitted_at"}
    report_id = phone.outbox.put({**said, "observed_at": seen}, urgent=urgent, tiny_first=urgent)
    phone.outbox.correct(report_id, {"summary": "【演练】水位仍在上涨"})

    await phone.deliver()
    later = phone.outbox.put({key: value for key, value in report().items() if key != "submitted_at"})
    await phone.deliver()

    assert state_of(phone, report_id) == state_of(phone, later) == "stored"
    stored = {str(row.id): row for row in await rows(database, Report)}
    # The server's time decides; what was said is kept.
    assert (stored[report_id].summary, stored[report_id].observed_at) == ("【演练】水位仍在上涨", NOON)
    assert datetime.fromisoformat(stored[report_id].given["observed_at"]) == ahead.now() - timedelta(minutes=10)
    # What is written after the first answer is dated by the server's clock.
    assert (stored[later].submitted_at, stored[later].given) == (NOON, None)


async def test_a_clock_that_was_set_right_is_believed_again(
    app: FastAPI, clock: ManualClock, database: Database
) -> None:
    wrong = ManualClock(clock.now() - timedelta(hours=3))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    phone = device(transport, clock=wrong, session=token_of(VILLAGE, "reporter"))
    said = {key: value for key, value in report().items() if key not in ("submitted_at", "observed_at", "id")}
    phone.outbox.put(said)
    await phone.deliver()
    wrong.advance(timedelta(hours=3))

    phone.outbox.put(said)
    await phone.deliver()
    last = phone.outbox.put(said)
    await phone.deliver()

    stored = {str(row.id): row for row in await rows(database, Report)}
    assert (stored[last].submitted_at, stored[last].given) == (NOON, None)


async def test_what_is_dated_ahead_by_a_right_clock_is_kept_and_doubted(phone: Device, database: Database) -> None:
    report_id = phone.outbox.put({**report(), "observed_at": wire.moment(NOON + timedelta(days=2))})

    await phone.deliver()

    assert state_of(phone, report_id) == "stored"
    (row,) = await rows(database, Report)
    assert (row.observed_at, row.submitted_at) == (NOON, NOON - timedelta(minutes=3))
    assert [one["code"] for one in phone.outbox.report(report_id)["answer"]["doubts"]] == ["observed_ahead"]


async def test_a_page_that_no_browser_could_read_is_a_failed_link(phone: Device, app: FastAPI) -> None:
    def garbled(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"<html>"))

    report_id = phone.outbox.put(report(**EXTREME), urgent=True)
    phone.outbox.put(report())
    real, phone.courier.client._transport = phone.courier.client._transport, httpx.MockTransport(garbled)
    for _ in range(3):
        done = await phone.wake()
        assert done.retry_at is not None
        phone.clock.advance(done.retry_at - phone.clock.now())
    phone.clock.advance(timedelta(hours=1))
    assert (await phone.inbox.sync()).retry_at is not None
    assert state_of(phone, report_id) == "waiting"

    phone.courier.client._transport = real
    phone.clock.advance(timedelta(hours=1))
    await phone.deliver()
    assert state_of(phone, report_id) == "stored"
