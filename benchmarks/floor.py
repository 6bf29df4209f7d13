"""The yardstick with a database: the bare POST, one INSERT, one durable commit."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from sqlalchemy import JSON, Column, DateTime, Float, MetaData, String, Table, Text, Uuid, event, insert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.bare import Report, Taken

DATABASE_URL = "FLOOR_DATABASE_URL"
POOL = 10  # as Beacon by default; 5, 20 and 40 were no faster, the default with its overflow slower

_metadata = MetaData()
_reports = Table(
    "reports",
    _metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("node", String(32), nullable=False),
    Column("hazard", String(40), nullable=False),
    Column("urgency", String(10), nullable=False),
    Column("severity", String(10), nullable=False),
    Column("certainty", String(10), nullable=False),
    Column("observed_at", DateTime(timezone=True), nullable=False),
    Column("submitted_at", DateTime(timezone=True), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("summary", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("lat", Float),
    Column("lon", Float),
    Column("accuracy_m", Float),
    Column("figures", JSON, nullable=False),
    Column("incident_id", Uuid),
)


def create_app() -> FastAPI:
    """POST /reports of the bare application, stored in the database named by the environment."""
    engine = _engine(os.environ[DATABASE_URL])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as conn:
            await conn.run_sync(_metadata.create_all)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def status() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/reports", status_code=201)
    async def take(report: Report) -> Taken:
        received_at = datetime.now(UTC)
        async with engine.begin() as conn:
            await conn.execute(insert(_reports), _row(report, received_at))
        return Taken(id=report.id, received_at=received_at)

    return app


def _row(report: Report, received_at: datetime) -> dict[str, Any]:
    location = report.location
    return {
        "id": report.id,
        "kind": report.kind,
        "node": report.node,
        "hazard": report.hazard,
        "urgency": report.urgency,
        "severity": report.severity,
        "certainty": report.certainty,
        "observed_at": report.observed_at.astimezone(UTC),
        "submitted_at": report.submitted_at.astimezone(UTC),
        "received_at": received_at,
        "summary": report.summary,
        "description": report.description,
        "lat": location.lat if location else None,
        "lon": location.lon if location else None,
        "accuracy_m": location.accuracy_m if location else None,
        "figures": report.figures.model_dump(exclude_none=True),
        "incident_id": report.incident_id,
    }


def _engine(url: str) -> AsyncEngine:
    if not url.startswith("sqlite"):
        return create_async_engine(url, pool_size=POOL, max_overflow=0, pool_use_lifo=True)
    # One writer: more of them only wait for each other. The driver's own BEGIN would come too late.
    engine = create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"isolation_level": None})

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
