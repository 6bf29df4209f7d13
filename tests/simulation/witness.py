"""What really arrives at the server, told to the ledger; every answer is held against it."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.core.clock import ManualClock
from tests.simulation.ledger import Ledger

# The server, or its database, had no time: nothing was stored, the device comes again.
NOT_NOW = frozenset({429, 503})


@dataclass
class Witness(httpx.AsyncBaseTransport):
    """Stands before the server, behind every link. A wrong answer is an AssertionError that says what arrived."""

    inner: httpx.AsyncBaseTransport
    ledger: Ledger
    clock: ManualClock
    told: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By report: every word that was ever answered about it."""
    words: Counter[str] = field(default_factory=Counter)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        response = await self.inner.handle_async_request(request)
        content = await response.aread()
        assert response.status_code < 500 or response.status_code in NOT_NOW, (request.url, response.status_code)
        if response.status_code not in NOT_NOW:
            try:
                self._check(request, response.status_code, content)
            except AssertionError as error:
                raise AssertionError(f"{error}: {response.status_code} {content.decode()[-500:]}") from None
        return httpx.Response(response.status_code, headers=response.headers, content=content, request=request)

    def _check(self, request: httpx.Request, status: int, content: bytes) -> None:
        path = request.url.path.split("/")[3:]
        now, token = self.clock.now(), request.headers["Authorization"].removeprefix("Bearer ")
        if request.method == "POST" and path == []:
            body = json.loads(request.content)
            self._compare([body], [_word(status)], [self.ledger.post(token, body, now)])
        elif request.method == "POST" and path == ["batch"]:
            assert status == 200, content
            items = json.loads(request.content)["reports"]
            results = json.loads(content)["results"]
            self._compare(items, [one["status"] for one in results], self._batch(token, items))
        elif request.method == "PUT" and len(path) == 1:
            body = json.loads(request.content)
            base = int(request.headers["If-Match"].strip('"'))
            word = "updated" if status == 200 else _word(status)
            expected = self.ledger.put(token, body, base, now)
            # A correction that was stored before is answered like one that is new.
            self._compare([body], [word], ["updated" if expected == "replayed" else expected])

    def _batch(self, token: str, items: Sequence[dict[str, Any]]) -> list[str]:
        now = self.clock.now()
        expected = [""] * len(items)
        for corrections in (False, True):
            for at, item in enumerate(items):
                if ("base_version" in item) is not corrections:
                    continue
                if corrections:
                    expected[at] = self.ledger.put(token, item, item["base_version"], now)
                else:
                    expected[at] = self.ledger.post(token, item, now)
        return expected

    def _compare(self, items: Sequence[dict[str, Any]], words: Sequence[str], expected: Sequence[str]) -> None:
        for item, word, right in zip(items, words, expected, strict=True):
            self.words[word] += 1
            self.told[item["id"]].add(word)
            assert word == right, f"answered {word}, not {right}: {item}"


def _word(status: int) -> str:
    return {201: "created", 200: "replayed", 202: "quarantined", 409: "conflict"}.get(status, "rejected")
