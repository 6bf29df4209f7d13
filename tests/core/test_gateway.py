from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from prometheus_client import REGISTRY
from pydantic import BaseModel
from starlette.types import Message
from structlog.testing import capture_logs

from app.core import errors
from app.core.gateway import Gateway
from app.core.logs import request_id
from app.core.settings import Settings

pytestmark = pytest.mark.anyio

TYPED = "张三 typed this"


class Note(BaseModel):
    text: str


class Ticks:
    """A clock that a handler moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def small_app(ticks: Ticks) -> FastAPI:
    app = FastAPI()
    errors.install(app)

    @app.get("/notes/{key}")
    async def read(key: str) -> dict[str, str | None]:
        return {"key": key, "request_id": request_id.get()}

    @app.post("/notes")
    async def write(note: Note) -> Note:
        return note

    @app.post("/v1/reports/batch")
    async def batch(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/kept")
    async def kept() -> StreamingResponse:
        return StreamingResponse(iter([b"x"]), headers={"Cache-Control": "private, no-cache"})

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            yield f"open {sample('beacon_streams_open')}"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/slow")
    async def slow(wait: int = 0) -> None:
        ticks.now += 2.0

    @app.get("/broken")
    async def broken() -> None:
        raise ValueError(TYPED)

    settings = Settings(body_limit_bytes=1024, batch_limit_bytes=4096)
    app.add_middleware(Gateway, settings=settings, monotonic=ticks)
    return app


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def client(ticks: Ticks) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(small_app(ticks), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://beacon.test") as found:
        yield found


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 100


async def test_every_answer_carries_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    first = await client.get("/notes/1")
    second = await client.get("/notes/1")

    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.json()["request_id"] == first.headers["x-request-id"]


async def test_a_sound_request_id_is_echoed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/notes/1", headers={"X-Request-ID": "gateway-7.a_B"})

    assert answer.headers["x-request-id"] == "gateway-7.a_B"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "id\tid", "<script>"])
async def test_an_unsound_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/notes/1", headers={"X-Request-ID": given})

    assert answer.headers["x-request-id"] not in ("", given)


@pytest.mark.parametrize("path", ["/notes/1", "/nowhere", "/broken"])
async def test_no_answer_is_sniffed_or_stored(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_route_says_itself_what_may_be_stored(client: httpx.AsyncClient) -> None:
    answer = await client.get("/kept")

    assert answer.headers.get_list("cache-control") == ["private, no-cache"]


async def test_a_body_that_says_it_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/notes", content=b"x" * 1025, headers={"Accept-Language": "zh-CN"})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "body_too_large"
    assert "1024" in answer.json()["detail"]
    assert answer.headers["x-request-id"]


async def test_a_body_that_becomes_too_large_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/notes", content=pieces(11), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


async def test_a_body_up_to_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    text = "x" * (1024 - len('{"text":""}'))

    answer = await client.post("/notes", content=f'{{"text":"{text}"}}', headers={"Content-Type": "application/json"})

    assert answer.status_code == 200


async def test_a_path_may_have_a_limit_of_its_own(client: httpx.AsyncClient) -> None:
    taken = await client.post("/v1/reports/batch", content=b"x" * 4096)
    streamed = await client.post("/v1/reports/batch", content=pieces(40))
    refused = await client.post("/v1/reports/batch", content=b"x" * 4097)

    assert (taken.status_code, taken.json()) == (200, {"bytes": 4096})
    assert streamed.json() == {"bytes": 4000}
    assert refused.status_code == 413


async def test_requests_are_counted_by_template_not_by_path(client: httpx.AsyncClient) -> None:
    labels = {"route": "/notes/{key}", "method": "GET", "status": "200"}
    before = sample("beacon_requests_total", **labels)

    await client.get("/notes/1")
    await client.get("/notes/2")

    assert sample("beacon_requests_total", **labels) == before + 2


async def test_what_no_route_takes_is_one_series(client: httpx.AsyncClient) -> None:
    labels = {"route": "unmatched", "method": "other", "status": "404"}
    before = sample("beacon_requests_total", **labels)

    await client.request("BREW", "/a")
    await client.request("PROPFIND", "/b")

    assert sample("beacon_requests_total", **labels) == before + 2


async def test_a_stream_is_counted_while_it_is_open_and_not_timed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/stream")

    assert answer.text == "open 1.0"
    assert sample("beacon_streams_open") == 0
    assert sample("beacon_requests_in_flight") == 0
    assert sample("beacon_request_seconds_count", route="/stream", method="GET") == 0


async def test_a_refused_request_is_one_line_without_what_was_asked(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/nowhere/370783108201?q=secret")
        await client.get("/notes/1")

    assert [(line["event"], line["route"], line["status"]) for line in lines] == [("request", "unmatched", 404)]
    assert "secret" not in str(lines)
    assert "370783108201" not in str(lines)


async def test_a_slow_answer_is_a_line_and_a_long_poll_is_not(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        await client.get("/slow")
        await client.get("/slow?wait=5")

    assert [(line["route"], line["ms"]) for line in lines] == [("/slow", 2000.0)]


async def test_a_failure_is_answered_with_its_id_and_without_what_was_typed(client: httpx.AsyncClient) -> None:
    with capture_logs() as lines:
        answer = await client.get("/broken", headers={"X-Request-ID": "abc"})

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert answer.headers["x-request-id"] == "abc"
    assert [line["event"] for line in lines] == ["failure", "request"]
    assert TYPED not in answer.text + str(lines)


async def test_a_client_that_goes_while_sending_is_no_failure(ticks: Ticks) -> None:
    labels = {"route": "/v1/reports/batch", "method": "POST", "status": "499"}
    before = sample("beacon_requests_total", **labels)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/reports/batch", "query_string": b"", "headers": []}
    with capture_logs() as lines:
        await small_app(ticks)(scope, receive, send)

    assert sent == []
    assert [line["event"] for line in lines] == ["request"]
    assert sample("beacon_requests_total", **labels) == before + 1
