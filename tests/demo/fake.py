import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx

from app.demo import night

NAMES = night.office_names()
URL = "http://beacon.test"
ADMIN = ("demo-admin", "beacon-exercise")
DESK = ("city-desk", "beacon-exercise")


class FakeBeacon:
    """As much of the contract as the demo touches; `before` may answer or break a request first."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.revoked: list[str] = []
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.alerts: dict[str, dict[str, Any]] = {}
        self.expire_at_poll: int | None = None
        self.silent_alerts = False
        self.polls = 0
        self.lists = 0
        self.sign_ins = 0
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self._news = asyncio.Event()

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        early = self.before(request)
        if early is not None:
            return early
        match (request.method, request.url.path.split("/")[2:]):
            case ("POST", ["auth", "token"]):
                return self._token(request)
            case ("POST", ["keys"]):
                return self._make_key(request)
            case ("DELETE", ["keys", key_id]):
                self.revoked.append(key_id)
                return httpx.Response(204)
            case ("POST", ["reports"]):
                return self._take(request)
            case ("GET", ["alerts"]):
                self.lists += 1
                return httpx.Response(
                    200, json={"items": list(self.alerts.values()), "cursor": str(len(self.log)), "next": None}
                )
            case ("GET", ["alerts", "changes"]):
                return await self._changes(int(request.url.params["since"]))
            case ("GET", ["nodes", code]):
                return httpx.Response(200, json={"code": code, "name": f"名{code}"})
            case ("GET", ["me"]):
                return httpx.Response(200, json={})
        return httpx.Response(404)

    def _token(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        self.sign_ins += 1
        if (form["username"][0], form["password"][0]) not in (ADMIN, DESK):
            return httpx.Response(401, json={"code": "credentials_wrong", "detail": "wrong"})
        return httpx.Response(200, json={"access_token": "t", "token_type": "bearer"})

    def _make_key(self, request: httpx.Request) -> httpx.Response:
        node = json.loads(request.content)["node"]
        self.keys[f"bk_{node}"] = node
        return httpx.Response(201, json={"id": f"id-{node}", "key": f"bk_{node}", "prefix": "bk_"})

    def _take(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        office = self.keys[request.headers["Authorization"].removeprefix("Bearer ")]
        self.received.append((office, body))
        if body["id"] in self.stored:
            same = self.stored[body["id"]] == body
            return httpx.Response(
                200 if same else 409, json={**body, "level": "routine", "masked": 0, "alert_id": None}
            )
        self.stored[body["id"]] = body
        urgent = body["severity"] == "Extreme"
        alert = self._raise(office, body) if urgent else None
        answer = {"level": "red" if urgent else "routine", "masked": int("13900000000" in body["description"])}
        return httpx.Response(201, json={**body, **answer, "alert_id": alert})

    def _raise(self, office: str, body: dict[str, Any]) -> str:
        alert_id = f"alert-{office}"
        known = self.alerts.get(alert_id, {"version": 0, "reports": 0})
        alert = alert_of(office, version=known["version"] + 1, reports=known["reports"] + 1, headline=body["summary"])
        self.alerts[alert_id] = alert
        if not self.silent_alerts:
            self.log.append({"type": "raised", "at": "2026-01-01T00:00:00Z", "alert": alert})
            self._news.set()
        return alert_id

    async def _changes(self, since: int) -> httpx.Response:
        self.polls += 1
        if self.polls == self.expire_at_poll:
            return httpx.Response(410, json={"code": "cursor_expired"})
        while len(self.log) <= since:
            self._news.clear()
            await self._news.wait()
        results = [{"cursor": str(n + 1), **event} for n, event in enumerate(self.log) if n >= since]
        return httpx.Response(200, json={"results": results, "cursor": str(len(self.log)), "pending": 0})


def alert_of(office: str = "370783108253", **other: Any) -> dict[str, Any]:
    return {
        "id": f"alert-{office}",
        "version": 1,
        "level": "red",
        "state": "raised",
        "incident_id": "i",
        "node": {"code": office, "name": NAMES.get(office, office), "path": ["370783000000", "370783108000", office]},
        "hazard": "flood.river",
        "headline": "【演练】漫堤",
        "reasons": [],
        "raised_at": "2026-01-01T00:00:00Z",
        "due_at": None,
        "owner": None,
        "escalation": {"step": 0, "next_at": None},
        "reports": 1,
        **other,
    }
