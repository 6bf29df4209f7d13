from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from tests.builders import CITY, EXTREME, TOWN, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

# What creates, and a body that it takes; a new route that answers 201 belongs here.
CREATING: dict[str, dict[str, Any]] = {
    "/v1/reports": report(),
    "/v1/accounts": {"username": "new-desk", "node": TOWN, "role": "desk", "password": "a-long-word-or-two"},
    "/v1/keys": {"node": TOWN, "scopes": ["reports:read"], "label": "board"},
    "/v1/nodes": {"code": "370783108299", "name": "新村", "tier": "village", "parent": TOWN},
    "/v1/rollcalls": {"question": "有无险情", "node": TOWN, "tiers": ["village"], "due_minutes": 30},
    "/v1/drills": {"title": "演练"},
    "/v1/webhooks": {"label": "gateway", "url": "https://93.184.216.34/hook"},
    "/v1/channels": {"label": "desk", "url": "dingtalk://quicktokentoken"},
}
# Tested with a file, in tests/attachments.
WITH_FILE = "/v1/reports/{report_id}/attachments/{name}"
# A picture of many nodes: no later call must match it.
OF_MANY = {"Tree"}


def routes(app: FastAPI) -> list[Any]:
    return [context for context in iter_route_contexts(app.routes) if isinstance(context.original_route, APIRoute)]


def has_version(model: Any) -> bool:
    fields = getattr(model, "model_fields", {})
    inner = getattr(fields["incident"].annotation, "model_fields", {}) if "incident" in fields else {}
    return "version" in fields or "version" in inner


async def test_all_that_creates_says_where(client: httpx.AsyncClient, app: FastAPI, as_: As) -> None:
    found = {context.path for context in routes(app) if context.status_code == 201}
    assert found == {*CREATING, WITH_FILE}
    for path, body in CREATING.items():
        node, role = (VILLAGE, "reporter") if path == "/v1/reports" else (CITY, "admin")

        made = await client.post(path, json=body, headers=as_(node, role))

        assert made.status_code == 201, made.text
        assert made.headers["location"] == f"{path}/{made.json().get('id') or made.json()['code']}"
        if path not in ("/v1/accounts", "/v1/keys"):
            there = await client.get(made.headers["location"], headers=as_(CITY, "admin"))
            assert there.status_code == 200, path
            assert there.headers.get("etag") == made.headers.get("etag")


async def test_every_route_that_shows_a_version_can_send_it_as_an_etag(app: FastAPI) -> None:
    showing = [context for context in routes(app) if has_version(context.response_model)]

    untagged = [
        f"{context.methods} {context.path}"
        for context in showing
        if context.response_model.__name__ not in OF_MANY
        and context.dependant.response_param_name is None
        and context.endpoint.__annotations__["return"].__name__ != "Response"
    ]

    assert untagged == []
    assert len(showing) > 18


async def test_what_a_later_call_must_match_is_the_etag(client: httpx.AsyncClient, as_: As) -> None:
    sender, desk = as_(VILLAGE, "reporter"), as_(TOWN, "desk")
    body = report(**EXTREME)
    made = await client.post("/v1/reports", json=body, headers=sender)
    again = await client.post("/v1/reports", json=body, headers=sender)
    read = await client.get(made.headers["location"], headers=sender)
    corrected = await client.put(
        made.headers["location"],
        json={**body, "summary": "【演练】水位下降"},
        headers=sender | {"If-Match": read.headers["etag"]},
    )
    alert = f"/v1/alerts/{made.json()['alert_id']}"
    incident = f"/v1/incidents/{made.json()['incident_id']}"
    answers = [
        made,
        again,
        read,
        corrected,
        await client.get(made.headers["location"], headers=desk),
        await client.get(alert, headers=desk),
        await client.post(f"{alert}/acknowledge", headers=desk),
        await client.post(f"{alert}/release", headers=desk),
        await client.post(f"{made.headers['location']}/acknowledge", headers=desk),
        await client.get(incident, headers=desk),
        await client.get(f"/v1/nodes/{VILLAGE}", headers=desk),
    ]
    assigned = await client.post(f"{incident}/assign", json={"node": TOWN}, headers=desk)

    for answer in answers:
        assert answer.headers["etag"] == f'"{answer.json()["version"]}"', answer.text
    assert (made.status_code, again.status_code, corrected.status_code) == (201, 200, 200)
    assert "location" not in again.headers
    assert corrected.headers["etag"] == '"2"'
    assert assigned.headers["etag"] == f'"{assigned.json()["incident"]["version"]}"', assigned.text


async def test_a_node_is_changed_at_the_etag_it_was_read_at(client: httpx.AsyncClient, as_: As) -> None:
    admin = as_(CITY, "admin")
    read = await client.get(f"/v1/nodes/{VILLAGE}", headers=admin)

    first = await client.patch(
        f"/v1/nodes/{VILLAGE}", json={"name": "新口子村"}, headers=admin | {"If-Match": read.headers["etag"]}
    )
    stale = await client.patch(
        f"/v1/nodes/{VILLAGE}", json={"name": "口子村"}, headers=admin | {"If-Match": read.headers["etag"]}
    )

    assert (first.status_code, stale.status_code) == (200, 412)
    assert first.headers["etag"] != read.headers["etag"]
