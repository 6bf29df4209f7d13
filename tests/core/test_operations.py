from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import Gauge

from app.core import errors, metrics, migrate, operations
from app.core.database import Database, DatabaseAway
from app.core.settings import Settings

pytestmark = pytest.mark.anyio

READY = Gauge("beacon_test_offices", "Set by a collector.", multiprocess_mode="mostrecent")


def small_app(url: str) -> FastAPI:
    app = FastAPI()
    app.state.settings = Settings(database_url=url)
    app.state.database = Database(url)
    errors.install(app)
    app.include_router(operations.router)
    return app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    found = small_app(f"sqlite+aiosqlite:///{tmp_path / 'small.db'}")
    yield found
    await found.state.database.close()


async def ask(app: FastAPI, path: str, host: str = "127.0.0.1") -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(host, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as client:
        return await client.get(path)


async def test_a_migrated_database_makes_a_server_ready(app: FastAPI) -> None:
    await migrate.upgrade_async(app.state.settings.database_url)

    answer = await ask(app, "/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_database_without_tables_does_not(app: FastAPI) -> None:
    answer = await ask(app, "/readyz")

    assert answer.status_code == 503
    assert answer.json()["code"] == "schema_behind"
    assert "beacon db upgrade" in answer.json()["detail"]


async def test_a_schema_that_a_newer_server_brought_keeps_this_one_ready(app: FastAPI) -> None:
    await migrate.upgrade_async(app.state.settings.database_url)
    async with app.state.database.writing() as conn:
        await conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    assert (await ask(app, "/readyz")).status_code == 200


async def test_without_a_database_a_server_is_alive_but_not_ready() -> None:
    app = small_app("postgresql+asyncpg://nobody@127.0.0.1:9/none")

    ready, alive = await ask(app, "/readyz"), await ask(app, "/healthz")

    assert (ready.status_code, ready.json()["code"]) == (503, "database_away")
    assert ready.headers["retry-after"]
    assert alive.status_code == 200


@pytest.mark.parametrize(
    ("metrics_from", "host", "status"),
    [
        ("127.0.0.0/8,::1/128", "127.0.0.1", 200),
        ("127.0.0.0/8,::1/128", "::1", 200),
        ("127.0.0.0/8,::1/128", "::ffff:127.0.0.1", 200),
        ("127.0.0.0/8,::1/128", "10.0.0.5", 404),
        ("10.0.0.0/24", "10.0.0.5", 200),
        ("10.0.0.0/24", "127.0.0.1", 404),
        ("", "127.0.0.1", 404),
        ("127.0.0.0/8", "not-an-address", 404),
    ],
)
async def test_metrics_are_for_the_named_networks(app: FastAPI, metrics_from: str, host: str, status: int) -> None:
    app.state.settings = Settings(metrics_from=metrics_from)

    assert (await ask(app, "/metrics", host)).status_code == status


async def test_a_collector_brings_its_gauges_up_to_date(app: FastAPI) -> None:
    async def collect(_app: FastAPI) -> None:
        READY.set(12)

    metrics.collect_with(app, collect)
    answer = await ask(app, "/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "beacon_test_offices 12.0" in answer.text


async def test_metrics_are_answered_while_the_database_is_away(app: FastAPI) -> None:
    async def collect(_app: FastAPI) -> None:
        raise DatabaseAway

    metrics.collect_with(app, collect)

    assert (await ask(app, "/metrics")).status_code == 200
