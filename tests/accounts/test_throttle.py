import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.hashing import OF_ADDRESS, STRANGERS, WORKERS
from app.accounts.passwords import Passwords
from app.accounts.throttle import PER_ADDRESS, Throttle, network
from app.core import problems
from app.core.errors import Problem
from tests.accounts.people import PASSWORD, USERNAME, Held, create, sign_in
from tests.builders import TOWN

pytestmark = pytest.mark.anyio

WRONG = "not the password"


async def fail(throttle: Throttle, username: str, address: str = "192.0.2.1", device: str | None = None) -> Problem:
    """What a try with a wrong password is refused with."""
    with pytest.raises(Problem) as refused, throttle.attempt(username=username, address=address, device=device):
        raise Problem(problems.CREDENTIALS_WRONG)
    return refused.value


async def succeed(throttle: Throttle, username: str, address: str = "192.0.2.1", device: str | None = None) -> None:
    with throttle.attempt(username=username, address=address, device=device):
        pass


async def test_too_many_failures_of_a_username_at_an_address_are_refused_with_the_seconds_to_wait() -> None:
    throttle = Throttle(per_minute=3)
    for _ in range(3):
        assert (await fail(throttle, "one")).kind is problems.CREDENTIALS_WRONG

    refused = await fail(throttle, "one")

    assert refused.kind is problems.TOO_MANY
    assert refused.headers is not None
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    await succeed(throttle, "another")


async def test_too_many_failures_of_an_address_are_refused_whatever_the_username() -> None:
    throttle = Throttle(per_minute=1)
    for number in range(PER_ADDRESS):
        assert (await fail(throttle, f"name{number}")).kind is problems.CREDENTIALS_WRONG

    assert (await fail(throttle, "fresh")).kind is problems.TOO_MANY
    await succeed(throttle, "fresh", "192.0.2.2")


async def test_successes_do_not_count() -> None:
    throttle = Throttle(per_minute=2)
    for _ in range(PER_ADDRESS * 3):
        await succeed(throttle, "one")

    assert (await fail(throttle, "one")).kind is problems.CREDENTIALS_WRONG


async def test_a_burst_cannot_make_more_tries_than_are_allowed_one_by_one() -> None:
    throttle = Throttle(per_minute=3)
    answer = asyncio.Event()

    async def try_once() -> str:
        try:
            with throttle.attempt(username="one", address="192.0.2.1"):
                await answer.wait()
                raise Problem(problems.CREDENTIALS_WRONG)
        except Problem as refused:
            return refused.kind.code

    tries = [asyncio.create_task(try_once()) for _ in range(12)]
    for _ in range(10):
        await asyncio.sleep(0)
    answer.set()

    codes = await asyncio.gather(*tries)
    assert codes.count("credentials_wrong") == 3
    assert codes.count("too_many_requests") == 9


async def test_a_minute_later_it_may_be_tried_again() -> None:
    moment = SimpleNamespace(now=1000.0)
    throttle = Throttle(per_minute=1, monotonic=lambda: moment.now)
    await fail(throttle, "one")
    refused = await fail(throttle, "one")
    assert refused.headers == {"Retry-After": "60"}

    moment.now += 61

    await succeed(throttle, "one")


async def test_failures_from_one_address_stop_nobody_at_another() -> None:
    throttle = Throttle(per_minute=3)
    for _ in range(4):
        await fail(throttle, "one", "192.0.2.1")

    assert (await fail(throttle, "one", "192.0.2.1")).kind is problems.TOO_MANY
    await succeed(throttle, "one", "192.0.2.2")


async def test_a_known_device_is_stopped_by_its_own_failures_alone() -> None:
    throttle = Throttle(per_minute=2)
    for _ in range(PER_ADDRESS * 3):
        await fail(throttle, "one")

    for _ in range(2):
        assert (await fail(throttle, "one", device="mark")).kind is problems.CREDENTIALS_WRONG
    assert (await fail(throttle, "one", device="mark")).kind is problems.TOO_MANY
    await succeed(throttle, "one", device="another mark")


async def test_no_more_failures_are_remembered_than_fit() -> None:
    moment = SimpleNamespace(now=1000.0)
    throttle = Throttle(per_minute=1, monotonic=lambda: moment.now, most=10)
    for number in range(100):
        await fail(throttle, f"name{number}", f"198.51.100.{number}")
    assert len(throttle._failed) == 10

    moment.now += 61
    await fail(throttle, "last")

    assert len(throttle._failed) == 2
    assert not throttle._trying


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_one_guesser_has_all_of_an_ipv6_network(address: str, same: str) -> None:
    assert network(address) == same


