"""An office's phone in the exercise: the field client that any phone runs, its outbox in memory."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.demo.link import Sleep, send
from app.field.courier import Courier
from app.field.outbox import Outbox
from app.field.session import Fixed
from app.field.store import open_store

# Of a link that stays broken: with full jitter about a minute in all.
TRIES = 7


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one sending: the status it was answered with (None: never), and the report or the problem."""

    status: int | None
    report: Mapping[str, Any] | None
    detail: str = ""


class Phone:
    """Sends an office's reports, each as soon as it is written, until it is answered."""

    def __init__(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], *, now: Callable[[], float], sleep: Sleep
    ) -> None:
        self._client = client
        self._headers = dict(headers)
        self._clock = _Pace(now)
        self._sleep = sleep
        self._outbox = Outbox(open_store(":memory:", durable=False), clock=self._clock)
        self._statuses: dict[str, int] = {}
        session = Fixed(self._headers["Authorization"].removeprefix("Bearer "))
        self._courier = Courier(self._outbox, client, session, self._clock, random.SystemRandom())

    def answered(self, request: httpx.Request, status: int) -> None:
        """The client's word of an answer: the outbox keeps what was said, not by which status."""
        if request.headers.get("Authorization") == self._headers["Authorization"] and request.method == "POST":
            self._statuses[str(json.loads(request.content).get("id"))] = status

    async def tell(self, body: Mapping[str, Any], *, on_retry: Callable[[], None]) -> Answer:
        """Report it. What was told before comes once more, as a network that repeats itself brings it."""
        report_id = str(body["id"])
        if report_id in self._outbox.reports():
            return await self._again(body, on_retry)
        self._outbox.put(body, urgent=True)
        for _ in range(TRIES):
            progress = await self._courier.flush()
            if progress.retry_at is None:
                break
            on_retry()
            await self._sleep(max(0.0, (progress.retry_at - self._clock.now()).total_seconds()))
        found = self._outbox.report(report_id)
        answer = found["answer"] or {}
        status = None if self._outbox.waiting() else self._statuses.get(report_id)
        stored = found["state"] == "stored"
        return Answer(status, answer if stored else None, "" if stored else str(answer.get("detail", "")))

    async def _again(self, body: Mapping[str, Any], on_retry: Callable[[], None]) -> Answer:
        try:
            response = await send(
                self._client,
                "POST",
                "/v1/reports",
                json=body,
                headers=self._headers,
                sleep=self._sleep,
                on_retry=on_retry,
            )
        except httpx.TransportError:
            return Answer(None, None)
        if response.status_code >= 300:
            return Answer(response.status_code, None, str(response.json().get("detail", "")))
        return Answer(response.status_code, response.json())


class _Pace:
    """The exercise's time as a clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def now(self) -> datetime:
        """Seconds since the exercise's own beginning, as a moment."""
        return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=self._now())
