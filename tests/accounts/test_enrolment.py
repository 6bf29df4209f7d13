"""A village types a code instead of a password."""

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.accounts import codes
from app.accounts.models import Code, Mark
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from tests.accounts.people import ADMIN, PASSWORD, USERNAME, bearer, close_node, create, me, pair, refresh, sign_in
from tests.builders import FAR_VILLAGE, OTHER_CITY_VILLAGE, TOWN, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def enrolled(
    client: httpx.AsyncClient, *, node: str = VILLAGE, headers: dict[str, str] = ADMIN
) -> dict[str, Any]:
    """A new account without a password: what its office sees."""
    body = {"username": USERNAME, "node": node, "role": "reporter"}
    made = await client.post("/v1/accounts", json=body, headers=headers)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def enrol(client: httpx.AsyncClient, code: str, **more: str) -> httpx.Response:
    """One try with a code."""
    return await client.post("/v1/auth/enrol", json={"code": code, **more})


async def test_a_code_gives_a_sign_in_without_any_password(client: httpx.AsyncClient, as_: As) -> None:
    made = await enrolled(client, headers=as_(TOWN, "admin"))
    assert made["has_password"] is False
    assert made["code_expires_at"] == "2018-08-21T04:15:00Z"

    answer = await enrol(client, made["code"])

    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["device"].startswith("bd_")
    said = (await client.get("/v1/me", headers=bearer(answer.json()["access_token"]))).json()
    assert (said["node"], said["role"], said["label"]) == (VILLAGE, "reporter", USERNAME)
    assert (await refresh(client, answer.json()["refresh_token"])).status_code == 200


async def test_a_code_is_good_once_however_many_try_at_the_same_moment(client: httpx.AsyncClient) -> None:
    code = (await enrolled(client))["code"]

    answers = await asyncio.gather(*(enrol(client, code) for _ in range(5)))

    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401]
    assert (await enrol(client, code)).json()["code"] == "code_wrong"