async def test_after_too_many_wrong_passwords_the_right_one_has_to_wait_too(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await create(client, node=TOWN)
    tries = app.state.settings.sign_in_attempts_per_minute
    assert [(await sign_in(client, WRONG)).status_code for _ in range(tries)] == [401] * tries

    answer = await sign_in(client, PASSWORD)

    assert answer.status_code == 429
    assert answer.json()["code"] == "too_many_requests"
    assert int(answer.headers["Retry-After"]) > 0
    assert USERNAME not in answer.text


async def test_many_right_passwords_are_never_too_many(client: httpx.AsyncClient, app: FastAPI) -> None:
    await create(client, node=TOWN)
    tries = app.state.settings.sign_in_attempts_per_minute + 2

    assert [(await sign_in(client)).status_code for _ in range(tries)] == [200] * tries


def at(app: FastAPI, address: str) -> httpx.AsyncClient:
    """A client of this address."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://beacon.test")


async def test_strangers_do_not_lock_out_an_account(client: httpx.AsyncClient, app: FastAPI) -> None:
    await create(client, node=TOWN)
    tries = app.state.settings.sign_in_attempts_per_minute
    async with at(app, "203.0.113.9") as stranger:
        assert [(await sign_in(stranger, WRONG)).status_code for _ in range(tries + 1)] == [401] * tries + [429]

    assert (await sign_in(client)).status_code == 200


async def test_a_known_device_is_not_locked_out_by_guessers_at_its_own_address(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await create(client, node=TOWN)
    device = (await sign_in(client)).json()["device"]
    tries = app.state.settings.sign_in_attempts_per_minute
    for _ in range(tries):
        await sign_in(client, WRONG)
    assert (await sign_in(client)).status_code == 429

    answer = await sign_in(client, device=device)

    assert answer.status_code == 200
    assert answer.json()["device"] == device


async def test_a_mark_is_good_for_its_own_account_alone(client: httpx.AsyncClient, app: FastAPI) -> None:
    await create(client, node=TOWN)
    await create(client, node=TOWN, username="another")
    device = (await sign_in(client, username="another")).json()["device"]
    for _ in range(app.state.settings.sign_in_attempts_per_minute):
        await sign_in(client, WRONG)

    assert (await sign_in(client, device=device)).status_code == 429


async def until_refused(tries: list[asyncio.Task[httpx.Response]], count: int) -> None:
    """Wait until so many of the tries are answered, and no other can be."""
    async with asyncio.timeout(20):
        for answered in asyncio.as_completed(tries):
            assert (await answered).status_code == 429
            count -= 1
            if not count:
                return


async def test_44_guessers_do_not_hold_up_a_known_device(client: httpx.AsyncClient, app: FastAPI) -> None:
    await create(client, node=TOWN)
    device = (await sign_in(client)).json()["device"]
    hasher = Held()
    app.state.passwords.close()
    app.state.passwords = Passwords(hasher)
    async with AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(at(app, f"198.51.100.{number}")) for number in range(44)]
        guessing = [asyncio.create_task(sign_in(stranger, WRONG)) for stranger in strangers]
        # Two are being hashed, 38 wait, and the others are told at once.
        await until_refused(guessing, 44 - STRANGERS)
        knowing = asyncio.create_task(sign_in(client, device=device))
        await asyncio.sleep(0.3)
        hasher.go.set()

        assert (await knowing).status_code == 200
        statuses = [answer.status_code for answer in await asyncio.gather(*guessing)]
    assert (statuses.count(401), statuses.count(429)) == (STRANGERS, 44 - STRANGERS)
    # The first thread that is free takes up the known device, before all strangers that came earlier.
    assert hasher.tried.index(PASSWORD) == WORKERS


async def test_one_address_fills_only_its_share_of_the_queue(client: httpx.AsyncClient, app: FastAPI) -> None:
    await create(client, node=TOWN)
    hasher = Held()
    app.state.passwords.close()
    app.state.passwords = Passwords(hasher)
    async with at(app, "203.0.113.9") as stranger:
        # Each under a name of its own: only the queue can refuse them.
        names = [f"name-{number}" for number in range(OF_ADDRESS + 6)]
        guessing = [asyncio.create_task(sign_in(stranger, WRONG, username=name)) for name in names]
        await until_refused(guessing, 6)
        other = asyncio.create_task(sign_in(client))
        await asyncio.sleep(0.1)
        hasher.go.set()
        statuses = [answer.status_code for answer in await asyncio.gather(*guessing)]
    assert (statuses.count(401), statuses.count(429)) == (OF_ADDRESS, 6)
    assert (await other).status_code == 200
