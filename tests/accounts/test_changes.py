"""An account's life after it was made."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.models import ApiKey, Mark
from app.core.clock import ManualClock
from app.core.database import Database
from tests.accounts.people import ADMIN, PASSWORD, USERNAME, bearer, create, create_key, me, pair, refresh, sign_in
from tests.accounts.test_secrecy import everything_logged
from tests.builders import CITY, FAR_VILLAGE, OTHER_CITY_VILLAGE, TOWN, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

OTHER = "another one of the exercise"


async def made(client: httpx.AsyncClient, *, node: str = TOWN, role: str = "desk", username: str = USERNAME) -> str:
    """The path of a new account."""
    answer = await create(client, node=node, role=role, username=username)
    assert answer.status_code == 201, answer.text
    return f"/v1/accounts/{answer.json()['id']}"


async def change_password(
    client: httpx.AsyncClient, access: str, *, old: str = PASSWORD, new: str = OTHER
) -> httpx.Response:
    """One try to change one's own password."""
    body = {"old_password": old, "new_password": new}
    return await client.post("/v1/me/password", json=body, headers=bearer(access))


async def test_changing_the_own_password_keeps_this_sign_in_and_ends_the_others(client: httpx.AsyncClient) -> None:
    await made(client)
    mine, renewing = await pair(client)
    others, _ = await pair(client)
    assert await me(client, others) == 200

    assert (await change_password(client, mine)).status_code == 204

    assert (await me(client, mine), await me(client, others)) == (200, 401)
    assert (await refresh(client, renewing)).status_code == 200
    assert (await sign_in(client)).status_code == 401
    assert (await sign_in(client, OTHER)).status_code == 200


async def test_the_own_password_needs_the_old_one_and_guesses_are_counted(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    await made(client)
    access, _ = await pair(client)
    tries = app.state.settings.sign_in_attempts_per_minute

    answers = [await change_password(client, access, old="not this one") for _ in range(tries)]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "password_wrong")}
    assert (await change_password(client, access)).status_code == 429
    assert (await sign_in(client)).status_code == 200


async def test_a_new_password_is_held_to_the_rules_of_the_role(client: httpx.AsyncClient) -> None:
    await made(client, role="admin")
    access, _ = await pair(client)

    for new, code in (("x1y2z3w4v5u", "password_length"), ("qwertyuiop123", None), ("password1234", "password_common")):
        answer = await change_password(client, access, new=new)
        if code is not None:
            assert (answer.status_code, answer.json()["code"]) == (422, code)
            assert answer.json()["errors"][0]["pointer"] == "/new_password"
            assert new not in answer.text


async def test_a_key_has_no_password_to_change(client: httpx.AsyncClient) -> None:
    key = (await create_key(client, node=TOWN, scopes=["alerts:read"])).json()["key"]

    answer = await change_password(client, key)

    assert (answer.status_code, answer.json()["code"]) == (403, "account_needed")


async def test_a_reset_ends_sign_ins_and_the_password_and_gives_a_code(
    client: httpx.AsyncClient, database: Database
) -> None:
    path = await made(client)
    access, renewing = await pair(client)
    assert await me(client, access) == 200

    answer = await client.post(f"{path}/reset", headers=ADMIN)

    assert answer.status_code == 200
    assert answer.json()["has_password"] is False
    assert await me(client, access) == 401
    assert (await refresh(client, renewing)).status_code == 401
    assert (await sign_in(client)).status_code == 401
    assert await rows(database, Mark) == []
    opened = await client.post("/v1/auth/enrol", json={"code": answer.json()["code"], "password": OTHER})
    assert opened.status_code == 200
    assert (await sign_in(client, OTHER)).status_code == 200


async def test_an_enabled_account_signs_in_and_its_old_sign_ins_stay_ended(client: httpx.AsyncClient) -> None:
    path = await made(client)
    access, renewing = await pair(client)
    await client.post(f"{path}/disable", headers=ADMIN)
    assert (await client.post(f"{path}/code", headers=ADMIN)).json()["code"] == "account_disabled"

    answer = await client.post(f"{path}/enable", headers=ADMIN)

    assert (answer.status_code, answer.json()["disabled_at"]) == (200, None)
    assert await me(client, access) == 401
    assert (await refresh(client, renewing)).status_code == 401
    assert (await sign_in(client)).status_code == 200
    assert (await client.post(f"{path}/enable", headers=ADMIN)).json() == answer.json()
    assert (await sign_in(client)).status_code == 200


async def test_another_role_and_another_office_hold_at_once_on_open_sign_ins(client: httpx.AsyncClient) -> None:
    path = await made(client, role="reporter")
    access, _ = await pair(client)
    said = (await client.get("/v1/me", headers=bearer(access))).json()
    assert (said["role"], said["node"]) == ("reporter", TOWN)

    answer = await client.patch(path, json={"role": "desk", "node": VILLAGE}, headers=ADMIN)

    assert answer.status_code == 200
    assert (answer.json()["role"], answer.json()["node"], answer.json()["has_password"]) == ("desk", VILLAGE, True)
    said = (await client.get("/v1/me", headers=bearer(access))).json()
    assert (said["role"], said["node"], said["path"]) == ("desk", VILLAGE, [CITY, TOWN, VILLAGE])


