"""What a server counts of itself; Prometheus reads it at /metrics."""

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
)
from prometheus_client.registry import Collector

# Set by app.core.serving when several processes serve: they count into files there, and each answers for all.
SHARED = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Counter("beacon_requests", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "beacon_request_seconds",
    "Time to answer; without event streams and requests that wait on purpose.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
IN_FLIGHT = Gauge("beacon_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
STREAMS = Gauge("beacon_streams_open", "Event streams open.", multiprocess_mode="livesum")

Refresh = Callable[[FastAPI], Awaitable[None]]


def collect_with(app: FastAPI, collector: Refresh) -> None:
    """Have `collector` bring its gauges up to date each time /metrics is read.

    A package declares its gauges with `multiprocess_mode="mostrecent"` and hands over a function that sets them:

        OPEN = Gauge("beacon_alerts_open", "Alerts not closed.", ["city"], multiprocess_mode="mostrecent")

        async def collect(app: FastAPI) -> None:
            async with app.state.database.reading() as conn:
                ...
                OPEN.labels(city_id).set(count)

    While the database is away the gauges keep their last values.
    """
    if not hasattr(app.state, "collectors"):
        app.state.collectors = []
    app.state.collectors.append(collector)


class _Shared(Collector):
    """What all processes that serve together have counted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """The library's own collector fails on a file that a process has just made and written nothing to."""
        files = [str(file) for file in self._directory.glob("*.db") if _is_begun(file)]
        found: Iterable[Metric] = multiprocess.MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found


def _is_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        # Of a process that has ended since.
        return False


def exposition() -> bytes:
    """All metrics in Prometheus' text format 0.0.4, of all processes that serve together."""
    shared = os.environ.get(SHARED)
    if not shared:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(_Shared(Path(shared)))
    return generate_latest(registry)
