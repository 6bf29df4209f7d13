"""A desk holds what came too late; the device has the receipt, and what belongs to it waits for the decision."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from tests.builders import CITY, NOON, TOWN, VILLAGE, report
from tests.conftest import token_of
from tests.field.devices import Device, device

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
async def phone(app: FastAPI, client: httpx.AsyncClient, clock: ManualClock, as_: As) -> Device:
    """A town's phone with a report of a village that was closed before it came."""
    phone = device(httpx.ASGITransport(app, raise_app_exceptions=False), clock=clock, session=token_of(TOWN, "desk"))
    await phone.inbox.sync()
    phone.outbox.put(report(node=VILLAGE))
    clock.advance(timedelta(days=1))
    closing = {"closed_on": (NOON + timedelta(days=1)).date().isoformat()}
    closed = await client.patch(f"/v1/nodes/{VILLAGE}", json=closing, headers=as_(CITY, "admin"))
    assert closed.status_code == 200, closed.text
    await phone.wake()
    return phone


async def decide(client: httpx.AsyncClient, as_: As, report_id: str, what: str) -> None:
    answer = await client.post(
        f"/v1/quarantine/{report_id}/{what}", json={"note": "【演练】已核实"}, headers=as_(TOWN, "desk")
    )
    assert answer.status_code == 200, answer.text


async def test_its_correction_waits_until_the_desk_has_released_it(
    phone: Device, client: httpx.AsyncClient, as_: As
) -> None:
    (report_id,) = phone.outbox.reports()
    assert phone.outbox.report(report_id)["state"] == "held"
    assert phone.outbox.report(report_id)["answer"]["reason"] == "node_closed"
    phone.outbox.correct(report_id, {"figures": {"affected": 7}})
    done = await phone.wake()
    assert (phone.outbox.waiting(), done.retry_at) == (1, phone.clock.now() + timedelta(hours=1))

    await decide(client, as_, report_id, "release")
    await phone.inbox.sync()
    await phone.wake()

    found = phone.outbox.report(report_id)
    assert (found["state"], found["version"]) == ("stored", 2)
    assert [step["state"] for step in found["steps"]] == ["stored", "stored"]
    assert [one["type"] for one in phone.inbox.happened(report_id)][:2] == ["report.quarantined", "report.received"]


async def test_a_rejection_is_shown_with_the_desks_words(phone: Device, client: httpx.AsyncClient, as_: As) -> None:
    (report_id,) = phone.outbox.reports()
    phone.outbox.attach(report_id, "1.jpg", b"photo", media_type="image/jpeg")

    await decide(client, as_, report_id, "reject")
    await phone.inbox.sync()

    found = phone.outbox.report(report_id)
    assert (found["state"], found["answer"]["detail"]) == ("refused", "【演练】已核实")
    assert [step["state"] for step in found["steps"]] == ["refused", "refused"]
    assert (phone.outbox.waiting(), phone.inbox.deleted()) == (0, [report_id])