async def test_a_password_too_short_for_the_new_role_is_forgotten_and_the_sign_in_stays(
    client: httpx.AsyncClient,
) -> None:
    body = {"username": USERNAME, "node": TOWN, "role": "reporter", "password": "short-8c"}
    path = f"/v1/accounts/{(await client.post('/v1/accounts', json=body, headers=ADMIN)).json()['id']}"
    access = (await sign_in(client, "short-8c")).json()["access_token"]

    answer = await client.patch(path, json={"role": "admin"}, headers=ADMIN)

    assert answer.json()["has_password"] is False
    assert await me(client, access) == 200
    assert (await sign_in(client, "short-8c")).status_code == 401


@pytest.mark.parametrize(
    ("node", "role"), [(CITY, "reporter"), (FAR_VILLAGE, "reporter"), (OTHER_CITY_VILLAGE, "reporter")]
)
async def test_an_account_is_moved_within_the_own_subtree_only(
    client: httpx.AsyncClient, as_: As, node: str, role: str
) -> None:
    path = await made(client, node=VILLAGE, role=role)

    answer = await client.patch(path, json={"node": node}, headers=as_(TOWN, "admin"))

    assert (answer.status_code, answer.json()["code"]) == (422, "node_unknown")
    elsewhere = await made(client, node=FAR_VILLAGE, username="far-away")
    for act in ("disable", "enable", "code", "reset"):
        assert (await client.post(f"{elsewhere}/{act}", headers=as_(TOWN, "admin"))).status_code == 404
    assert (await client.patch(elsewhere, json={"node": TOWN}, headers=as_(TOWN, "admin"))).status_code == 404


async def test_nobody_changes_those_who_may_do_more_or_gives_more_than_they_have(client: httpx.AsyncClient) -> None:
    key = (await create_key(client, node=CITY, scopes=["accounts:admin", "reports:read"])).json()["key"]
    path = await made(client, role="admin")
    lower = await made(client, username="lower-one", role="reporter")

    for act in ("disable", "enable", "code", "reset"):
        answer = await client.post(f"{path}/{act}", headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "scopes_too_wide"), act
    for target in (path, lower):
        answer = await client.patch(target, json={"role": "desk"}, headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "scopes_too_wide")


async def test_nobody_changes_the_own_account_this_way(client: httpx.AsyncClient) -> None:
    path = await made(client, role="admin", node=CITY)
    access, _ = await pair(client)

    answers = [await client.post(f"{path}/{act}", headers=bearer(access)) for act in ("disable", "code", "reset")]
    answers.append(await client.patch(path, json={"role": "reporter"}, headers=bearer(access)))

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "account_self")] * 4


async def test_every_change_is_logged_with_a_username_and_no_secret(
    client: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    with everything_logged():
        path = await made(client)
        access, _ = await pair(client)
        await change_password(client, access)
        await client.patch(path, json={"role": "reporter", "node": VILLAGE}, headers=ADMIN)
        codes = [(await client.post(f"{path}/{act}", headers=ADMIN)).json()["code"] for act in ("code", "reset")]
        await client.post(f"{path}/disable", headers=ADMIN)
        await client.post(f"{path}/enable", headers=ADMIN)

    logged = "".join(capfd.readouterr())
    lines = [line for line in logged.splitlines() if "account changed" in line]
    done = ("created", "given a password", "moved", "another role", "given a code", "reset", "disabled", "enabled")
    assert len(lines) == len(done)
    for line, did in zip(lines, done, strict=True):
        assert did in line
        assert USERNAME in line
    for secret in (PASSWORD, OTHER, access, *codes, *(code.replace("-", "") for code in codes)):
        assert secret not in logged


async def test_a_key_expires_and_shows_its_last_use(
    client: httpx.AsyncClient, app: FastAPI, database: Database, clock: ManualClock
) -> None:
    until = clock.now() + timedelta(hours=1)
    body = {"node": TOWN, "scopes": ["alerts:read"], "label": "gateway", "expires_at": until.isoformat()}
    answer = await client.post("/v1/keys", json=body, headers=ADMIN)
    key = answer.json()["key"]
    assert answer.json()["last_used_at"] is None
    first = clock.now()
    assert await me(client, key) == 200
    clock.advance(timedelta(seconds=59))
    assert await me(client, key) == 200

    await app.state.callers.key_use.flush(database)
    assert [row.last_used_at for row in await rows(database, ApiKey)] == [first]
    clock.advance(timedelta(seconds=1))
    assert await me(client, key) == 200
    await app.state.callers.key_use.flush(database)
    listed = (await client.get("/v1/keys", headers=ADMIN)).json()["items"]
    assert listed[0]["last_used_at"] == "2018-08-20T04:16:00Z"

    clock.advance(timedelta(hours=1))
    assert await me(client, key) == 401
    late = await client.post("/v1/keys", json=body, headers=ADMIN)
    assert (late.status_code, late.json()["code"]) == (422, "expiry_past")


async def test_a_refresh_token_is_extended_by_use(client: httpx.AsyncClient, clock: ManualClock) -> None:
    await made(client)
    _, renewing = await pair(client)

    for _ in range(6):
        clock.advance(timedelta(days=29))
        answer = await refresh(client, renewing)
        assert answer.status_code == 200
        renewing = answer.json()["refresh_token"]
