import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from app.accounts.passwords import MAX_LENGTH, QUEUE, Passwords
from app.core.errors import Problem
from tests.accounts.people import PASSWORD, cheap

pytestmark = pytest.mark.anyio


class Held(Argon2Hasher):
    """Hashes only once the test lets it: what would hold the event loop for ever if it ran there."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.go = threading.Event()
        self.calls: list[str] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.calls.append("hash")
        self.loop.call_soon_threadsafe(self.began.set)
        assert self.go.wait(20), "the event loop stood still"
        return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        self.calls.append("verify")
        return super().verify(password, hash)


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


@pytest.mark.parametrize("length", [0, 9, 257])
async def test_too_short_and_too_long_passwords_are_refused(passwords: Passwords, length: int) -> None:
    with pytest.raises(ValueError, match="10 to 256"):
        await passwords.hash("x" * length)


@pytest.mark.parametrize("password", ["x" * 10, "水" * 256])
async def test_passwords_need_a_length_and_nothing_else(passwords: Passwords, password: str) -> None:
    assert await passwords.verify(password, await passwords.hash(password))


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
    waiting = [asyncio.create_task(passwords.hash(PASSWORD)) for _ in range(QUEUE)]
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
