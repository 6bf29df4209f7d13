"""A server that keeps Beacon's promises to a device and nothing else: small enough to be looked through."""

import base64
import json
import random
import re
from collections import Counter
from hashlib import sha256
from typing import Any

import httpx

REPORTS = "/v1/reports"


class Server(httpx.AsyncBaseTransport):
    """`stored`: by id, all that a report has said, the first version first. `troubles`: how often it fails."""

    def __init__(self, rng: random.Random, *, troubles: float = 0.0) -> None:
        self.rng = rng
        self.troubles = troubles
        self.stored: dict[str, list[dict[str, Any]]] = {}
        self.made: Counter[str] = Counter()
        self.files: dict[tuple[str, str], bytes] = {}
        self.arriving: dict[tuple[str, str], bytes] = {}
        self.order: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.rng.random() < self.troubles:
            return self._trouble()
        path, body = request.url.path, request.content
        if path == f"{REPORTS}/batch":
            results = [self._item(one) for one in json.loads(body)["reports"]]
            return httpx.Response(200, json={"results": results})
        if path == REPORTS:
            return self._post(json.loads(body))
        found = re.fullmatch(rf"{REPORTS}/([^/]+)/attachments/([^/]+)", path)
        if found:
            return self._file(found[1], found[2], request)
        return self._put(json.loads(body), int(request.headers["If-Match"].strip('"')))

    def _trouble(self) -> httpx.Response:
        status = self.rng.choice((200, 302, 429, 500, 502, 503))
        if status in (200, 302, 502):
            return httpx.Response(status, html="<html>Welcome to the hotel</html>")
        return httpx.Response(status, json=problem(status, "trouble"), headers={"Retry-After": "7"})

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        known = self.stored.get(body["id"])
        if known is None:
            self.stored[body["id"]] = [body]
            self.made[body["id"]] += 1
            self.order.append(body["id"])
            return httpx.Response(201, json={"id": body["id"], "version": 1})
        if body not in known:
            return httpx.Response(409, json=problem(409, "id_conflict"))
        return httpx.Response(200, json={"id": body["id"], "version": len(known)})

    def _put(self, body: dict[str, Any], base: int) -> httpx.Response:
        versions = self.stored.get(body["id"])
        if versions is None:
            return httpx.Response(404, json=problem(404, "not_found"))
        if versions[-1] != body and versions[base : base + 1] != [body]:
            if len(versions) != base:
                return httpx.Response(409, json=problem(409, "version_conflict"))
            versions.append(body)
        return httpx.Response(200, json={"id": body["id"], "version": len(versions)})

    def _item(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.rng.random() < self.troubles / 4:
            return {"id": body["id"], "status": "rejected", "problem": problem(500, "internal")}
        base = body.pop("base_version", None)
        answer = self._post(body) if base is None else self._put(body, base)
        if answer.status_code >= 300:
            word = "conflict" if answer.json()["code"] == "version_conflict" else "rejected"
            return {"id": body["id"], "status": word, "problem": answer.json()}
        return {"id": body["id"], "status": "replayed", "report": answer.json()}

    def _file(self, report_id: str, name: str, request: httpx.Request) -> httpx.Response:
        if report_id not in self.stored:
            return httpx.Response(404, json=problem(404, "not_found"))
        first, last, size = map(int, re.findall(r"\d+", request.headers["Content-Range"]))
        slot = (report_id, name)
        if slot in self.files:
            return httpx.Response(200, json={"name": name, "received": size})
        had = self.arriving.get(slot, b"")
        if first > len(had):
            return httpx.Response(409, json={**problem(409, "offset_wrong"), "received": len(had)})
        had = self.arriving[slot] = had + request.content[len(had) - first :]
        assert len(request.content) == last - first + 1
        if len(had) < size:
            return httpx.Response(202, json={"name": name, "received": len(had)})
        digest = base64.b64encode(sha256(had).digest()).decode()
        assert request.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        self.files[slot] = had
        return httpx.Response(201, json={"name": name, "received": size})


def problem(status: int, code: str) -> dict[str, Any]:
    """A problem+json body."""
    return {"type": f"urn:beacon:problem:{code}", "status": status, "code": code, "detail": code}
