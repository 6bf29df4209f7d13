"""The life of a token, from sign-in to its end."""

import asyncio
from datetime import date, timedelta
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, text

from app.accounts import changes, service
from app.accounts.models import Account, ApiKey, Token
from app.accounts.roles import ROLES
from app.accounts.tokens import digest
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.settings import Settings
from tests.accounts.people import (
    ADMIN,
    PASSWORD,
    USERNAME,
    bearer,
    close_node,
    create,
    create_key,
    me,
    pair,
    refresh,
    revoke,
    sign_in,
)
from tests.builders import CITY, TOWN

pytestmark = pytest.mark.anyio

LIVES = service.Lives(access=timedelta(hours=1), refresh=timedelta(days=30))


async def test_a_right_password_gives_both_tokens(client: httpx.AsyncClient, settings: Settings) -> None:
    await create(client, node=TOWN)

    answer = await sign_in(client)

    assert answer.status_code == 200
    body = answer.json()
    assert body["access_token"].startswith("bt_")
    assert body["refresh_token"].startswith("br_")
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == settings.access_token_minutes * 60
    assert answer.headers["Cache-Control"] == "no-store"


async def test_me_says_which_office_is_signed_in_and_what_it_may(client: httpx.AsyncClient) -> None:
    await create(client, node=TOWN)
    access, _ = await pair(client)

    answer = await client.get("/v1/me", headers=bearer(access))

    assert answer.json() == {
        "node": TOWN,
        "node_name": "上口镇",
        "tier": "town",
        "path": [CITY, TOWN],
        "role": "desk",
        "scopes": sorted(ROLES["desk"]),
        "label": USERNAME,
    }


async def test_a_wrong_password_an_unknown_a_disabled_and_a_closed_account_look_alike(
    client: httpx.AsyncClient, database: Database
) -> None:
    for username in ("disabled", "closed", USERNAME):
        made = await create(client, node=TOWN, username=username)
        if username == "disabled":
            await client.post(f"/v1/accounts/{made.json()['id']}/disable", headers=ADMIN)

    wrong = await sign_in(client, "not the password")
    unknown = await sign_in(client, PASSWORD, "nobody")
    disabled = await sign_in(client, PASSWORD, "disabled")
    await close_node(database, TOWN, date(2018, 8, 20))
    closed = await sign_in(client, PASSWORD, "closed")

    assert wrong.status_code == 401
    assert wrong.json()["code"] == "credentials_wrong"
    assert wrong.headers["WWW-Authenticate"] == "Bearer"
    assert unknown.content == disabled.content == closed.content == wrong.content


async def test_a_malformed_sign_in_is_refused_in_words(client: httpx.AsyncClient) -> None:
    for form, status, code in (
        ({"grant_type": "client_credentials", "username": "a", "password": "b"}, 400, "grant_unsupported"),
        ({"username": "a"}, 422, "invalid"),
        ({"username": "a" * 65, "password": "b"}, 422, "invalid"),
        ({"username": "a\0b", "password": "b"}, 422, "invalid"),
        ({"username": "a", "password": "a\0b"}, 401, "credentials_wrong"),
        ({"username": "a' OR 1=1 --", "password": "b"}, 401, "credentials_wrong"),
    ):
        answer = await client.post("/v1/auth/token", data=form)

        assert (answer.status_code, answer.json()["code"]) == (status, code), form


async def test_an_access_token_ends_by_itself(
    client: httpx.AsyncClient, clock: ManualClock, settings: Settings
) -> None:
    await create(client, node=TOWN)
    access, _ = await pair(client)

    clock.advance(timedelta(minutes=settings.access_token_minutes, seconds=-1))
    assert await me(client, access) == 200
    clock.advance(timedelta(seconds=1))
    assert await me(client, access) == 401


async def test_a_refresh_token_ends_by_itself(
    client: httpx.AsyncClient, clock: ManualClock, settings: Settings
) -> None:
    await create(client, node=TOWN)
    _, first = await pair(client)

    clock.advance(timedelta(days=settings.refresh_token_days, seconds=-1))
    renewed = await refresh(client, first)
    assert renewed.status_code == 200
    clock.advance(timedelta(days=settings.refresh_token_days))
    late = await refresh(client, renewed.json()["refresh_token"])
    assert (late.status_code, late.json()["code"]) == (401, "sign_in_invalid")