async def test_a_code_whose_answer_got_lost_is_good_again_for_the_same_try(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    code, mine, another = (await enrolled(client))["code"], str(new_id()), str(new_id())

    answers = [await enrol(client, code, id=mine, password=PASSWORD) for _ in range(2)]
    others = [await enrol(client, code, id=another), await enrol(client, code)]
    clock.advance(timedelta(minutes=5))
    late = await enrol(client, code, id=mine)

    assert [answer.status_code for answer in (*answers, *others, late)] == [200, 200, 401, 401, 401]
    assert await me(client, answers[0].json()["access_token"]) == 401
    assert await me(client, answers[1].json()["access_token"]) == 200


@pytest.mark.parametrize(
    "typed", [str.lower, lambda code: f" {code[:2]} {code[2:]} ", lambda code: code.replace("-", "")]
)
async def test_case_spaces_and_dashes_do_not_matter(client: httpx.AsyncClient, typed: Callable[[str], str]) -> None:
    code = (await enrolled(client))["code"]

    assert (await enrol(client, typed(code))).status_code == 200


async def test_wrong_used_late_and_void_codes_look_alike(
    client: httpx.AsyncClient, clock: ManualClock, database: Database
) -> None:
    made = await enrolled(client)
    again = f"/v1/accounts/{made['id']}/code"
    wrong = await enrol(client, "2222-2222")
    malformed = await enrol(client, "what?")
    newer = (await client.post(again, headers=ADMIN)).json()["code"]
    replaced = await enrol(client, made["code"])
    clock.advance(timedelta(hours=24))
    late = await enrol(client, newer)
    newer = (await client.post(again, headers=ADMIN)).json()["code"]
    await client.post(f"/v1/accounts/{made['id']}/disable", headers=ADMIN)
    disabled = await enrol(client, newer)
    await client.post(f"/v1/accounts/{made['id']}/enable", headers=ADMIN)
    newer = (await client.post(again, headers=ADMIN)).json()["code"]
    await close_node(database, VILLAGE, date(2018, 8, 20))
    closed = await enrol(client, newer)

    for answer in (wrong, malformed, replaced, late, disabled, closed):
        assert answer.status_code == 401
        assert answer.content == wrong.content


async def test_a_password_may_be_chosen_with_the_code_and_a_bad_one_does_not_use_it_up(
    client: httpx.AsyncClient,
) -> None:
    code = (await enrolled(client))["code"]

    refused = await enrol(client, code, password="password")
    answer = await enrol(client, code, password=PASSWORD)

    assert (refused.status_code, refused.json()["code"]) == (422, "password_common")
    assert answer.status_code == 200
    assert (await sign_in(client)).status_code == 200


async def test_a_code_for_one_more_device_ends_no_other_sign_in(client: httpx.AsyncClient) -> None:
    made = await create(client, node=TOWN)
    access, _ = await pair(client)

    code = (await client.post(f"/v1/accounts/{made.json()['id']}/code", headers=ADMIN)).json()["code"]

    assert (await enrol(client, code)).status_code == 200
    assert await me(client, access) == 200
    assert (await sign_in(client)).status_code == 200


async def test_only_who_may_make_the_account_makes_its_code(client: httpx.AsyncClient, as_: As) -> None:
    made = await enrolled(client)
    for headers, status in (
        (as_(VILLAGE, "admin"), 200),
        (as_(TOWN, "admin"), 200),
        (as_(TOWN, "supervisor"), 403),
        (as_(FAR_VILLAGE, "admin"), 404),
        (as_(OTHER_CITY_VILLAGE, "admin"), 404),
    ):
        for what in ("code", "reset"):
            answer = await client.post(f"/v1/accounts/{made['id']}/{what}", headers=headers)
            assert answer.status_code == status, (what, headers)


async def test_guessing_codes_stops_the_guesser_alone(client: httpx.AsyncClient, app: FastAPI) -> None:
    code = (await enrolled(client))["code"]
    tries = app.state.settings.sign_in_attempts_per_minute
    transport = httpx.ASGITransport(app, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as stranger:
        statuses = [(await enrol(stranger, "2222-2222")).status_code for _ in range(tries + 1)]
        assert statuses == [401] * tries + [429]
        assert (await enrol(stranger, code)).status_code == 429

    assert (await enrol(client, code)).status_code == 200


async def test_codes_and_marks_are_kept_as_digests(client: httpx.AsyncClient, database: Database) -> None:
    first = (await enrolled(client))["code"]
    kept = await rows(database, Code)
    device = (await enrol(client, first)).json()["device"]

    assert first not in repr(kept)
    assert first.replace("-", "") not in repr(kept)
    assert device not in repr(await rows(database, Mark))


async def test_an_account_has_at_most_twenty_known_devices(client: httpx.AsyncClient, database: Database) -> None:
    await create(client, node=TOWN)
    for _ in range(23):
        await sign_in(client)

    assert len(await rows(database, Mark)) == 20


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_code_or_none(typed: str) -> None:
    found = codes.plain(typed)
    assert found is None or (len(found) == 8 and set(found) <= set(codes.ALPHABET))


def test_codes_have_no_look_alikes() -> None:
    assert not set("01OILUVBSZ") & set(codes.ALPHABET)
    made, plain = codes.new_code()
    assert codes.plain(made) == plain
    assert codes.plain("2s5b8zaa") == "255882AA"


async def test_texts_that_are_no_text_are_refused_not_failed_on(client: httpx.AsyncClient) -> None:
    made = await enrolled(client)
    headers = {"Content-Type": "application/json"}
    for body in (
        b'{"code": "\\ud800"}',
        b'{"code": "\\u0000"}',
        b'{"code": "%s", "password": "\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800\\ud800"}'
        % made["code"].encode(),
        b'{"code": "%s", "device": "\\ud800"}' % made["code"].encode(),
    ):
        assert (await client.post("/v1/auth/enrol", content=body, headers=headers)).status_code in (400, 401, 422), body
    for text in (b"\xed\xa0\x80" * 12, "\ufdfa".encode() * 256, b"\x00" * 12):
        form = b"username=" + text[:60] + b"&password=" + text + b"&device=" + text[:60]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post("/v1/auth/token", content=form, headers=headers)
        assert answer.status_code in (400, 401, 422), text
