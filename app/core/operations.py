"""What those who run a server ask it."""

import contextlib

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from app.core import metrics, migrate, problems
from app.core.database import DatabaseAway, Reading
from app.core.errors import Problem
from app.core.networks import is_within

router = APIRouter(tags=["operations"])


class Status(BaseModel):
    """The answer of a server that is well."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: str = "ok"


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> Status:
    """Asks nothing of the database: a server is not restarted because the database is away."""
    return Status()


@router.get(
    "/readyz",
    summary="Whether requests can be served",
    responses={503: {"description": "`database_away` or `schema_behind`: send requests elsewhere."}},
)
async def readyz(conn: Reading) -> Status:
    """The database answers and has every revision that this server knows."""
    found = await migrate.applied(conn)
    if migrate.is_behind(found):
        raise Problem(problems.SCHEMA_BEHIND, found=found or "0", wanted=migrate.head())
    return Status()


@router.get("/metrics", summary="Counters for Prometheus", response_class=Response)
async def read_metrics(request: Request) -> Response:
    """Text format 0.0.4. Answered to the networks of `BEACON_METRICS_FROM` (default: loopback), 404 to others."""
    client = request.client.host if request.client else ""
    if not is_within(client, request.app.state.settings.metrics_from):
        raise Problem(problems.NOT_FOUND)
    for collect in getattr(request.app.state, "collectors", ()):
        with contextlib.suppress(DatabaseAway):
            await collect(request.app)
    return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
