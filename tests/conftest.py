import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

import httpx
import hypothesis
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, select

from app.accounts.models import Account, Token
from app.accounts.tokens import digest
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.core.migrate import upgrade
from app.core.settings import Settings
from app.main import create_app
from app.nodes.models import City, Node, NodeSpan
from tests.bed import postgres
from tests.bed.reused import KEEP, Databases
from tests.builders import CITY, NOON, TREE, VILLAGE

# No test depends on how fast the machine is.
hypothesis.settings.register_profile("beacon", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("beacon")

OPENED = date(2000, 1, 1)
ROLES = ("reporter", "desk", "supervisor", "admin")
FAR_FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


class NewDatabase(Protocol):
    """Makes one more database like the test's own; answers its URL."""

    def __call__(self) -> str: ...


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def token_of(node: str, role: str) -> str:
    """The access token that the template holds for this role at this node."""
    return f"bt_{role}-{node}"


async def seed(url: str) -> None:
    """Fill an upgraded database with the small tree, and a sign-in of every role at every office of it."""
    database = Database(url)
    cities, nodes, spans, accounts, tokens = [], [], [], [], []
    root = ""
    for code, name, tier, parent in TREE:
        if parent is None:
            root = code
            cities.append({"city_id": code, "created_at": NOON})
        common = {"code": code, "city_id": root, "tier": tier, "name": name, "parent_code": parent}
        nodes.append({**common, "opened_on": OPENED, "version": 1})
        spans.append({**common, "since": OPENED, "until": None})
        for role in ROLES:
            account = new_id()
            accounts.append(
                {
                    "id": account,
                    "username": f"{role}-{code}",
                    "password_hash": "!",
                    "role": role,
                    "node_code": code,
                    "city_id": root,
                    "created_at": NOON,
                }
            )
            tokens.append(
                {
                    "token_hash": digest(token_of(code, role)),
                    "kind": "access",
                    "account_id": account,
                    "sign_in_id": new_id(),
                    "expires_at": FAR_FUTURE,
                }
            )
    async with database.writing() as conn:
        for table, rows in ((City, cities), (Node, nodes), (NodeSpan, spans), (Account, accounts), (Token, tokens)):
            await conn.execute(insert(table), rows)
    await database.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    name = "beacon_template"
    postgres_server.create(name)
    url = postgres_server.url(name)
    upgrade(url)
    asyncio.run(seed(url))
    postgres_server.execute(KEEP, name)
    return name


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: postgres.Server, postgres_template: str) -> Databases:
    return Databases(postgres_server, postgres_template)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    url = f"sqlite+aiosqlite:///{path}"
    upgrade(url)
    asyncio.run(seed(url))
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes databases from the template; the test runs once on each kind."""
    made: list[str] = []
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")

        def make() -> str:
            path = tmp_path / f"{len(made)}.db"
            made.append(path.name)
            shutil.copy(template, path)
            return f"sqlite+aiosqlite:///{path}"

        yield make
        return
    databases: Databases = request.getfixturevalue("postgres_databases")

    def make_postgres() -> str:
        made.append(databases.take())
        return databases.server.url(made[-1])

    yield make_postgres
    for name in made:
        databases.give_back(name)


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def settings(database_url: str) -> Settings:
    # Tests run the timers' jobs themselves.
    return Settings(
        database_url=database_url, database_pool=5, feed_poll_seconds=0.2, timers_poll_seconds=0, log_level="error"
    )


@pytest.fixture
async def app(settings: Settings, clock: ManualClock) -> AsyncIterator[FastAPI]:
    application = create_app(settings, clock=clock)
    async with running(application):
        yield application


@asynccontextmanager
async def running(application: FastAPI) -> AsyncIterator[FastAPI]:
    """The application between start and stop."""
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
def database(app: FastAPI) -> Database:
    found: Database = app.state.database
    return found


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Without a sign-in; `as_` gives the headers of one."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as found:
        yield found


@pytest.fixture
def as_() -> Callable[[str, str], dict[str, str]]:
    """`headers=as_(VILLAGE, "reporter")`: the sign-in of that role at that node."""
    return lambda node, role: {"Authorization": f"Bearer {token_of(node, role)}"}


@pytest.fixture
async def revoked(
    client: httpx.AsyncClient, as_: Callable[[str, str], dict[str, str]], database: Database
) -> dict[str, str]:
    """The headers of the village's reporter, whose sign-in was revoked at noon."""
    async with database.reading() as conn:
        account = (await conn.execute(select(Account.id).where(Account.username == f"reporter-{VILLAGE}"))).scalar_one()
    answer = await client.post(f"/v1/accounts/{account}/disable", headers=as_(CITY, "admin"))
    assert answer.status_code == 200, answer.text
    return as_(VILLAGE, "reporter")
