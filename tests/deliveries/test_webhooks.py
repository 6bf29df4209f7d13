"""Webhooks end to end: what is sent, signed how, tried when, and given up."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.deliveries.models import Delivery, Receiver
from app.deliveries.sending import Sender
from app.feed.models import FeedEvent, FeedHead
from tests.alerts.test_polling import raise_alert
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, OTHER_CITY, OTHER_TOWN, TOWN, VILLAGE, report
from tests.deliveries.conftest import Subscribe, deliver
from tests.deliveries.receiving import receiving
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
def clock() -> ManualClock:
    """The present: the verifier refuses what is old."""
    return ManualClock(datetime.now(UTC))


async def of(client: httpx.AsyncClient, as_: As, receiver: dict[str, Any], more: str = "") -> dict[str, Any]:
    found = await client.get(f"/v1/webhooks/{receiver['id']}{more}", headers=as_(CITY, "admin"))
    assert found.status_code == 200, found.text
    answer: dict[str, Any] = found.json()
    return answer


async def test_an_alert_goes_out_signed_and_the_standard_verifier_accepts_it(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving() as service:
        made = await subscribe(service.url, events=["alert.*"])
        alert = (await raise_alert(client, as_))["alert_id"]
        await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(CITY, "desk"))
        await deliver(sender)

    assert [one.said["type"] for one in service.taken] == ["alert.raised", "alert.acknowledged"]
    for one in service.taken:
        assert Webhook(made["secret"]).verify(one.raw, one.headers) == one.said
        assert one.said.keys() == {"type", "timestamp", "data"}
        assert one.said["data"]["id"] == alert
        assert len(one.raw) < 20_000
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(service.taken[0].raw + b" ", service.taken[0].headers)
    assert (await of(client, as_, made))["waiting"] == 0


async def test_during_a_rotation_both_secrets_verify_and_a_day_later_only_the_new_one(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock
) -> None:
    async with receiving() as service:
        made = await subscribe(service.url)
        rotated = (await client.post(f"/v1/webhooks/{made['id']}/rotate", headers=as_(CITY, "admin"))).json()
        await raise_alert(client, as_)
        await deliver(sender)
        both = service.taken[0]
        assert Webhook(made["secret"]).verify(both.raw, both.headers)
        assert Webhook(rotated["secret"]).verify(both.raw, both.headers)

        clock.advance(timedelta(hours=24))
        await client.post(f"/v1/webhooks/{made['id']}/test", headers=as_(CITY, "admin"))
        await deliver(sender)
    later = service.taken[1]

    assert later.said["type"] == "beacon.test"
    assert len(later.headers["webhook-signature"].split(" ")) == 1
    assert "secret" not in await of(client, as_, made)


async def test_a_failed_try_is_made_again_later_under_the_same_id_and_each_has_its_receipt(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock
) -> None:
    answers = {1: (500, {}), 2: (302, {"location": "http://127.0.0.1/elsewhere"}), 3: (204, {})}
    async with receiving(answer=lambda number: answers[number]) as service:
        made = await subscribe(service.url)
        await raise_alert(client, as_, **EXTREME)
        for wait in (0, 1, 5):  # an urgent alert's early tries come faster
            clock.advance(timedelta(seconds=wait))
            await deliver(sender)
    (sent,) = (await of(client, as_, made, "/deliveries"))["items"]
    detail = await of(client, as_, made, f"/deliveries/{sent['id']}")

    assert len({one.headers["webhook-id"] for one in service.taken}) == 1
    assert len({one.headers["webhook-timestamp"] for one in service.taken}) > 1
    assert (sent["state"], sent["tries"], sent["next_at"]) == ("delivered", 3, None)
    assert [(one["number"], one["status"], one["outcome"]) for one in detail["receipts"]] == [
        (1, 500, "refused"),
        (2, 302, "redirected"),
        (3, 204, "delivered"),
    ]
    assert detail["data"]["level"] == "red"


async def test_before_its_time_nothing_is_tried_again_and_retry_after_is_honoured(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock
) -> None:
    async with receiving(answer=lambda number: (503, {"retry-after": "120"})) as service:
        await subscribe(service.url)
        await raise_alert(client, as_, **EXTREME)
        await deliver(sender)
        clock.advance(timedelta(seconds=119))
        due = await sender.run_due()
        await sender.settled()
        assert due is not None
        assert 0.9 < (due - clock.now()).total_seconds() <= 1
        assert len(service.taken) == 1
        clock.advance(timedelta(seconds=1))
        await deliver(sender)
        assert len(service.taken) == 2


async def test_a_receiver_that_is_gone_is_disabled_at_once_and_its_owner_is_told_in_the_log(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database
) -> None:
    async with receiving(answer=lambda number: (410, {})) as service:
        made = await subscribe(service.url)
        await raise_alert(client, as_)
        await deliver(sender)
        await raise_alert(client, as_)
        await deliver(sender)

        shown = await of(client, as_, made)
        told = [event for event in await rows(database, FeedEvent) if event.type == "receiver.disabled"]
        assert len(service.taken) == 1
        assert (shown["state"], shown["reason"], shown["failed"]) == (
            "disabled",
            "It answered 410: it wants nothing more. Enable it again when it does.",
            1,
        )
        assert [(event.topic, event.body["id"]) for event in told] == [("delivery", made["id"])]

        # Enabled again it goes on where it was; what had failed is replayed by hand, under its id.
        service.answer = lambda number: (204, {})
        await client.patch(f"/v1/webhooks/{made['id']}", json={"state": "active"}, headers=as_(CITY, "admin"))
        await deliver(sender)
        (failed,) = (await of(client, as_, made, "/deliveries?state=failed"))["items"]
        again = await client.post(
            f"/v1/webhooks/{made['id']}/deliveries/{failed['id']}/replay", headers=as_(CITY, "admin")
        )
        await deliver(sender)

    assert again.status_code == 202
    assert [one.said["type"] for one in service.taken] == ["alert.raised", "alert.updated", "alert.raised"]
    assert service.taken[2].headers["webhook-id"] == service.taken[0].headers["webhook-id"]
    assert (await of(client, as_, made))["failed"] == 0


async def test_after_the_last_try_it_is_given_up_and_the_receiver_disabled(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock
) -> None:
    async with receiving(answer=lambda number: (500, {})) as service:
        made = await subscribe(service.url, events=["report.*"])
        await client.post(
            "/v1/reports", json=report(observed_at=clock.now().isoformat()), headers=as_(VILLAGE, "reporter")
        )
        while (await of(client, as_, made))["state"] == "active":
            await deliver(sender)
            clock.advance(timedelta(hours=24))

    shown = await of(client, as_, made)
    assert len(service.taken) == 10  # 0, 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h
    assert shown["reason"].startswith("It took nothing in 10 tries; the last: refused.")


async def test_a_receiver_that_hangs_delays_no_other(
    app: FastAPI, client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock
) -> None:
    sender = Sender(app.state.database, clock, private_targets=True, draw=lambda: 0.0)
    async with receiving(hang=asyncio.Event()) as slow, receiving() as quick:
        made = await subscribe(slow.url)
        await subscribe(quick.url)
        for _ in range(8):
            await raise_alert(client, as_, **EXTREME)
        await sender.run_due()
        await quick.until(lambda service: len(service.taken) == 8)
        await slow.until(lambda service: len(service.taken) == 1)

        # The slow one is waited for by nobody else: the quick one has had everything.
        assert (slow.open_now, slow.open_most) == (1, 1)
        await raise_alert(client, as_, **EXTREME)
        async with asyncio.timeout(10):
            # As the timer does: what comes while the eighth is still being noted is found at the next poll.
            while len(quick.taken) < 9:
                await sender.run_due()
                await asyncio.sleep(0.01)
        assert slow.open_most == 1
        assert slow.hang is not None
        slow.hang.set()
        await sender.settled()
    await sender.stop()

    assert len({one.headers["webhook-id"] for one in slow.taken}) == 9
    assert (await of(client, as_, made))["waiting"] == 0


async def test_a_try_that_takes_too_long_has_timed_out(
    app: FastAPI, client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock
) -> None:
    sender = Sender(app.state.database, clock, private_targets=True, timeout=0.05, draw=lambda: 0.0)
    async with receiving(hang=asyncio.Event()) as slow:
        made = await subscribe(slow.url)
        await raise_alert(client, as_)
        await deliver(sender)
    await sender.stop()

    (sent,) = (await of(client, as_, made, "/deliveries"))["items"]
    detail = await of(client, as_, made, f"/deliveries/{sent['id']}")
    assert (sent["state"], [one["outcome"] for one in detail["receipts"]]) == ("pending", ["timed_out"])


async def test_a_receiver_hears_what_its_office_may_see_of_the_types_and_levels_it_asked_for(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with (
        receiving() as town,
        receiving() as village,
        receiving() as red,
        receiving() as reports,
        receiving() as other,
    ):
        await subscribe(town.url, node=TOWN)
        await subscribe(village.url, node=VILLAGE)
        await subscribe(red.url, levels=["red"])
        await subscribe(reports.url, events=["report.received"])
        await subscribe(other.url, by=OTHER_CITY, events=["*"])
        await raise_alert(client, as_)
        await raise_alert(client, as_, village=NEIGHBOUR, **EXTREME)
        await raise_alert(client, as_, village=FAR_VILLAGE)
        await deliver(sender)

    def heard(service: Any) -> list[tuple[str, str]]:
        found = [(one.said["type"], one.said["data"]["node"]) for one in service.taken]
        return sorted((kind, node if isinstance(node, str) else node["code"]) for kind, node in found)

    assert heard(town) == [("alert.raised", VILLAGE), ("alert.raised", NEIGHBOUR)]
    assert heard(village) == [("alert.raised", VILLAGE)]
    assert heard(red) == [("alert.raised", NEIGHBOUR)]
    assert heard(reports) == sorted(("report.received", node) for node in (VILLAGE, NEIGHBOUR, FAR_VILLAGE))
    assert heard(other) == []


async def test_nothing_sent_names_a_person(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    async with receiving() as service:
        await subscribe(service.url, events=["*"])
        stored = await raise_alert(client, as_, summary="【演练】联系13800138000，12人被困")
        await deliver(sender)

    sent = b"".join(one.raw for one in service.taken).decode()
    account = (await client.get(f"/v1/reports/{stored['id']}", headers=as_(VILLAGE, "reporter"))).json()["account_id"]
    assert len(service.taken) == 3
    assert account
    assert account not in sent
    assert "13800138000" not in sent
    assert f"reporter-{VILLAGE}" not in sent


async def test_a_cursor_older_than_the_log_is_told_as_a_gap_and_shown(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database
) -> None:
    await raise_alert(client, as_)
    async with receiving() as service:
        made = await subscribe(service.url)
        await raise_alert(client, as_)
        async with database.writing() as conn:
            await conn.execute(update(FeedHead).values(epoch=new_id()))
        await deliver(sender)
        await raise_alert(client, as_)
        await deliver(sender)

    assert [one.said["type"] for one in service.taken] == ["beacon.gap", "alert.updated"]
    assert "were missed" in (await of(client, as_, made))["reason"]


async def test_an_exercise_goes_only_to_those_who_asked_for_exercises(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe
) -> None:
    begun = await client.post("/v1/drills", json={"title": "【演练】"}, headers=as_(CITY, "desk"))
    drill = begun.json()["id"]
    async with receiving() as real, receiving() as drills:
        await subscribe(real.url)
        await subscribe(drills.url, drills=True)
        await raise_alert(client, as_)
        await raise_alert(client, as_, drill_id=drill)
        await deliver(sender)

    assert [one.said["data"]["drill_id"] for one in real.taken] == [None]
    assert [one.said["data"]["drill_id"] for one in drills.taken] == [drill]


@pytest.mark.parametrize(
    ("node", "role", "status"), [(CITY, "supervisor", 403), (OTHER_TOWN, "admin", 404), (TOWN, "admin", 404)]
)
async def test_receivers_are_the_admins_of_their_subtree(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, node: str, role: str, status: int
) -> None:
    made = await subscribe("http://127.0.0.1:9/hook", node=CITY)
    path = f"/v1/webhooks/{made['id']}"

    for method, more, body in (
        ("GET", "", None),
        ("PATCH", "", {"label": "x"}),
        ("DELETE", "", None),
        ("POST", "/rotate", None),
        ("POST", "/test", None),
        ("GET", "/deliveries", None),
    ):
        answer = await client.request(method, path + more, json=body, headers=as_(node, role))
        assert answer.status_code == status, (method, more)


async def test_a_deleted_receiver_gets_nothing_and_its_address_is_forgotten(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, database: Database
) -> None:
    async with receiving() as service:
        made = await subscribe(service.url)
        await raise_alert(client, as_)
        gone = await client.delete(f"/v1/webhooks/{made['id']}", headers=as_(CITY, "admin"))
        await deliver(sender)

    assert gone.status_code == 204
    assert service.taken == []
    assert (await client.get("/v1/webhooks", headers=as_(CITY, "admin"))).json()["items"] == []
    (kept,) = await rows(database, Receiver)
    assert (kept.url, kept.secrets) == ("", [])
    assert {one.state for one in await rows(database, Delivery)} <= {"failed"}
