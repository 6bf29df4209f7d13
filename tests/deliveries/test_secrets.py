"""A webhook's secrets: each one that was replaced signs for its whole overlap, however often they are replaced."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from app.core.clock import ManualClock
from app.deliveries import signing
from app.deliveries.sending import Sender
from tests.builders import CITY, NOON
from tests.deliveries.conftest import Subscribe, deliver
from tests.deliveries.receiving import Taken, receiving

As = Callable[[str, str], dict[str, str]]


def verifies(secret: str, message: Taken) -> bool:
    """Whether one of the signatures is this secret's; the verifier itself would refuse what is of another day."""
    at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
    signed = Webhook(secret).sign(message.headers["webhook-id"], at, message.raw.decode())
    return signed in message.headers["webhook-signature"].split(" ")


@pytest.mark.anyio
async def test_each_old_secret_signs_for_a_day_after_it_was_replaced(
    client: httpx.AsyncClient, as_: As, sender: Sender, subscribe: Subscribe, clock: ManualClock
) -> None:
    found = []
    async with receiving() as service:
        made = await subscribe(service.url)
        secrets = [made["secret"]]
        for hours in (1, 1, 22, 1, 1):
            clock.advance(timedelta(hours=hours))
            if len(secrets) < 3:
                answer = await client.post(f"/v1/webhooks/{made['id']}/rotate", headers=as_(CITY, "admin"))
                secrets.append(answer.json()["secret"])
            await client.post(f"/v1/webhooks/{made['id']}/test", headers=as_(CITY, "admin"))
            await deliver(sender)
            found.append([verifies(secret, service.taken[-1]) for secret in secrets])
    assert found == [
        [True, True],
        [True, True, True],
        [True, True, True],
        [False, True, True],
        [False, False, True],
    ]


@pytest.mark.anyio
async def test_a_secret_is_not_replaced_when_ten_are_good_until_one_of_them_ends(
    client: httpx.AsyncClient, as_: As, subscribe: Subscribe, clock: ManualClock
) -> None:
    made = await subscribe("http://127.0.0.1:9/")

    async def rotate() -> httpx.Response:
        return await client.post(f"/v1/webhooks/{made['id']}/rotate", headers=as_(CITY, "admin"))

    assert [(await rotate()).status_code for _ in range(9)] == [200] * 9
    refused = await rotate()
    clock.advance(timedelta(hours=24))
    assert (refused.status_code, refused.json()["code"]) == (409, "secrets_many")
    assert (await rotate()).status_code == 200


@given(gaps=st.lists(st.integers(0, 30), min_size=1, max_size=12), later=st.integers(0, 60))
def test_a_secret_is_good_until_a_day_after_the_next_one_was_made(gaps: list[int], later: int) -> None:
    now, known, ends = NOON, signing.rotated([], "0", NOON), []
    for number, hours in enumerate(gaps, 1):
        now += timedelta(hours=hours)
        known = signing.rotated(known, str(number), now)
        ends.append(now + signing.OVERLAP)
    asked = now + timedelta(hours=later)
    expected = {str(number) for number, end in enumerate(ends) if end > asked} | {str(len(gaps))}
    assert set(signing.good(known, asked)) == expected
