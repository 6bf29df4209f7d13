import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx

from app.demo import night

NAMES = night.office_names()
PLOT = night.plot()
URL = "http://beacon.test"
ADMIN = ("demo-admin", "beacon-exercise")
DESK = ("city-desk", "beacon-exercise")
CITY = "370783000000"
DRILL = "drill-1"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SCORE = {
    "total": 90.5,
    "parts": [
        {"part": "alerted", "text": "with an alert", "text_zh": "已触发", "weight": 20, "count": 2, "in_time": 1},
        {"part": "roll_calls", "text": "none asked", "text_zh": "点名", "weight": 10, "count": 0, "in_time": 0},
    ],
}


class FakeBeacon:
    """As much of the contract as the demo touches; `before` may answer or break a request first.

    Time does not pass here: a town that sleeps is bypassed at once, a roll call is over when all but one have answered.
    """

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.scopes: dict[str, list[str]] = {}
        self.revoked: list[str] = []
        self.drills: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.stored: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.alerts: dict[str, dict[str, Any]] = {}
        self.acknowledged: list[tuple[str, str]] = []
        self.roll_call: dict[str, Any] | None = None
        self.answers: dict[str, dict[str, Any]] = {}
        self.expire_at_poll: int | None = None
        self.silent_alerts = False
        self.bypasses = True
        self.finds_silence = True
        self.hears = True
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
        caller = self.keys.get(request.headers.get("Authorization", "").removeprefix("Bearer "), CITY)
        body = json.loads(request.content) if request.content and b"grant_type" not in request.content else {}
        match (request.method, request.url.path.split("/")[2:]):
            case ("POST", ["auth", "token"]):
                return self._token(request)
            case ("POST", ["keys"]):
                return self._make_key(body)
            case ("DELETE", ["keys", key_id]):
                self.revoked.append(key_id)
                return httpx.Response(204)
            case ("POST", ["drills"]):
                self.drills.append(body)
                return httpx.Response(201, json={"id": DRILL, **body})
            case ("POST", ["drills", drill_id, "end"]):
                self.ended.append(drill_id)
                return httpx.Response(200, json=SCORE)
            case ("POST", ["reports"]):
                return self._take(caller, body)
            case ("GET", ["alerts"]):
                return self._list(request.url.params["drill"])
            case ("GET", ["alerts", "changes"]):
                return await self._changes(caller, request.url.params)
            case ("GET", ["alerts", alert_id]):
                return httpx.Response(200, json=self.alerts[alert_id])
            case ("POST", ["alerts", alert_id, "acknowledge"]):
                return self._acknowledge(caller, self.alerts[alert_id])
            case ("POST", ["rollcalls"]):
                return self._ask(body)
            case ("GET", ["rollcalls", _, "answers"]):
                waiting = [one for one in self.answers.values() if one["state"] == "waiting"]
                return httpx.Response(200, json={"items": waiting, "next": None})
            case ("POST", ["rollcalls", _, "answers"]):
                return self._reply(caller, body)
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

    def _make_key(self, body: dict[str, Any]) -> httpx.Response:
        node = body["node"]
        self.keys[f"bk_{node}"], self.scopes[node] = node, body["scopes"]
        return httpx.Response(201, json={"id": f"id-{node}", "key": f"bk_{node}", "prefix": "bk_"})

    def _take(self, office: str, body: dict[str, Any]) -> httpx.Response:
        self.received.append((office, body))
        report = {**body, "received_at": self._moment(body["id"])}
        if body["id"] in self.stored:
            same = self.stored[body["id"]] == body
            return httpx.Response(
                200 if same else 409, json={**report, "level": "routine", "masked": 0, "alert_id": None}
            )
        self.stored[body["id"]] = body
        self._hear(office)
        urgent = body["severity"] == "Extreme"
        alert = self._raise(office, body) if urgent else None
        answer = {"level": "red" if urgent else "routine", "masked": int("13900000000" in body["description"])}
        return httpx.Response(201, json={**report, **answer, "alert_id": alert})

    def _moment(self, report_id: str) -> str:
        place = list(self.stored).index(report_id) if report_id in self.stored else len(self.stored)
        return (BEGAN + timedelta(seconds=place)).isoformat()

    def _raise(self, office: str, body: dict[str, Any]) -> str:
        known = self.alerts.get(f"alert-{office}")
        alert = alert_of(office, headline=body["summary"], drill_id=body.get("drill_id"))
        if known is not None:
            alert = {**known, "version": known["version"] + 1, "reports": known["reports"] + 1}
        self.tell("alert.updated" if known else "alert.raised", alert)
        if alert["node"]["path"][1] == PLOT.asleep and not alert["reasons"] and self.bypasses:
            said = {"rule": "escalation.bypass", "text": "did not open it in time", "text_zh": "未按时开阅"}
            self.tell("alert.bypassed", {**alert, "version": alert["version"] + 1, "reasons": [said]})
        return str(alert["id"])

    def tell(self, kind: str, alert: dict[str, Any]) -> None:
        self.alerts[alert["id"]] = alert
        if not self.silent_alerts:
            self.log.append({"type": kind, "at": "2026-01-01T00:00:00Z", "alert": alert})
            self._news.set()

    def _acknowledge(self, office: str, alert: dict[str, Any]) -> httpx.Response:
        if alert["owner"] not in (None, office):
            return httpx.Response(409, json={"code": "alert_owned", "detail": "somebody was first"})
        applied = alert["owner"] is None and alert["state"] == "raised"
        if applied:
            self.acknowledged.append((office, alert["id"]))
            alert = {**alert, "version": alert["version"] + 1, "state": "acknowledged", "owner": office}
            self.tell("alert.acknowledged", alert)
        return httpx.Response(200, json={**alert, "applied": applied})

    def _list(self, drill: str) -> httpx.Response:
        self.lists += 1
        items = [one for one in self.alerts.values() if one["drill_id"] == drill and one["state"] != "closed"]
        return httpx.Response(200, json={"items": items, "cursor": str(len(self.log)), "next": None})

    async def _changes(self, office: str, asked: httpx.QueryParams) -> httpx.Response:
        self.polls += 1
        if self.polls == self.expire_at_poll:
            return httpx.Response(410, json={"code": "cursor_expired"})
        while True:
            results = [
                {"cursor": str(n), **event}
                for n, event in enumerate(self.log, 1)
                if n > int(asked["since"])
                and event["alert"]["drill_id"] == asked["drill"]
                and office in event["alert"]["node"]["path"]
            ]
            if results:
                return httpx.Response(200, json={"results": results, "cursor": str(len(self.log)), "pending": 0})
            self._news.clear()
            await self._news.wait()

    def _ask(self, body: dict[str, Any]) -> httpx.Response:
        self.roll_call = body
        unheard: dict[str, Any] = {"last_heard_at": None, "heard_at": None, "alert_id": None}
        villages = [code for code in NAMES if _town(code) == body["node"] and code != body["node"]]
        self.answers = {code: {"node": code, "state": "waiting", "reports": [], **unheard} for code in villages}
        return httpx.Response(201, json={"id": "call-1", **body})

    def _reply(self, office: str, body: dict[str, Any]) -> httpx.Response:
        row = self.answers[body["node"]]
        row |= {"state": body["answer"], "reports": body.get("reports", []), "by": office}
        waiting = [one for one in self.answers.values() if one["state"] == "waiting"]
        if len(waiting) == 1 and self.finds_silence:
            self._find_silent(waiting[0])
        return httpx.Response(200, json=row)

    def _find_silent(self, row: dict[str, Any]) -> None:
        node = row["node"]
        heard = [self._moment(report["id"]) for report in self.stored.values() if report["node"] == node]
        row |= {"last_heard_at": heard[-1], "alert_id": f"silence-{node}"}
        headline = "【演练】点名未应答"
        silence = {"id": f"silence-{node}", "origin": "silence", "level": "orange", "reports": 0, "headline": headline}
        self.tell("alert.raised", alert_of(node, drill_id=DRILL, **silence))

    def _hear(self, office: str) -> None:
        row = self.answers.get(office)
        if row is None or row["alert_id"] is None or row["heard_at"] is not None or not self.hears:
            return
        row["heard_at"] = self._moment(list(self.stored)[-1])
        alert = self.alerts[row["alert_id"]]
        over = {"state": "closed", "close_reason": "恢复联系", "version": alert["version"] + 1}
        self.tell("alert.closed", {**alert, **over})


def alert_of(office: str = "370783108253", **other: Any) -> dict[str, Any]:
    return {
        "id": f"alert-{office}",
        "version": 1,
        "level": "red",
        "state": "raised",
        "incident_id": "i",
        "node": {
            "code": office,
            "name": NAMES.get(office, office),
            "path": list(dict.fromkeys([CITY, _town(office), office])),
        },
        "hazard": "flood.river",
        "headline": "【演练】漫堤",
        "reasons": [],
        "raised_at": "2026-01-01T00:00:00Z",
        "due_at": None,
        "owner": None,
        "escalation": {"step": 1, "next_at": None, "to": ["town.desk", "city.desk"]},
        "reports": 1,
        "close_reason": None,
        "origin": "reports",
        "drill_id": DRILL,
        **other,
    }


def _town(code: str) -> str:
    """The code of the town an office belongs to, by the way codes are made."""
    return f"{code[:9]}000" if len(code) == 12 else "370783108000"
