"""Text people send is never a reason to lose a report; and no text is too long for a column once it is masked."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.builders import CITY, TOWN, VILLAGE, report
from tests.conftest import token_of
from tests.field.devices import device

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

TYPED: list[tuple[str, dict[str, Any], str, int]] = [
    ("the letter of information", {"summary": "ℹ️ 水位上涨"}, "ℹ️ 水位上涨", 0),
    ("a family, a flag, a keycap", {"summary": "👨‍👩‍👧 🏳️‍🌈 1️⃣"}, "👨‍👩‍👧 🏳️‍🌈 1️⃣", 0),
    ("a NUL", {"summary": "水\x00位"}, "水位", 1),
    ("marks of direction", {"summary": "abc\u202edef"}, "abcdef", 1),
    ("half of a character", {"summary": "水位\ud83d"}, "水位", 1),
    ("what nobody sees", {"summary": "水\u200b位"}, "水位", 1),
    ("two lines", {"summary": "水位\n上涨"}, "水位 上涨", 0),
    ("nothing", {"summary": ""}, "河道洪水", 0),
    ("nothing that is seen", {"summary": "\u200b \x00"}, "河道洪水", 2),
    ("decomposed", {"summary": "cafe\u0301"}, "café", 0),
]


async def send(client: httpx.AsyncClient, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    # As ASCII, so that half of a character can be sent, as some devices do.
    typed = {"Content-Type": "application/json"}
    return await client.post("/v1/reports", content=json.dumps(body), headers=headers | typed)


@pytest.mark.parametrize(("said", "kept", "cleaned"), [row[1:] for row in TYPED], ids=[row[0] for row in TYPED])
async def test_it_is_stored_and_the_answer_says_what_was_left_out(
    client: httpx.AsyncClient, as_: As, said: dict[str, Any], kept: str, cleaned: int
) -> None:
    body = report(**said)
    me = as_(VILLAGE, "reporter")

    first = await send(client, me, body)
    again = await send(client, me, body)

    assert first.status_code == 201, first.text
    assert (first.json()["summary"], first.json()["cleaned"]) == (kept, cleaned)
    assert (again.status_code, again.json()["cleaned"]) == (200, cleaned)


async def test_what_the_server_stored_it_takes_back(client: httpx.AsyncClient, as_: As) -> None:
    me = as_(VILLAGE, "reporter")
    body = report(summary="水" * 150 + "a@b.cn " * 7, description="x\u200b" * 5_000 + "y" * 18_000)
    stored = (await send(client, me, body)).json()

    same = body | {name: stored[name] for name in ("summary", "description")}
    answer = await client.put(f"/v1/reports/{body['id']}", json=same, headers=me | {"If-Match": '"1"'})

    assert stored["masked"] == 7
    assert len(stored["summary"]) > 200
    assert len(stored["description"]) == 20_000
    assert stored["cleaned"] == 8_000
    assert answer.status_code == 200, answer.text
    assert (answer.json()["summary"], answer.json()["description"]) == (stored["summary"], stored["description"])


async def test_a_summary_that_is_too_long_is_told_whole_in_the_description(client: httpx.AsyncClient, as_: As) -> None:
    words = "堤" * 399 + "坝坝"

    stored = (await send(client, as_(VILLAGE, "reporter"), report(summary=words, description="二"))).json()

    assert stored["summary"] == "堤" * 399 + "…"
    assert stored["description"] == f"{words}\n二"


async def test_a_phone_sends_whatever_was_typed_and_what_stands_behind_it_goes_too(app: Any) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    phone = device(transport, clock=app.state.clock, session=token_of(VILLAGE, "reporter"))
    said = [phone.outbox.put(report(**row[1]), urgent=at % 2 == 0) for at, row in enumerate(TYPED)]
    # A device cannot cure this, whatever it does.
    hopeless = phone.outbox.put(report(hazard="no.such.hazard"), urgent=True)
    behind = phone.outbox.put(report())

    await phone.deliver()

    states = {one: phone.outbox.report(one)["state"] for one in (*said, hopeless, behind)}
    assert states == dict.fromkeys((*said, behind), "stored") | {hopeless: "refused"}


LONG = "a@b.cn " * 60


@pytest.mark.parametrize(
    ("path", "node", "role", "body", "most"),
    [
        ("/v1/drills", TOWN, "desk", {"title": LONG}, 80),
        ("/v1/keys", CITY, "admin", {"node": TOWN, "scopes": ["alerts:read"], "label": LONG}, 80),
        ("/v1/webhooks", CITY, "admin", {"url": "https://receiver.invalid/", "label": LONG}, 80),
        (
            "/v1/nodes",
            CITY,
            "admin",
            {"code": "370783108299", "tier": "village", "parent": TOWN, "name": LONG},
            80,
        ),
        ("/v1/rollcalls", TOWN, "desk", {"question": LONG, "due_minutes": 30}, 200),
    ],
)
async def test_the_limit_is_of_what_was_typed_before_it_is_masked(
    client: httpx.AsyncClient, as_: As, path: str, node: str, role: str, body: dict[str, Any], most: int
) -> None:
    headers = as_(node, role)
    (name,) = [key for key, value in body.items() if value == LONG]

    kept = await client.post(path, json=body | {name: LONG[: most - 2]}, headers=headers)
    longer = await client.post(path, json=body | {name: LONG[: most + 1]}, headers=headers)

    assert kept.status_code == 201, kept.text
    assert longer.status_code == 422
