import random
from collections.abc import Callable

import httpx
import pytest

from tests.field.links import Faults, LossyTransport

pytestmark = pytest.mark.anyio


class Echo(httpx.AsyncBaseTransport):
    """Counts what arrives, and answers with the count."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.arrived.append(await request.aread())
        return httpx.Response(200, text=str(len(self.arrived)))


async def say(link: LossyTransport, *words: str) -> list[str]:
    """Each word in a request; the answers, or what befell it."""
    found = []
    async with httpx.AsyncClient(transport=link, base_url="http://beacon.test") as client:
        for word in words:
            try:
                found.append((await client.post("/", content=word)).text)
            except httpx.TransportError as error:
                found.append(type(error).__name__)
    return found


def link_of(**faults: float) -> tuple[LossyTransport, Echo]:
    echo = Echo()
    return LossyTransport(echo, rng=random.Random(3), faults=Faults(**faults)), echo


async def test_a_good_link_carries_everything_once() -> None:
    link, echo = link_of()

    assert await say(link, "a", "b") == ["1", "2"]
    assert echo.arrived == [b"a", b"b"]


async def test_a_dropped_request_never_arrives() -> None:
    link, echo = link_of(drop_request=1.0)

    assert set(await say(link, *"abcdefgh")) == {"ConnectTimeout", "ReadError"}
    assert echo.arrived == []


async def test_a_dropped_answer_is_lost_after_it_arrived() -> None:
    link, echo = link_of(drop_answer=1.0)

    assert await say(link, "a", "b") == ["ReadError", "ReadError"]
    assert echo.arrived == [b"a", b"b"]


async def test_what_is_duplicated_arrives_twice_and_either_answer_comes_back() -> None:
    link, echo = link_of(duplicate=1.0)

    found = await say(link, *"abcdefgh")

    assert echo.arrived == [word for letter in "abcdefgh" for word in (letter.encode(),) * 2]
    assert {int(one) % 2 for one in found} == {0, 1}


async def test_what_is_late_arrives_after_later_requests() -> None:
    link, echo = link_of(delay=1.0)
    assert await say(link, "late") == ["ReadTimeout"]
    link.faults = Faults()

    await say(link, *"abcd")

    assert sorted(echo.arrived) == sorted([b"a", b"b", b"c", b"d", b"late"])
    assert echo.arrived[0] == b"a"
    assert await link.deliver_late() == 0


@pytest.mark.parametrize("make", [lambda: link_of(drop_request=0.2, drop_answer=0.2, duplicate=0.2, delay=0.2)])
async def test_the_same_seed_brings_the_same_night(make: Callable[[], tuple[LossyTransport, Echo]]) -> None:
    (one, first), (other, second) = make(), make()
    words = [str(number) for number in range(50)]

    assert await say(one, *words) == await say(other, *words)
    assert (first.arrived, one.befell) == (second.arrived, other.befell)
    assert set(one.befell) == {"drop_request", "drop_answer", "duplicate", "delay"}
