import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.feed import service as feed
from app.feed.models import FeedHead
from app.reports.events import event
from tests.builders import CITY, NOON, VILLAGE, report
from tests.conftest import token_of
from tests.field.devices import Device, device

pytestmark = pytest.mark.anyio

LIVES = ("report.received", "report.opened", "report.acknowledged", "report.corrected", "report.left_scope")


class DropsEvery(httpx.AsyncBaseTransport):
    """A link that dies whenever so many changes have come through it: the answer on its way is lost."""

    def __init__(self, inner: httpx.AsyncBaseTransport, every: int) -> None:
        self.inner, self.every, self.passed = inner, every, 0
        self.asked: list[str] = []
        self.lost: list[str] = []
        self.came: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        content = await response.aread()
        results = json.loads(content).get("results", [])
        since = request.url.params.get("since", "")
        self.asked.append(since)
        if self.passed + len(results) > self.every:
            self.passed = 0
            self.lost.append(since)
            raise httpx.ReadError("the link broke", request=request)
        self.passed += len(results)
        self.came.update(one["cursor"] for one in results)
        return httpx.Response(response.status_code, headers={"Content-Type": "application/json"}, content=content)


def server(app: FastAPI) -> httpx.AsyncBaseTransport:
    return httpx.ASGITransport(app, raise_app_exceptions=False)


def phone_of(app: FastAPI, clock: ManualClock, *, through: httpx.AsyncBaseTransport | None = None) -> Device:
    return device(through or server(app), clock=clock, session=token_of(VILLAGE, "reporter"))


async def happen(database: Database, ids: list[UUID], types: tuple[str, ...] = LIVES) -> int:
    """These things happen to each of the reports, one after the other; how many that were."""
    told = []
    for version, kind in enumerate(types, start=1):
        for report_id in ids:
            row = {
                "id": report_id,
                "version": version,
                "kind": "initial",
                "node_code": VILLAGE,
                "hazard": "flood.river",
                "level": "routine",
                "incident_id": new_id(),
                "alert_id": None,
                "drill_id": None,
            }
            told.append([event(kind, row)])
    async with database.writing() as conn:
        await feed.append(conn, city_id=CITY, operations=told, now=NOON)
    return len(told)


async def test_5000_changes_come_over_a_link_that_drops_every_50_without_loss_and_only_the_page_in_flight_repeats(
    app: FastAPI, database: Database, clock: ManualClock
) -> None:
    link = DropsEvery(server(app), every=50)
    phone = phone_of(app, clock, through=link)
    await phone.inbox.sync()
    ids = [new_id() for _ in range(1000)]
    assert await happen(database, ids) == 5000
    link.asked.clear()

    while (done := await phone.inbox.sync()).retry_at is not None:
        clock.advance(done.retry_at - clock.now())

    # Nothing is lost, and nothing came to the device twice.
    assert len(link.came) == 5000
    assert set(link.came.values()) == {1}
    # Only the page that was lost on its way was asked for again, once, from the same cursor.
    again = Counter(link.asked) - Counter(set(link.asked))
    assert again == Counter(link.lost)
    assert len(link.lost) >= 99
    assert len(link.asked) <= 100 + len(link.lost) + 1
    # All that left the office's sight is marked, and nothing else of it is kept.
    assert phone.inbox.deleted() == sorted(str(one) for one in ids)
    assert phone.inbox.reports() == []
    assert [one["type"] for one in phone.inbox.happened(str(ids[0]))] == ["report.left_scope"]


async def test_two_processes_that_read_the_same_page_apply_it_once_in_order(
    app: FastAPI, database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    one, other = (
        device(server(app), clock=clock, session=token_of(VILLAGE, "reporter"), path=str(tmp_path / "phone.db"))
        for _ in range(2)
    )
    await one.inbox.sync()
    (report_id,) = ids = [new_id()]
    await happen(database, ids, LIVES[:4])

    async def meanwhile(response: httpx.Response) -> None:
        await other.inbox.sync()

    one.courier.client.event_hooks["response"].append(meanwhile)
    await one.inbox.sync()

    assert [change["type"] for change in one.inbox.happened(str(report_id))] == list(LIVES[:4])
    assert [known["version"] for known in one.inbox.reports()] == [4]


async def test_a_new_device_lists_what_there_is_and_follows_from_there(app: FastAPI, clock: ManualClock) -> None:
    old, new = phone_of(app, clock), phone_of(app, clock)
    new = replace(new, inbox=replace(new.inbox, most=2))
    ids = [old.outbox.put(report()) for _ in range(5)]
    await old.wake()

    await new.inbox.sync()
    assert [one["id"] for one in new.inbox.reports()] == sorted(ids)
    assert {one["summary"] for one in new.inbox.reports()} == {"【演练】河水上涨"}
    assert new.inbox.happened(ids[0]) == []

    old.outbox.correct(ids[0], {"figures": {"affected": 3}})
    await old.wake()
    await new.inbox.sync()
    assert [one["type"] for one in new.inbox.happened(ids[0])] == ["report.corrected"]


async def test_a_cursor_that_is_too_old_makes_it_list_anew_and_marks_what_is_gone(
    app: FastAPI, database: Database, clock: ManualClock
) -> None:
    phone = phone_of(app, clock)
    await phone.inbox.sync()
    kept = phone.outbox.put(report())
    await phone.wake()
    gone = new_id()
    await happen(database, [gone], LIVES[:1])
    await phone.inbox.sync()
    assert {one["id"] for one in phone.inbox.reports()} == {kept, str(gone)}
    async with database.writing() as conn:
        await feed.prune(conn, city_id=CITY, before=NOON + timedelta(days=1))
        await conn.execute(update(FeedHead).values(kept_from=FeedHead.last_seq + 2, last_seq=FeedHead.last_seq + 1))
    late = phone.outbox.put(report())
    await phone.wake()

    await phone.inbox.sync()

    assert {one["id"] for one in phone.inbox.reports()} == {kept, late}
    assert phone.inbox.deleted() == [str(gone)]
