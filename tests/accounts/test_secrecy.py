"""No secret in logs or answers, whatever happens."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import structlog

from app.accounts import service
from app.core.logs import configure
from app.core.settings import Settings
from tests.accounts.people import PASSWORD, USERNAME, bearer, create, create_key, me, pair, refresh, revoke, sign_in
from tests.builders import TOWN

pytestmark = pytest.mark.anyio

WRONG = "wrong-password-of-the-exercise"


@contextmanager
def everything_logged() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure(Settings(log_level="debug", log_json=True))
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


async def test_a_whole_life_of_sign_ins_leaves_no_secret_in_the_log(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    with everything_logged():
        await create(client, node=TOWN)
        await create(client, node=TOWN)
        await sign_in(client, WRONG)
        access, renewing = await pair(client)
        assert await me(client, access) == 200
        renewed = (await refresh(client, renewing)).json()
        await refresh(client, renewing)
        await revoke(client, access)
        key = (await create_key(client, node=TOWN, scopes=["alerts:read"])).json()["key"]
        await client.get("/v1/me", headers=bearer(key))
        await client.get("/v1/accounts", headers=bearer(key))
        await client.get("/v1/me", headers=bearer("bt_misspelt"))

    logged = "".join(capfd.readouterr())
    assert "/v1/auth/token" in logged
    for secret in (
        PASSWORD,
        WRONG,
        access,
        renewing,
        renewed["access_token"],
        renewed["refresh_token"],
        key,
        "bt_misspelt",
    ):
        assert secret not in logged


async def test_a_failure_that_quotes_what_was_typed_shows_it_to_nobody(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **told: object) -> None:
        raise ValueError(f"{told} {WRONG}")

    await create(client, node=TOWN)
    monkeypatch.setattr(service, "stored_password", broken)
    capfd.readouterr()

    with everything_logged():
        answer = await sign_in(client, WRONG)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    logged = "".join(capfd.readouterr())
    assert "ValueError" in logged
    for shown in (logged, answer.text):
        assert WRONG not in shown
        assert USERNAME not in shown


async def test_a_taken_username_is_refused_without_a_word_of_the_database(client: httpx.AsyncClient) -> None:
    await create(client, node=TOWN)

    answer = await create(client, node=TOWN)

    assert answer.status_code == 409
    assert "argon2" not in answer.text
    assert "UNIQUE" not in answer.text.upper()
