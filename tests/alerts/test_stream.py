"""Server-sent events and a graceful stop, over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.builders import CITY, EXTREME, TOWN, URGENT, VILLAGE, report
from tests.processes import serving

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def sse(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream."""
    found: dict[str, Any] = {}
    async for line in lines:
        if not line:
            if "event" in found:
                yield found
            found = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            found[name] = json.loads(value) if name == "data" else value


async def test_a_stream_gives_every_event_resumes_and_ends_when_the_server_stops(database_url: str, as_: As) -> None:
    with serving(database_url, BEACON_STREAM_PING_SECONDS="0.3") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            reporter = as_(VILLAGE, "reporter")
            await client.post("/v1/reports", json=report(**URGENT), headers=reporter)

            async with client.stream("GET", "/v1/alerts/stream", headers=as_(CITY, "desk")) as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                events = sse(stream.aiter_lines())
                first = await anext(events)
                await client.post("/v1/reports", json=report(**EXTREME), headers=reporter)
                second = await anext(events)
                while second["event"] == "heartbeat":
                    second = await anext(events)
            assert [first["event"], second["event"]] == ["alert.raised", "alert.upgraded"]
            assert second["data"]["alert"]["level"] == "red"

            resumed = as_(TOWN, "desk") | {"Last-Event-ID": first["id"]}
            async with client.stream("GET", "/v1/alerts/stream?since=", headers=resumed) as stream:
                events = sse(stream.aiter_lines())
                again = await anext(events)
                beat = await anext(events)
                stopping = asyncio.create_task(asyncio.to_thread(server.terminate, timeout=10))
                async for _ in events:
                    pass
            assert again["data"] == second["data"]
            assert beat["event"] == "heartbeat"
            assert beat["data"]["server_time"]
            assert await stopping in (0, -15)
