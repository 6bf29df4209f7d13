"""Who asks: what is remembered of it, for how long, and what ends it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import cast

import httpx
import pytest
from fastapi import FastAPI, Request
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import callers as callers_module
from app.accounts import service
from app.accounts.callers import Callers
from app.accounts.roles import ROLES
from app.core.caller import Lapse
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import Problem
from app.core.settings import Settings
from tests.accounts.people import ADMIN, asking, bearer, close_node, create, create_key, me, pair, revoke
from tests.builders import CITY, TOWN, VILLAGE
from tests.conftest import token_of

pytestmark = pytest.mark.anyio

HAND_IN = timedelta(days=7)


class Moment:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
async def elsewhere(
    app: FastAPI, settings: Settings, clock: ManualClock, moment: Moment
) -> AsyncIterator[tuple[Callers, Database]]:
    """What another process knows of the same database."""
    database = Database(settings.database_url)
    callers = Callers(database, settings=settings, clock=clock, hand_in=HAND_IN, monotonic=moment)
    database.listeners.append(callers.heard)
    yield callers, database
    await database.close()


@contextmanager
def selects(database: Database) -> Iterator[list[str]]:
    """The SELECTs that are run meanwhile."""
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    for engine in database.engines:
        event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        for engine in database.engines:
            event.remove(engine.sync_engine, "before_cursor_execute", note)


async def refusal(callers: Callers, request: Request) -> str:
    with pytest.raises(Problem) as refused:
        await callers.authenticate(request)
    assert refused.value.kind.status == 401
    assert refused.value.headers == {"WWW-Authenticate": "Bearer"}
    return refused.value.kind.code


async def test_a_caller_has_the_place_and_the_scopes_of_its_account(
    elsewhere: tuple[Callers, Database],
) -> None:
    caller = await elsewhere[0].authenticate(asking(token_of(VILLAGE, "reporter")))

    assert (caller.city_id, caller.node, caller.tier) == (CITY, VILLAGE, "village")
    assert (caller.role, caller.scopes, caller.label) == ("reporter", ROLES["reporter"], f"reporter-{VILLAGE}")
    assert caller.account_id is not None
    assert caller.key_id is None


async def test_without_a_sign_in_one_is_asked_for(client: httpx.AsyncClient) -> None:
    for header in (None, "", "Bearer", "Bearer ", "Basic YTpi", "bt_without_a_scheme"):
        answer = await client.get("/v1/me", headers={} if header is None else {"Authorization": header})

        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required"), header
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_an_unknown_token_is_refused(client: httpx.AsyncClient) -> None:
    for token in (b"garbage", b"bt_", b"bk_x", b"\xff\xfe", b"a" * 5000, b"two words"):
        answer = await client.get("/v1/me", headers={b"Authorization": b"Bearer " + token})

        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_invalid"), token
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_the_scheme_may_be_written_in_any_case(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"bEARER {token_of(TOWN, 'desk')}"}

    assert (await client.get("/v1/me", headers=headers)).status_code == 200


async def test_a_known_caller_costs_no_statement_and_an_unknown_one_a_single_select(
    elsewhere: tuple[Callers, Database], settings: Settings, moment: Moment
) -> None:
    callers, database = elsewhere
    request = asking(token_of(TOWN, "desk"))

    with selects(database) as seen:
        first = await callers.authenticate(request)
        assert len(seen) == 1
        moment.seconds += settings.sign_in_cache_seconds - 0.1
        assert await callers.authenticate(request) is first
        assert len(seen) == 1
        moment.seconds += 0.1
        assert await callers.authenticate(request) == first
        assert len(seen) == 2


async def test_garbage_costs_one_select_each_time_and_is_not_remembered(
    elsewhere: tuple[Callers, Database],
) -> None:
    callers, database = elsewhere

    with selects(database) as seen:
        for number in range(3):
            assert await refusal(callers, asking(f"bt_garbage{number % 2}")) == "sign_in_invalid"

    assert len(seen) == 3


async def test_no_more_callers_are_remembered_than_fit(
    elsewhere: tuple[Callers, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "MOST", 3)
    callers, _ = elsewhere

    for role in ROLES:
        for node in (CITY, TOWN):
            assert (await callers.authenticate(asking(token_of(node, role)))).node == node
            assert len(callers._known) <= 3


async def test_a_revocation_is_heard_here_at_once_and_elsewhere_when_the_memory_ends(
    client: httpx.AsyncClient, elsewhere: tuple[Callers, Database], settings: Settings, moment: Moment
) -> None:
    callers, _ = elsewhere
    await create(client, node=TOWN)
    access, _ = await pair(client)
    await callers.authenticate(asking(access))
    assert await me(client, access) == 200

    await revoke(client, access)

    assert await me(client, access) == 401
    moment.seconds += settings.sign_in_cache_seconds - 0.1
    assert (await callers.authenticate(asking(access))).node == TOWN
    moment.seconds += 0.1
    assert await refusal(callers, asking(access)) == "sign_in_invalid"


async def test_a_remembered_token_still_ends_when_it_expires(
    client: httpx.AsyncClient, elsewhere: tuple[Callers, Database], clock: ManualClock, settings: Settings
) -> None:
    callers, _ = elsewhere
    await create(client, node=TOWN)
    access, _ = await pair(client)
    await callers.authenticate(asking(access))

    clock.advance(timedelta(minutes=settings.access_token_minutes))

    assert await refusal(callers, asking(access)) == "sign_in_invalid"


class Interrupted:
    """A database where something happens between a read and its use."""

    def __init__(self, database: Database, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._database, self._meanwhile = database, meanwhile

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.reading() as conn:
            yield conn
        await self._meanwhile()


async def test_what_was_read_before_a_revocation_is_not_remembered_after_it(
    client: httpx.AsyncClient, database: Database, settings: Settings, clock: ManualClock, moment: Moment
) -> None:
    await create(client, node=TOWN)
    access, _ = await pair(client)

    async def meanwhile() -> None:
        async with database.writing() as conn:
            await service.revoke(conn, token=access)

    interrupted = cast(Database, Interrupted(database, meanwhile))
    callers = Callers(interrupted, settings=settings, clock=clock, hand_in=HAND_IN, monotonic=moment)
    database.listeners.append(callers.heard)
    await callers.authenticate(asking(access))

    assert await refusal(callers, asking(access)) == "sign_in_invalid"


async def test_disabling_an_account_ends_its_sign_ins_at_once_and_for_good(client: httpx.AsyncClient) -> None:
    account = (await create(client, node=TOWN)).json()["id"]
    one, _ = await pair(client)
    two, _ = await pair(client)
    assert [await me(client, token) for token in (one, two)] == [200, 200]

    answer = await client.post(f"/v1/accounts/{account}/disable", headers=ADMIN)
    again = await client.post(f"/v1/accounts/{account}/disable", headers=ADMIN)

    assert answer.status_code == again.status_code == 200
    assert answer.json()["disabled_at"] == again.json()["disabled_at"] == "2018-08-20T04:15:00Z"
    assert [await me(client, token) for token in (one, two)] == [401, 401]


@pytest.mark.parametrize("kind", ["token", "key"])
async def test_a_sign_in_ends_on_the_day_its_node_is_closed(
    client: httpx.AsyncClient, elsewhere: tuple[Callers, Database], clock: ManualClock, moment: Moment, kind: str
) -> None:
    callers, database = elsewhere
    secret = token_of(VILLAGE, "reporter")
    if kind == "key":
        secret = (await create_key(client, node=VILLAGE, scopes=["reports:write"])).json()["key"]
    await close_node(database, VILLAGE, date(2018, 8, 21))

    assert (await callers.authenticate(asking(secret))).node == VILLAGE
    # 24:00 where the offices are, not in UTC.
    clock.advance(timedelta(hours=12) - timedelta(minutes=15))
    moment.seconds += 60
    lapsed = await callers.authenticate(asking(secret))
    assert lapsed.lapse == Lapse(datetime(2018, 8, 20, 16, tzinfo=UTC), "node_closed")
    clock.advance(HAND_IN)
    assert await refusal(callers, asking(secret)) == "sign_in_invalid"


async def test_a_key_signs_in_by_the_same_header(client: httpx.AsyncClient) -> None:
    made = (await create_key(client, node=TOWN, scopes=["alerts:read", "reports:read"])).json()

    answer = await client.get("/v1/me", headers=bearer(made["key"]))

    assert answer.status_code == 200
    body = answer.json()
    assert (body["node"], body["role"], body["label"]) == (TOWN, None, "gateway")
    assert body["scopes"] == ["alerts:read", "reports:read"]
    assert (await client.get("/v1/alerts", headers=bearer(made["key"]))).status_code == 200
    refused = await client.get("/v1/accounts", headers=bearer(made["key"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


async def test_a_revoked_key_ends_here_at_once_and_elsewhere_when_the_memory_ends(
    client: httpx.AsyncClient, elsewhere: tuple[Callers, Database], settings: Settings, moment: Moment
) -> None:
    callers, _ = elsewhere
    made = (await create_key(client, node=TOWN, scopes=["alerts:read"])).json()
    await callers.authenticate(asking(made["key"]))
    assert await me(client, made["key"]) == 200

    for _ in range(2):
        assert (await client.delete(f"/v1/keys/{made['id']}", headers=ADMIN)).status_code == 204

    assert await me(client, made["key"]) == 401
    assert (await callers.authenticate(asking(made["key"]))).node == TOWN
    moment.seconds += settings.sign_in_cache_seconds
    lapsed = await callers.authenticate(asking(made["key"]))
    assert lapsed.lapse is not None
    assert lapsed.lapse.why == "sign_in_revoked"
