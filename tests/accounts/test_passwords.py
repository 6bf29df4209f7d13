import asyncio
from collections.abc import AsyncIterator

import pytest
from pwdlib import PasswordHash

from app.accounts.hashing import KNOWN, WORKERS
from app.accounts.password_rules import MAX_LENGTH
from app.accounts.passwords import NO_PASSWORD, Passwords
from app.core.errors import Problem
from tests.accounts.people import PASSWORD, Held, cheap

pytestmark = pytest.mark.anyio


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords(cheap())
    yield made
    made.close()


async def test_a_password_is_kept_as_salted_argon2id(passwords: Passwords) -> None:
    one, two = await passwords.hash(PASSWORD), await passwords.hash(PASSWORD)

    assert one.startswith("$argon2id$")
    assert one != two
    assert await passwords.verify(PASSWORD, one)
    assert not await passwords.verify(PASSWORD + " ", one)


async def test_the_hashes_of_the_application_are_not_the_cheap_ones_of_the_tests() -> None:
    passwords = Passwords()

    stored = await passwords.hash(PASSWORD)

    passwords.close()
    # OWASP's least for argon2id is 19 MiB, two passes.
    settings = dict(part.split("=") for part in stored.split("$")[3].split(","))
    assert int(settings["m"]) >= 19 * 1024
    assert int(settings["t"]) >= 2


async def test_an_overlong_password_is_wrong_without_hashing() -> None:
    hasher = Held()
    passwords = Passwords(hasher)

    assert not await passwords.verify("x" * (MAX_LENGTH + 1), None)

    passwords.close()
    assert hasher.calls == []


async def test_an_unknown_account_costs_one_hashing_each_time_like_a_known_one() -> None:
    hasher = Held()
    hasher.go.set()
    passwords = Passwords(hasher)

    for tries in (1, 2, 3):
        assert not await passwords.verify(PASSWORD, None)
        assert len(hasher.calls) == tries

    assert not await passwords.verify("nobody has this password", None)
    passwords.close()


async def test_the_event_loop_goes_on_while_a_password_is_hashed() -> None:
    hasher = Held()
    passwords = Passwords(hasher)

    hashing = asyncio.create_task(passwords.hash(PASSWORD))
    await hasher.began.wait()
    # Hashing has begun and cannot end before the event loop has come here.
    assert not hashing.done()
    hasher.go.set()

    assert (await hashing).startswith("$argon2id$")
    passwords.close()


async def test_when_too_many_wait_the_next_is_told_when_to_come_back() -> None:
    hasher = Held()
    passwords = Passwords(hasher)
    waiting = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(KNOWN)]
    await asyncio.sleep(0)

    with pytest.raises(Problem) as refused:
        await passwords.verify(PASSWORD, None)

    hasher.go.set()
    await asyncio.gather(*waiting)
    assert refused.value.kind.status == 429
    assert refused.value.headers is not None
    assert int(refused.value.headers["Retry-After"]) > 0
    assert not await passwords.verify(PASSWORD, None)
    passwords.close()


async def test_who_hangs_up_leaves_the_queue_and_what_is_being_hashed_keeps_its_thread() -> None:
    hasher = Held()
    passwords = Passwords(hasher)
    waiting = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(KNOWN)]
    await hasher.began.wait()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

    again = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(KNOWN)]
    await asyncio.sleep(0)
    hasher.go.set()

    assert len(await asyncio.gather(*again)) == KNOWN
    assert len(hasher.calls) == KNOWN + WORKERS
    passwords.close()


async def test_the_same_text_is_the_same_password_however_it_is_typed(passwords: Passwords) -> None:
    stored = await passwords.hash("caf\u00e9 \uff11\uff12\uff13")

    assert await passwords.verify("cafe\u0301 123", stored)


async def test_a_password_that_was_kept_as_it_was_typed_is_still_right(passwords: Passwords) -> None:
    typed = "cafe\u0301 \uff11\uff12\uff13"
    stored = PasswordHash((cheap(),)).hash(typed)

    assert await passwords.verify(typed, stored)


async def test_an_account_without_a_password_costs_the_same_and_takes_none() -> None:
    hasher = Held()
    hasher.go.set()
    passwords = Passwords(hasher)

    assert not await passwords.verify(NO_PASSWORD, NO_PASSWORD)

    assert len(hasher.calls) == 1
    passwords.close()
