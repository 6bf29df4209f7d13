import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.bed.postgres import Server
from tests.builders import CITY, EXTREME, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/no/such/page", 404, "not_found"),
        ("DELETE", "/v1/reports", 405, "method_not_allowed"),
        ("GET", "/v1/reports/not-an-id", 404, "not_found"),
        ("GET", "/v1/reports/01655482-2580-7000-8000-52b8a1d0c3e4", 404, "not_found"),
        ("GET", "/v1/incidents/01655482-2580-7000-8000-52b8a1d0c3e4", 404, "not_found"),
        ("GET", "/v1/alerts/01655482-2580-7000-8000-52b8a1d0c3e4", 404, "not_found"),
        ("GET", "/v1/reports?limit=0", 400, "query_invalid"),
        ("GET", "/v1/reports?limit=501", 400, "query_invalid"),
        ("GET", "/v1/reports?since=yesterday", 400, "query_invalid"),
        ("GET", "/v1/reports?since=2018-08-20T00:00:00", 400, "query_invalid"),
        ("GET", "/v1/reports?since=0001-01-01T00:00:00%2B08:00", 400, "query_invalid"),
        ("GET", "/v1/reports?until=9999-12-31T23:59:59-08:00", 400, "query_invalid"),
        ("GET", "/v1/reports?node=%00", 400, "query_invalid"),
        ("GET", "/v1/reports?hazard=%00", 400, "query_invalid"),
        ("GET", "/v1/incidents?hazard=%00", 400, "query_invalid"),
        ("GET", "/v1/reports?level=purple", 400, "query_invalid"),
        ("GET", "/v1/reports?who=me", 400, "query_unknown"),
        ("GET", "/v1/reports?limit=5&limit=6", 400, "query_repeated"),
        ("GET", "/v1/nodes/37%00", 404, "not_found"),
        ("PATCH", "/v1/nodes/37%00", 404, "not_found"),
        ("GET", "/v1/reports/01655482-2580-7000-8000-52b8a1d0c3e4/attachments/%00", 404, "not_found"),
        ("GET", "/v1/reports/01655482-2580-7000-8000-52b8a1d0c3e4/attachments/%1b%5b", 404, "not_found"),
        ("GET", "/v1/reports/%ff%fe", 404, "not_found"),
        ("GET", "/v1/reports/", 404, "not_found"),
        ("GET", "/v1/reports?cursor=x", 400, "cursor_invalid"),
        ("GET", "/v1/incidents?cursor=x", 400, "cursor_invalid"),
        ("GET", "/v1/alerts?cursor=x", 400, "cursor_invalid"),
        ("GET", "/v1/alerts/changes?wait=31", 400, "query_invalid"),
    ],
)
async def test_every_refusal_is_a_problem_with_a_stable_code(
    client: httpx.AsyncClient, as_: As, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path, headers=as_(CITY, "admin"))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


async def test_every_route_needs_a_sign_in_and_refuses_unknown_query_parameters(
    client: httpx.AsyncClient, app: FastAPI, as_: As
) -> None:
    open_to_all = {"/v1/auth/token", "/v1/auth/refresh", "/v1/auth/revoke", "/v1/auth/enrol"}
    checked = 0
    for path, methods in app.openapi()["paths"].items():
        if not path.startswith("/v1"):
            continue
        asked = re.sub("{[^}]+}", "01655482-2580-7000-8000-52b8a1d0c3e4", path)
        for method in methods:
            unsigned = await client.request(method, asked)
            if path not in open_to_all:
                assert unsigned.status_code == 401, (method, path)
                assert unsigned.headers["www-authenticate"] == "Bearer"
            typo = await client.request(method, asked, params={"no_such": "1"}, headers=as_(CITY, "admin"))
            assert typo.status_code == 400, (method, path)
            # The answer to HEAD has no body.
            assert method == "head" or typo.json()["code"] == "query_unknown", (method, path)
            checked += 1
    assert checked >= 25


async def test_the_contract_is_published_as_openapi_31(client: httpx.AsyncClient) -> None:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()

    assert document["openapi"].startswith("3.1")
    assert {"/v1/reports", "/v1/reports/batch", "/v1/alerts", "/v1/alerts/changes", "/v1/alerts/stream"} <= set(
        document["paths"]
    )
    assert (await client.get("/docs")).status_code == 200


# A file on the same disk does not go away; what SQLite can meet, a full disk, is in test_database.
@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_when_the_database_is_away_senders_are_told_to_come_back_and_it_recovers_by_itself(
    client: httpx.AsyncClient, as_: As, postgres_server: Server
) -> None:
    headers = as_(VILLAGE, "reporter")
    body = report(**EXTREME)
    assert (await client.post("/v1/reports", json=report(), headers=headers)).status_code == 201

    postgres_server.stop()
    try:
        for attempt in (
            await client.post("/v1/reports", json=body, headers=headers),
            await client.post("/v1/reports/batch", json={"reports": [body]}, headers=headers),
            await client.get("/v1/reports", headers=headers),
        ):
            assert (attempt.status_code, attempt.json()["code"]) == (503, "database_away")
            assert int(attempt.headers["retry-after"]) > 0
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
    finally:
        postgres_server.start()

    for _ in range(5):
        answer = await client.post("/v1/reports", json=body, headers=headers)
        if answer.status_code == 201:
            break
    assert answer.status_code == 201
    assert (await client.get("/readyz")).status_code == 200