async def test_refreshing_replaces_both_tokens(client: httpx.AsyncClient) -> None:
    await create(client, node=TOWN)
    access, first = await pair(client)

    answer = (await refresh(client, first)).json()

    assert answer["access_token"] != access
    assert answer["refresh_token"] != first
    assert await me(client, answer["access_token"]) == 200
    assert await me(client, access) == 401


async def test_a_refresh_token_used_after_what_came_of_it_ends_the_whole_sign_in_and_no_other(
    client: httpx.AsyncClient,
) -> None:
    await create(client, node=TOWN)
    _, stolen = await pair(client)
    other, _ = await pair(client)
    mine = (await refresh(client, stolen)).json()
    mine = (await refresh(client, mine["refresh_token"])).json()
    assert await me(client, mine["access_token"]) == 200

    thief = await refresh(client, stolen)

    assert (thief.status_code, thief.json()["code"]) == (401, "sign_in_invalid")
    assert thief.headers["WWW-Authenticate"] == "Bearer"
    assert await me(client, mine["access_token"]) == 401
    assert (await refresh(client, mine["refresh_token"])).status_code == 401
    assert await me(client, other) == 200


async def test_a_refresh_that_comes_twice_or_late_is_answered_the_same(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    await create(client, node=TOWN)
    _, token = await pair(client)

    first = (await refresh(client, token)).json()
    assert await me(client, first["access_token"]) == 200
    clock.advance(timedelta(minutes=4))
    again = (await refresh(client, token)).json()

    assert again == first
    assert await me(client, first["access_token"]) == 200
    clock.advance(timedelta(minutes=58))
    assert await me(client, first["access_token"]) == 200
    assert (await refresh(client, first["refresh_token"])).status_code == 200


async def test_a_refresh_whose_answer_got_lost_is_answered_again(client: httpx.AsyncClient, clock: ManualClock) -> None:
    await create(client, node=TOWN)
    _, token = await pair(client)
    lost = []
    for _ in range(3):
        lost.append((await refresh(client, token)).json())
        clock.advance(timedelta(minutes=6))

    answer = await refresh(client, token)

    assert answer.status_code == 200
    assert await me(client, answer.json()["access_token"]) == 200
    assert [await me(client, one["access_token"]) for one in lost] == [401, 401, 401]
    after = await refresh(client, answer.json()["refresh_token"])
    assert after.status_code == 200
    # Those answers were not lost after all: somebody else has them.
    assert (await refresh(client, lost[0]["refresh_token"])).status_code == 401
    assert await me(client, after.json()["access_token"]) == 401


async def test_two_refreshes_at_once_are_answered_the_same(client: httpx.AsyncClient) -> None:
    await create(client, node=TOWN)
    _, token = await pair(client)

    answers = await asyncio.gather(*(refresh(client, token) for _ in range(2)))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert await me(client, answers[0].json()["access_token"]) == 200


@pytest.mark.parametrize("kind", [0, 1], ids=["access", "refresh"])
async def test_revoking_either_token_ends_the_sign_in_at_once(client: httpx.AsyncClient, kind: int) -> None:
    await create(client, node=TOWN)
    tokens = await pair(client)
    # Known to the process by now: it must not be honoured from memory.
    assert await me(client, tokens[0]) == 200

    assert (await revoke(client, tokens[kind])).status_code == 204

    assert await me(client, tokens[0]) == 401
    assert (await refresh(client, tokens[1])).status_code == 401


async def test_revoking_what_is_unknown_is_answered_the_same(client: httpx.AsyncClient) -> None:
    for token in ("", "bt_unknown", "bk_unknown", "\0", "令牌"):
        assert (await revoke(client, token)).status_code == 204, token


async def test_an_access_token_does_not_refresh_and_a_refresh_token_does_not_sign_in(
    client: httpx.AsyncClient,
) -> None:
    await create(client, node=TOWN)
    access, renewing = await pair(client)

    assert (await refresh(client, access)).status_code == 401
    assert await me(client, renewing) == 401
    assert await me(client, access) == 200


@pytest.mark.parametrize("lapse", ["closed", "disabled"])
async def test_a_lapsed_sign_in_is_renewed_for_handing_in_only_and_not_for_ever(
    client: httpx.AsyncClient, database: Database, clock: ManualClock, lapse: str
) -> None:
    account = (await create(client, node=TOWN)).json()["id"]
    _, renewing = await pair(client)
    if lapse == "closed":
        await close_node(database, TOWN, date(2018, 8, 20))
    else:
        await client.post(f"/v1/accounts/{account}/disable", headers=ADMIN)

    answer = await refresh(client, renewing)

    assert answer.status_code == 200
    assert await me(client, answer.json()["access_token"]) == 401
    listed = await client.get("/v1/reports", headers=bearer(answer.json()["access_token"]))
    assert (listed.status_code, listed.json()["code"]) == (401, "sign_in_invalid")
    clock.advance(timedelta(days=7))
    late = await refresh(client, answer.json()["refresh_token"])
    assert (late.status_code, late.json()["code"]) == (401, "sign_in_invalid")


async def test_signing_in_forgets_the_expired_tokens_of_that_account(
    client: httpx.AsyncClient, database: Database, clock: ManualClock, settings: Settings
) -> None:
    account = (await create(client, node=TOWN)).json()["id"]
    old = set(await pair(client))
    clock.advance(timedelta(days=settings.refresh_token_days, seconds=1))

    new = set(await pair(client))

    async with database.reading() as conn:
        rows = (await conn.execute(select(Token.account_id, Token.token_hash))).all()
    kept = {row.token_hash for row in rows if str(row.account_id) == account}
    assert kept == {digest(token) for token in new}
    assert not kept & {digest(token) for token in old}
    assert len(rows) > len(kept)


async def test_a_revocation_also_ends_the_tokens_that_a_refresh_makes_at_that_moment(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    await create(client, node=TOWN)
    access, renewing = await pair(client)

    async def end() -> None:
        async with database.writing() as conn:
            await service.revoke(conn, token=renewing)

    async with database.writing() as conn:
        made = await service.refresh(conn, token=renewing, lives=LIVES, hand_in=timedelta(days=7), now=clock.now())
        assert made is not None
        ending = asyncio.create_task(end())
        await asyncio.sleep(0)
        if not database.is_sqlite:
            # SQLite has one writer; here the revocation has to be seen waiting for the refresh.
            await until_somebody_waits(database)
    await ending

    for token in (access, made.access):
        assert await me(client, token) == 401
    assert (await refresh(client, made.refresh)).status_code == 401


async def test_a_refresh_that_waits_for_a_revocation_brings_nothing_back(
    client: httpx.AsyncClient, database: Database
) -> None:
    await create(client, node=TOWN)
    access, renewing = await pair(client)

    async with database.writing() as conn:
        await service.revoke(conn, token=access)
        refreshing = asyncio.create_task(refresh(client, renewing))
        await asyncio.sleep(0)
        if not database.is_sqlite:
            await until_somebody_waits(database)

    assert (await refreshing).status_code == 401


async def test_a_sign_in_that_waits_for_a_reset_does_not_pass_with_the_old_password(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    account_id = UUID((await create(client, node=TOWN)).json()["id"])

    async with database.writing() as conn:
        await changes.give_code(conn, caller=None, account_id=account_id, digest="0" * 64, reset=True, now=clock.now())
        signing_in = asyncio.create_task(sign_in(client))
        await asyncio.sleep(0)
        if not database.is_sqlite:
            await until_somebody_waits(database)

    assert (await signing_in).status_code == 401


async def until_somebody_waits(database: Database) -> None:
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10), database.reading() as conn:
        while not (await conn.execute(waiting)).scalar_one():
            pass


async def test_the_database_holds_hashes_only(client: httpx.AsyncClient, app: FastAPI, database: Database) -> None:
    await create(client, node=TOWN)
    secrets = [PASSWORD, *(await pair(client))]
    secrets.append((await create_key(client, node=TOWN, scopes=["alerts:read"])).json()["key"])

    async with database.reading() as conn:
        stored = " ".join(
            [str(row) for table in (Account, ApiKey, Token) for row in await conn.execute(select(*table.__table__.c))]
        )

    for secret in secrets:
        assert secret not in stored
    for token in secrets[1:]:
        assert digest(token) in stored
