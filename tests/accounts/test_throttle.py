import asyncio
import time
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.throttle import PER_ADDRESS, Throttle
from app.core import problems
from app.core.errors import Problem
from tests.accounts.people import PASSWORD, USERNAME, create, sign_in
from tests.builders import TOWN

pytestmark = pytest.mark.anyio

WRONG = "not the password"


async def fail(throttle: Throttle, username: str, address: str = "192.0.2.1") -> Problem:
    """What a try with a wrong password is refused with."""
    with pytest.raises(Problem) as refused:
        async with throttle.attempt(username=username, address=address):
            raise Problem(problems.CREDENTIALS_WRONG)
    return refused.value


async def succeed(throttle: Throttle, username: str, address: str = "192.0.2.1") -> None:
    async with throttle.attempt(username=username, address=address):
        pass


async def test_too_many_failures_of_a_username_are_refused_with_the_seconds_to_wait() -> None:
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
            async with throttle.attempt(username="one", address="192.0.2.1"):
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


async def test_a_minute_later_it_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.time()
    moment = SimpleNamespace(time=lambda: began)
    for module in ("limits.storage.memory", "limits.aio.storage.memory", "app.accounts.throttle"):
        monkeypatch.setattr(f"{module}.time", moment)
    throttle = Throttle(per_minute=1)
    await fail(throttle, "one")
    refused = await fail(throttle, "one")
    assert refused.headers == {"Retry-After": "60"}

    moment.time = lambda: began + 61

    await succeed(throttle, "one")


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
