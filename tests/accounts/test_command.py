"""The first sign-ins of a city: made on the server, by whoever runs it."""

from typing import Any

import httpx
import pytest

from app.accounts import command
from app.accounts.models import Account, ApiKey
from app.accounts.passwords import Passwords
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import Problem
from tests.accounts.people import PASSWORD, USERNAME, bearer, cheap, sign_in
from tests.builders import CITY
from tests.tables import rows

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "Passwords", lambda: Passwords(cheap()))


async def test_an_account_made_on_the_server_signs_in(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    await command.create_account(
        database, username=USERNAME, node=CITY, role="admin", password=PASSWORD, now=clock.now()
    )

    answer = await sign_in(client)

    assert answer.status_code == 200
    me = (await client.get("/v1/me", headers=bearer(answer.json()["access_token"]))).json()
    assert (me["node"], me["role"]) == (CITY, "admin")


async def test_what_is_wrong_with_an_account_is_said_in_one_line(database: Database, clock: ManualClock) -> None:
    for change, line in (
        ({"username": "No Spaces"}, "A username has 3 to 64"),
        ({"role": "mayor"}, "Unknown role: mayor. Known: reporter, desk, supervisor, admin."),
        ({"password": "x" * 11}, "A password for the role admin has 12 to 256 characters."),
        ({"password": "password1234"}, "This password is among the first that are guessed."),
    ):
        given = {"username": USERNAME, "node": CITY, "role": "admin", "password": PASSWORD} | change

        with pytest.raises((ValueError, Problem)) as refused:
            await command.create_account(database, **given, now=clock.now())

        error = refused.value
        said = str(error.body()["detail"]) if isinstance(error, Problem) else str(error)
        assert said.startswith(line)
        assert "\n" not in said
        assert given["password"] not in said
    assert USERNAME not in {row.username for row in await rows(database, Account)}


async def test_an_account_needs_a_node_and_a_free_username(database: Database, clock: ManualClock) -> None:
    given: dict[str, Any] = {"username": USERNAME, "role": "admin", "password": PASSWORD, "now": clock.now()}
    await command.create_account(database, node=CITY, **given)

    with pytest.raises(Problem) as taken:
        await command.create_account(database, node=CITY, **given)
    with pytest.raises(Problem) as unknown:
        await command.create_account(database, node="370799000000", **given)

    assert (taken.value.kind.code, unknown.value.kind.code) == ("username_taken", "node_unknown")


async def test_a_key_made_on_the_server_signs_in(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    key = await command.create_key(
        database, node=CITY, scopes=["alerts:read", "interop:read"], label="dashboard", now=clock.now()
    )

    me = (await client.get("/v1/me", headers=bearer(key))).json()
    assert (me["node"], me["label"], me["scopes"]) == (CITY, "dashboard", ["alerts:read", "interop:read"])


async def test_what_is_wrong_with_a_key_is_said_in_one_line(database: Database, clock: ManualClock) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"scopes": ["alerts:red"]}, "Unknown scope: alerts:red."),
        ({"scopes": []}, "Unknown scope: none given."),
        ({"label": ""}, "A label has 1 to 80 characters."),
    ]
    for change, line in changes:
        given: dict[str, Any] = {"node": CITY, "scopes": ["alerts:read"], "label": "dashboard"} | change

        with pytest.raises(ValueError) as refused:
            await command.create_key(database, **given, now=clock.now())

        assert str(refused.value).startswith(line)
        assert "\n" not in str(refused.value)
    assert await rows(database, ApiKey) == []
