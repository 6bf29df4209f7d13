import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from app.demo.link import Sleep, send

WAIT = 20
LATEST = 200
LEVELS = ("red", "orange", "yellow", "blue")


class DeskRefused(Exception):
    """The server does not let this sign-in read alerts, or answers something else than alerts."""


@dataclass(frozen=True)
class Event:
    """One change of one alert, as the desk was told."""

    type: str
    at: str
    alert: dict[str, Any]


@dataclass
class Desk:
    """What a desk knows of one drill: only what its own polls have carried."""

    drill_id: str
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=LATEST))
    names: dict[str, str] = field(default_factory=dict)
    polls: int = 0
    changes: int = 0
    relists: int = 0
    carried: dict[str, float] = field(default_factory=dict)
    """Alert id to the moment (of `now`) of the first poll that carried it."""
    _cursor: str | None = None

    def listed(self, items: list[dict[str, Any]], cursor: str, moment: float) -> None:
        """Take a whole list."""
        self.alerts = {}
        for alert in items:
            self._take(alert, moment)
        self._cursor = cursor

    def changed(self, results: list[dict[str, Any]], cursor: str, moment: float) -> list[Event]:
        """Take what a poll answered; an event told again (the promise is at least once) changes nothing."""
        fresh = []
        for result in results:
            known = self.alerts.get(result["alert"]["id"])
            if known is not None and known["version"] >= result["alert"]["version"]:
                continue
            self._take(result["alert"], moment)
            fresh.append(Event(result["type"], result["at"], result["alert"]))
        self.events.extend(fresh)
        self.changes += len(fresh)
        self._cursor = cursor
        return fresh

    @property
    def cursor(self) -> str | None:
        """Where the next poll goes on; None when the desk has to list."""
        return self._cursor

    def expired(self) -> None:
        """The cursor is older than what the server keeps: list again."""
        self._cursor = None
        self.relists += 1

    def open_alerts(self) -> list[dict[str, Any]]:
        """Alerts not closed, the gravest first, then the latest raised."""
        standing = [alert for alert in self.alerts.values() if alert["state"] != "closed"]
        standing.sort(key=lambda alert: str(alert["raised_at"]), reverse=True)
        return sorted(standing, key=lambda alert: LEVELS.index(alert["level"]) if alert["level"] in LEVELS else 9)

    def place(self, alert: dict[str, Any]) -> str:
        """The names on the way to the alert's office, without the city's own."""
        path = alert["node"]["path"]
        return " › ".join(self.names.get(code, code) for code in (path[1:] or path))

    def _take(self, alert: dict[str, Any], moment: float) -> None:
        self.alerts[alert["id"]] = alert
        self.names[alert["node"]["code"]] = alert["node"]["name"]
        self.carried.setdefault(alert["id"], moment)


async def poll(
    client: httpx.AsyncClient, desk: Desk, *, now: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
) -> list[Event]:
    """`follow`, and learn the names of the places on the way to the alerts."""
    fresh = await follow(client, desk, now=now, sleep=sleep)
    await _learn_names(client, desk, sleep)
    return fresh


async def follow(
    client: httpx.AsyncClient,
    desk: Desk,
    *,
    headers: dict[str, str] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> list[Event]:
    """One turn of a desk's polling: list when it has no cursor, else wait for changes.

    Raises `DeskRefused`, `SignInRefused` or `httpx.TransportError`.
    """
    ask = partial(send, client, "GET", headers=headers, sleep=sleep)
    fresh: list[Event] = []
    if desk.cursor is None:
        await _list(ask, desk, now)
    else:
        query: dict[str, str | int] = {"since": desk.cursor, "wait": WAIT, "drill": desk.drill_id}
        response = await ask("/v1/alerts/changes", params=query)
        if response.status_code == 410:
            desk.expired()
            return []
        answer = _answer(response)
        fresh = desk.changed(answer["results"], answer["cursor"], now())
    desk.polls += 1
    return fresh


async def _list(ask: Callable[..., Awaitable[httpx.Response]], desk: Desk, now: Callable[[], float]) -> None:
    items: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"limit": 100, "drill": desk.drill_id}
    since: str | None = None
    while True:
        answer = _answer(await ask("/v1/alerts", params=query))
        items += answer["items"]
        # later pages are of later moments: going on from the first page's loses nothing
        since = since or answer["cursor"]
        if not answer.get("next"):
            break
        query["cursor"] = answer["next"]
    desk.listed(items, since or "", now())


async def _learn_names(client: httpx.AsyncClient, desk: Desk, sleep: Sleep) -> None:
    wanted = {code for alert in desk.alerts.values() for code in alert["node"]["path"]} - desk.names.keys()
    for code in sorted(wanted):
        response = await send(client, "GET", f"/v1/nodes/{code}", sleep=sleep)
        desk.names[code] = response.json()["name"] if response.status_code == 200 else code


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise DeskRefused(f"the alerts cannot be read: {response.status_code}")
    answer: dict[str, Any] = response.json()
    return answer
