"""Who may give whom what: accounts and keys in one's own subtree, with no scope that one lacks."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from tests.accounts.people import ADMIN, PASSWORD, USERNAME, bearer, close_node, create, create_key, me, pair
from tests.builders import CITY, FAR_VILLAGE, OTHER_CITY, OTHER_CITY_VILLAGE, TOWN, VILLAGE

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def test_a_new_account_is_shown_without_its_password(client: httpx.AsyncClient) -> None:
    answer = await create(client, node=VILLAGE, role="reporter")

    assert answer.status_code == 201
    body = answer.json()
    assert UUID(body.pop("id")).version == 7
    assert body == {
        "username": USERNAME,
        "node": VILLAGE,
        "role": "reporter",
        "created_at": "2018-08-20T04:15:00Z",
        "disabled_at": None,
        "has_password": True,
        "code": None,
        "code_expires_at": None,
    }


async def test_a_new_key_is_shown_once(client: httpx.AsyncClient) -> None:
    made = await create_key(client, node=TOWN, scopes=["alerts:read", "alerts:read", "reports:read"])

    assert made.status_code == 201
    body = made.json()
    key = body.pop("key")
    assert key.startswith("bk_")
    assert key.startswith(body["prefix"])
    assert len(body["prefix"]) < 12
    assert (body["node"], body["scopes"], body["label"]) == (TOWN, ["alerts:read", "reports:read"], "gateway")
    listed = await client.get("/v1/keys", headers=ADMIN)
    assert listed.json() == {"items": [body], "next": None}
    assert key not in listed.text


async def test_a_wrong_account_is_refused_where_it_is_wrong(client: httpx.AsyncClient) -> None:
    changes = {
        "/password": ["x" * 9, "x" * 257],
        "/role": ["mayor"],
        "/username": ["Upper", "ab", "a\nb"],
        "/node": ["\0", "370783999999"],
        "/phone": ["1"],
    }
    for pointer, values in changes.items():
        for value in values:
            body = {"username": USERNAME, "node": TOWN, "role": "desk", "password": PASSWORD} | {pointer[1:]: value}

            answer = await client.post("/v1/accounts", json=body, headers=ADMIN)

            assert answer.status_code == 422, body
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
            assert body["password"] not in answer.text


async def test_a_wrong_key_is_refused_where_it_is_wrong(client: httpx.AsyncClient) -> None:
    changes: list[tuple[str, dict[str, Any]]] = [
        ("/scopes", {"scopes": []}),
        ("/scopes/0", {"scopes": ["everything"]}),
        ("/node", {"node": "\0"}),
        *[("/label", {"label": label}) for label in ("", "   ", "a\u202eb", "x" * 81)],
    ]
    for pointer, change in changes:
        body = {"node": TOWN, "scopes": ["alerts:read"], "label": "gateway"} | change

        answer = await client.post("/v1/keys", json=body, headers=ADMIN)

        assert answer.status_code == 422, body
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_username_is_given_once(client: httpx.AsyncClient) -> None:
    await create(client, node=TOWN)

    answer = await create(client, node=VILLAGE)

    assert (answer.status_code, answer.json()["code"]) == (409, "username_taken")
    items = (await client.get("/v1/accounts", params={"limit": 500}, headers=ADMIN)).json()["items"]
    assert [item["node"] for item in items if item["username"] == USERNAME] == [TOWN]


async def test_only_admins_give_sign_ins(client: httpx.AsyncClient, as_: As) -> None:
    for role in ("reporter", "desk", "supervisor"):
        headers = as_(CITY, role)

        answers = [
            await create(client, node=VILLAGE, role="reporter", headers=headers),
            await create_key(client, node=VILLAGE, scopes=["reports:read"], headers=headers),
            await client.get("/v1/accounts", headers=headers),
            await client.get("/v1/keys", headers=headers),
        ]

        assert [answer.status_code for answer in answers] == [403] * 4, role


async def test_nobody_gives_sign_ins_outside_the_own_subtree(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(TOWN, "admin")

    for node in (CITY, FAR_VILLAGE, OTHER_CITY_VILLAGE):
        for answer in (
            await create(client, node=node, role="reporter", headers=headers),
            await create_key(client, node=node, scopes=["reports:read"], headers=headers),
        ):
            assert (answer.status_code, answer.json()["code"]) == (422, "node_unknown"), node
    assert (await create(client, node=VILLAGE, role="admin", headers=headers)).status_code == 201


async def test_nobody_gives_scopes_that_he_lacks(client: httpx.AsyncClient) -> None:
    narrow = (await create_key(client, node=CITY, scopes=["accounts:admin", "alerts:read"])).json()["key"]

    too_wide = [
        await create(client, node=VILLAGE, role="reporter", headers=bearer(narrow)),
        await create_key(client, node=VILLAGE, scopes=["alerts:read", "alerts:act"], headers=bearer(narrow)),
    ]
    fits = await create_key(client, node=VILLAGE, scopes=["alerts:read"], headers=bearer(narrow))

    assert [(answer.status_code, answer.json()["code"]) for answer in too_wide] == [(403, "scopes_too_wide")] * 2
    assert "alerts:act" in too_wide[1].json()["detail"]
    assert "alerts:read" not in too_wide[1].json()["detail"]
    assert fits.status_code == 201


async def test_nobody_disables_those_who_may_do_more(client: httpx.AsyncClient) -> None:
    account = (await create(client, node=TOWN, role="desk")).json()["id"]
    access, _ = await pair(client)
    narrow = (await create_key(client, node=CITY, scopes=["accounts:admin"])).json()["key"]

    answer = await client.post(f"/v1/accounts/{account}/disable", headers=bearer(narrow))

    assert (answer.status_code, answer.json()["code"]) == (403, "scopes_too_wide")
    assert await me(client, access) == 200


async def test_nobody_disables_himself(client: httpx.AsyncClient) -> None:
    account = (await create(client, node=TOWN, role="admin")).json()["id"]
    access, _ = await pair(client)

    answer = await client.post(f"/v1/accounts/{account}/disable", headers=bearer(access))

    assert (answer.status_code, answer.json()["code"]) == (409, "account_self")
    assert await me(client, access) == 200


async def test_sign_ins_outside_the_own_subtree_do_not_exist(client: httpx.AsyncClient, as_: As) -> None:
    account = (await create(client, node=FAR_VILLAGE)).json()["id"]
    key = (await create_key(client, node=FAR_VILLAGE, scopes=["alerts:read"])).json()

    for headers in (as_(TOWN, "admin"), as_(OTHER_CITY, "admin")):
        answers = [
            await client.post(f"/v1/accounts/{account}/disable", headers=headers),
            await client.delete(f"/v1/keys/{key['id']}", headers=headers),
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert account not in (await client.get("/v1/accounts", params={"limit": 500}, headers=headers)).text
        assert (await client.get("/v1/keys", headers=headers)).json()["items"] == []
    assert await me(client, key["key"]) == 200


async def test_a_closed_node_gets_no_sign_ins(client: httpx.AsyncClient, database: Database) -> None:
    await close_node(database, VILLAGE, date(2018, 8, 20))

    for answer in (
        await create(client, node=VILLAGE, role="reporter"),
        await create_key(client, node=VILLAGE, scopes=["reports:read"]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "node_closed")


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/keys"])
async def test_lists_are_paged_without_loss_the_newest_first(client: httpx.AsyncClient, path: str) -> None:
    made = []
    for number in range(5):
        answer = (
            await create(client, node=TOWN, username=f"desk-{number}")
            if path == "/v1/accounts"
            else await create_key(client, node=TOWN, scopes=["alerts:read"])
        )
        made.append(answer.json()["id"])

    seen: list[str] = []
    params = {"limit": "2"}
    while True:
        page = (await client.get(path, params=params, headers=ADMIN)).json()
        assert 1 <= len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]

    assert seen[:5] == made[::-1]
    assert len(set(seen)) == len(seen)
    other = "/v1/keys" if path == "/v1/accounts" else "/v1/accounts"
    wrong = await client.get(other, params=params | {"cursor": params["cursor"]}, headers=ADMIN)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "cursor_invalid")
