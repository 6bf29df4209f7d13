from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from app.alerts.models import AlertSighting
from app.core.database import Database
from tests.builders import CITY, EXTREME, TOWN, VILLAGE, report
from tests.core.everyroute import OPEN_TO_ALL, ways

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
LARGE = str(8 * 1024 * 1024)
READ_JSON = {"Content-Type": "application/json"}


class Body:
    """A body that notes whether any of it was asked for."""

    def __init__(self) -> None:
        self.is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_read = True
        yield b"{}"


@pytest.mark.parametrize("size", [{"Content-Length": LARGE}, {}], ids=["announced", "chunked"])
async def test_who_has_not_signed_in_is_refused_before_the_body_is_read(
    client: httpx.AsyncClient, app: FastAPI, size: dict[str, str]
) -> None:
    for way in ways(app, "/v1"):
        if way.template in OPEN_TO_ALL or way.method in ("GET", "HEAD"):
            continue
        body = Body()

        answer = await client.request(way.method, way.path, content=body, headers={**READ_JSON, **size})

        assert (answer.status_code, body.is_read) == (401, False), way
        assert answer.headers["connection"] == "close"


async def test_who_may_not_is_refused_before_the_body_is_read(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    refused = 0
    for way in ways(app, "/v1"):
        headers = as_(CITY, "reporter")
        if (
            way.method in ("GET", "HEAD")
            or (await client.request(way.method, way.path, headers=headers)).status_code != 403
        ):
            continue
        body = Body()

        answer = await client.request(way.method, way.path, content=body, headers={**headers, **READ_JSON})

        assert (answer.status_code, body.is_read) == (403, False), way
        assert answer.headers["connection"] == "close"
        refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"Content-Length": "100000000"}, 413),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/xml"}, 415),
    ],
)
async def test_what_is_too_large_or_of_another_kind_is_refused_before_it_is_read(
    client: httpx.AsyncClient, app: FastAPI, as_: As, wrong: dict[str, str], status: int
) -> None:
    checked = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if not {"application/json", "application/x-www-form-urlencoded"} & set(content):
                continue
            body, checked = Body(), checked + 1
            (kind,) = content
            headers = {**as_(CITY, "admin"), "Content-Type": kind, **wrong}

            answer = await client.request(method, path.replace("{", "").replace("}", ""), content=body, headers=headers)

            assert (answer.status_code, body.is_read) == (status, False), (method, path)
            assert answer.json()["code"] in ("body_too_large", "media_type_unsupported", "body_compressed")
            assert answer.headers["connection"] == "close"
    assert checked > 25


@pytest.mark.parametrize("kind", [None, "", "application/json; charset=utf-8", "application/vnd.a+json"])
async def test_a_body_without_a_type_is_read_as_json(client: httpx.AsyncClient, as_: As, kind: str | None) -> None:
    headers = as_(CITY, "admin") | ({} if kind is None else {"Content-Type": kind})

    answer = await client.post("/v1/drills", content=b'{"title": "test", "pace": 1}', headers=headers)

    assert answer.status_code == 201, answer.text


async def test_head_answers_as_get_without_a_body(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    headers = as_(CITY, "admin")
    own = {way.template for way in ways(app) if way.method == "HEAD"}
    for way in ways(app):
        if way.method != "GET" or way.template in own or way.template.endswith("/stream"):
            continue
        got = await client.get(way.path, headers=headers)

        answer = await client.head(way.path, headers=headers)

        assert (answer.status_code, answer.content) == (got.status_code, b""), way
        assert answer.headers["content-type"] == got.headers["content-type"]


async def test_head_opens_nothing_and_tells_nobody(
    client: httpx.AsyncClient, app: FastAPI, database: Database, as_: As
) -> None:
    made = (await client.post("/v1/reports", json=report(**EXTREME), headers=as_(VILLAGE, "reporter"))).json()
    paths = ("/v1/alerts", "/v1/alerts/changes", f"/v1/alerts/{made['alert_id']}", f"/v1/reports/{made['id']}")

    async def told() -> tuple[set[str], int]:
        await app.state.sightings.flush(database)
        async with database.reading() as conn:
            carried = (await conn.execute(select(func.count()).select_from(AlertSighting))).scalar_one()
        # A machine that reads it opens nothing.
        shown = (await client.get(f"/v1/reports/{made['id']}", headers=as_(VILLAGE, "reporter"))).json()
        return {held["state"] for held in shown["custody"] if held["node"] == TOWN}, carried

    for path in paths:
        assert (await client.head(path, headers=as_(TOWN, "desk"))).status_code == 200
    asked = await told()
    for path in paths:
        await client.get(path, headers=as_(TOWN, "desk"))

    assert asked == ({"received"}, 0)
    assert await told() == ({"opened"}, 1)


async def test_head_of_a_stream_ends(client: httpx.AsyncClient, as_: As) -> None:
    answer = await client.head("/v1/alerts/stream", headers=as_(CITY, "admin"))

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_wrong_method_is_told_all_that_the_address_takes(client: httpx.AsyncClient, app: FastAPI) -> None:
    by_template: dict[str, set[str]] = {}
    for way in ways(app):
        by_template.setdefault(way.template, set()).add(way.method)
    for way in ways(app):
        answer = await client.request("TRACE", way.path)

        allowed = set(answer.headers["allow"].split(", "))
        assert answer.status_code == 405
        assert by_template[way.template] <= allowed, way
        assert ("HEAD" in allowed) or ("GET" not in allowed)


async def test_nothing_redirects(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    for way in ways(app):
        if way.path == "/":
            continue
        answer = await client.request(way.method, way.path + "/", headers=as_(CITY, "admin") | {"Host": "evil.test"})

        assert answer.status_code == 404, way
        assert "location" not in answer.headers


async def test_a_repeated_parameter_means_any_of_where_it_says_so_and_is_refused_elsewhere(
    client: httpx.AsyncClient, app: FastAPI, as_: As
) -> None:
    checked = 0
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] != "query":
                    continue
                schema = str(parameter["schema"])
                name, checked = parameter["name"], checked + 1
                asked = path.replace("{", "").replace("}", "")

                answer = await client.request(
                    method, asked, params=[(name, "a"), (name, "b")], headers=as_(CITY, "admin")
                )

                is_refused = answer.status_code == 400 and answer.json()["code"] == "query_repeated"
                assert is_refused != ("'array'" in schema), (method, path, name)
    assert checked > 60


async def test_a_path_with_bytes_that_no_id_has_is_of_nothing(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    for way in ways(app, "/v1"):
        if "{" in way.template:
            for wrong in ("%00", "a%00b", "%0a", "%7f", "%e2%80%ae", "%ff", "%ed%a0%80", "x" * 5000):
                path = way.path.replace("01655482-2580-7000-8000-52b8a1d0c3e4", wrong)

                answer = await client.request(way.method, path, headers=as_(CITY, "admin"))

                assert answer.status_code in (400, 404, 411, 422, 428), (way, wrong, answer.text)
