"""A receiver's queue: its order, its replays, its tests, and several processes at it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.deliveries import queue
from app.deliveries.models import Delivery, Receipt
from app.deliveries.queue import LEASE
from app.deliveries.sending import Sender
from app.feed import service as feed
from app.feed.models import FeedEvent
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, OTHER_CITY, OTHER_CITY_VILLAGE, VILLAGE
from tests.deliveries.conftest import Subscribe, deliver
from tests.deliveries.receiving import Service, receiving
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def call(
    client: httpx.AsyncClient, as_: As, method: str, receiver: dict[str, Any], more: str = "", **given: Any
) -> httpx.Response:
    path = f"/v1/webhooks/{receiver['id']}{more}"
    return await client.request(method, path, headers=as_(CITY, "admin"), **given)


async def seqs(database: Database, service: Service) -> list[int]:
    """The numbers in the log of what arrived, in the order it did."""
    known = {f"msg_{one.id.hex}": one.seq for one in await rows(database, Delivery)}
    return [known[one.headers["webhook-id"]] for one in service.taken]


async def test_what_happens_arrives_in_the_order_of_the_log_one_at_a_time(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database
) -> None:
    async with receiving() as service:
        await subscribe(service.url, events=["*"])
        for village in (VILLAGE, NEIGHBOUR, FAR_VILLAGE):
            await raise_alert(client, as_, village=village, **EXTREME)
        await deliver(sender)

    log = sorted(event.seq for event in await rows(database, FeedEvent))
    assert await seqs(database, service) == log
    assert len(log) == 9
    assert service.open_most == 1


async def test_what_fails_lets_the_rest_pass_and_comes_later(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database, clock: ManualClock
) -> None:
    async with receiving(answer=lambda number: (500 if number == 1 else 204, {})) as service:
        await subscribe(service.url)
        for village in (VILLAGE, NEIGHBOUR, FAR_VILLAGE):
            await raise_alert(client, as_, village=village, **EXTREME)
        await deliver(sender)
        clock.advance(timedelta(seconds=1))
        await deliver(sender)

    first, second, third, again = await seqs(database, service)
    assert first == again
    assert first < second < third


async def test_several_processes_keep_the_order_and_send_nothing_twice(
    app: FastAPI, client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock
) -> None:
    others = [Database(app.state.settings.database_url, pool=2) for _ in range(3)]
    senders = [Sender(one, clock, private_targets=True, draw=lambda: 0.0) for one in others]
    async with receiving() as service:
        await subscribe(service.url, events=["*"])
        for village in (VILLAGE, NEIGHBOUR, FAR_VILLAGE):
            await raise_alert(client, as_, village=village, **EXTREME)
        for _ in range(3):
            await asyncio.gather(*(deliver(sender) for sender in senders))

    database = app.state.database
    assert await seqs(database, service) == sorted(event.seq for event in await rows(database, FeedEvent))
    assert service.open_most == 1
    assert {one.number for one in await rows(database, Receipt)} == {1}
    for sender, other in zip(senders, others, strict=True):
        await sender.stop()
        await other.close()


async def test_while_one_process_has_a_try_under_way_the_others_wait_for_its_lease(
    app: FastAPI, client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock
) -> None:
    database = app.state.database
    first = Sender(database, clock, private_targets=True, draw=lambda: 0.0)
    second = Sender(database, clock, private_targets=True, draw=lambda: 0.0)
    async with receiving(hang=asyncio.Event()) as service:
        await subscribe(service.url)
        await raise_alert(client, as_)
        await raise_alert(client, as_, village=FAR_VILLAGE)
        await first.run_due()
        await service.until(lambda service: len(service.taken) == 1)

        assert await second.run_due() == clock.now() + LEASE
        await second.settled()
        assert len(service.taken) == 1

        # The first one died, for all that is known: the second one sends it again, and the first one's receipt is late.
        clock.advance(LEASE)
        await second.run_due()
        await service.until(lambda service: len(service.taken) == 2)
        assert service.hang is not None
        service.hang.set()
        await second.settled()
        await first.settled()
    await first.stop()
    await second.stop()

    ids = [one.headers["webhook-id"] for one in service.taken]
    assert ids[0] == ids[1] != ids[2]
    assert len(ids) == 3
    assert sorted(one.number for one in await rows(database, Receipt)) == [1, 1]


async def test_a_replay_begins_the_schedule_anew(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock, database: Database
) -> None:
    async with receiving(answer=lambda number: (500, {})) as service:
        made = await subscribe(service.url)
        await raise_alert(client, as_)
        while (await call(client, as_, "GET", made)).json()["state"] == "active":
            await deliver(sender)
            clock.advance(timedelta(hours=24))
        spent = len(service.taken)
        (failed,) = (await call(client, as_, "GET", made, "/deliveries?state=failed")).json()["items"]
        refused = await call(client, as_, "POST", made, f"/deliveries/{failed['id']}/replay")
        await call(client, as_, "PATCH", made, json={"state": "active"})
        await call(client, as_, "POST", made, f"/deliveries/{failed['id']}/replay")
        await deliver(sender)

        # One failure more is the first of a new schedule, not the end of the receiver.
        assert (refused.status_code, refused.json()["code"]) == (409, "receiver_disabled")
        assert len(service.taken) == spent + 1
        assert (await call(client, as_, "GET", made)).json()["state"] == "active"
        service.answer = lambda number: (204, {})
        clock.advance(timedelta(seconds=5))
        await deliver(sender)

    detail = (await call(client, as_, "GET", made, f"/deliveries/{failed['id']}")).json()
    assert (detail["state"], detail["tries"]) == ("delivered", spent + 2)
    assert [one["number"] for one in detail["receipts"]] == list(range(1, spent + 3))


async def test_each_time_a_receiver_is_disabled_the_log_says_so_under_a_new_version(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database, clock: ManualClock
) -> None:
    async with receiving(answer=lambda number: (410, {})) as service:
        made = await subscribe(service.url)
        for _ in range(2):
            await call(client, as_, "PATCH", made, json={"state": "active"})
            await raise_alert(client, as_)
            await deliver(sender)

    told = [event for event in await rows(database, FeedEvent) if event.type == "receiver.disabled"]
    shown = (await call(client, as_, "GET", made)).json()
    assert len({event.version for event in told}) == len(told) == 2
    assert all(event.body["reason"] and event.body["reason_zh"] for event in told)
    assert service.url not in str([event.body for event in told])
    assert (shown["state"], shown["disabled_at"]) == ("disabled", clock.now().isoformat().replace("+00:00", "Z"))


async def test_a_test_message_is_tried_once_and_costs_the_receiver_nothing(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving(answer=lambda number: (500, {})) as service:
        made = await subscribe(service.url)
        queued = await call(client, as_, "POST", made, "/test")
        await deliver(sender)

    sent = (await call(client, as_, "GET", made, f"/deliveries/{queued.json()['id']}")).json()
    assert (queued.status_code, queued.json()["type"]) == (202, "beacon.test")
    assert (sent["state"], [one["status"] for one in sent["receipts"]]) == ("failed", [500])
    assert (await call(client, as_, "GET", made)).json()["state"] == "active"


async def test_a_receiver_made_before_anything_has_happened_misses_nothing(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving() as service:
        await subscribe(service.url, by=OTHER_CITY)
        await raise_alert(client, as_, village=OTHER_CITY_VILLAGE)
        await deliver(sender)

    assert [one.said["type"] for one in service.taken] == ["alert.raised"]


async def test_what_is_pruned_from_the_log_under_a_disabled_receiver_is_told_when_it_comes_back(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database, clock: ManualClock
) -> None:
    async with receiving() as service:
        made = await subscribe(service.url)
        await call(client, as_, "PATCH", made, json={"state": "disabled"})
        await raise_alert(client, as_)
        clock.advance(timedelta(days=31))
        async with database.writing() as conn:
            await feed.prune(conn, city_id=CITY, before=clock.now() - timedelta(days=30))
        await call(client, as_, "PATCH", made, json={"state": "active"})
        await deliver(sender)

    shown = (await call(client, as_, "GET", made)).json()
    assert [one.said["type"] for one in service.taken] == ["beacon.gap"]
    assert shown["state"] == "active"
    assert "missed" in shown["reason"]
    assert shown["reason_zh"]


async def test_old_deliveries_are_forgotten_with_their_receipts_and_those_still_due_are_kept(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database, clock: ManualClock
) -> None:
    async with receiving() as service, receiving(answer=lambda number: (500, {})) as failing:
        await subscribe(service.url)
        await subscribe(failing.url)
        await raise_alert(client, as_)
        await deliver(sender)
    async with database.writing() as conn:
        none = await queue.prune(conn, city_id=CITY, before=clock.now())
        gone = await queue.prune(conn, city_id=CITY, before=clock.now() + timedelta(seconds=1))

    (kept,) = await rows(database, Delivery)
    assert (none, gone) == (0, 1)
    assert kept.state == "pending"
    assert [one.delivery_id for one in await rows(database, Receipt)] == [kept.id]
