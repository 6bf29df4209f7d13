import re

import httpx
import pytest
from fastapi import FastAPI

from tests.core.everyroute import ways

pytestmark = pytest.mark.anyio

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(params=["/", "/docs", "/redoc"])
def page(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def test_a_page_takes_all_it_needs_from_this_server(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page, headers=BROWSER)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', answer.text)
    assert loaded
    for url in loaded:
        assert url.startswith("/")
        asset = await client.get(url)
        assert asset.status_code == 200
        assert len(asset.content) > 50
        assert b"//cdn." not in asset.content
        again = await client.get(url, headers={"If-None-Match": asset.headers["etag"]})
        assert again.status_code == 304


async def test_no_page_has_a_script_in_it(client: httpx.AsyncClient, page: str) -> None:
    text = (await client.get(page, headers=BROWSER)).text

    assert re.findall(r"<script[^>]*>([^<]+)</script>|\son[a-z]+=|javascript:", text) == []


async def test_whatever_is_a_page_has_the_headers_that_guard_it(client: httpx.AsyncClient, app: FastAPI) -> None:
    pages = set()
    for way in ways(app):
        if way.method != "GET" or way.template.endswith("/stream"):
            continue
        answer = await client.get(way.path, headers=BROWSER)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        pages.add(way.template)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "geolocation=()" in answer.headers["permissions-policy"]
    assert {"/", "/docs", "/redoc"} <= pages


async def test_the_front_door_tells_people_and_machines_where_to_go(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    machine = await client.get("/", headers={"Accept": "*/*"})

    assert "三级灾情报告" in page.text
    assert "early warning" in page.text
    for url in (machine.json()["docs"], machine.json()["openapi"], machine.json()["health"]):
        assert (await client.get(url)).status_code == 200
    assert page.headers["vary"] == machine.headers["vary"] == "Accept"


@pytest.mark.parametrize("name", ["none.js", "..%2f..%2fcore.py", "core.py", "__init__.py"])
async def test_nothing_else_of_the_package_is_given_out(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404
