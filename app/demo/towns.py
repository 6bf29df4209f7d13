"""The towns' desks of the exercise: each follows what is raised in its town, and takes it on."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.demo.desk import Desk, DeskRefused, follow
from app.demo.link import SignInRefused, Sleep, detail, send

SCRIPT_DELAY = 120.0
"""Seconds of the script from an alert at a desk until somebody there has taken it on."""

UNDER_WAY = 10**9


@dataclass
class Acts:
    """What the desks did: how many alerts each took on, and how often somebody else had been first."""

    taken: Counter[str] = field(default_factory=Counter)
    late: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Hands:
    """A desk's hands: they acknowledge each raised alert once, `delay` seconds after it was looked at."""

    office: str
    client: httpx.AsyncClient
    acts: Acts
    delay: float
    headers: dict[str, str] = field(default_factory=dict)
    sleep: Sleep = asyncio.sleep
    _seen: dict[str, int] = field(default_factory=dict)
    """Alert id to the version up to which nothing is left to do."""

    def take(self, group: asyncio.TaskGroup, alerts: Iterable[dict[str, Any]]) -> None:
        """Begin to acknowledge those alerts that are raised and not being seen to."""
        for alert in alerts:
            if alert["state"] == "raised" and alert["version"] > self._seen.get(alert["id"], 0):
                self._seen[alert["id"]] = UNDER_WAY
                group.create_task(self._acknowledge(alert))

    def open(self, group: asyncio.TaskGroup, alerts: Iterable[dict[str, Any]]) -> None:
        """Begin to read these alerts, as somebody at the desk does who is told of them."""
        for alert_id in {alert["id"] for alert in alerts}:
            group.create_task(self._do("GET", f"/v1/alerts/{alert_id}"))

    async def _acknowledge(self, alert: dict[str, Any]) -> None:
        if self.delay:
            await self.sleep(self.delay)
        response = await self._do("POST", f"/v1/alerts/{alert['id']}/acknowledge")
        # raised again, it has a later version than this
        self._seen[alert["id"]] = alert["version"]
        if response is None:
            return
        if response.status_code == 409:
            self.acts.late += 1
            return
        answer = response.json()
        self._seen[alert["id"]] = answer["version"]
        self.acts.taken[self.office] += answer["applied"]

    async def _do(self, method: str, path: str) -> httpx.Response | None:
        """The answer; None when there is none to go on with, with a line among the failures."""
        try:
            response = await send(self.client, method, path, headers=self.headers, sleep=self.sleep)
        except (httpx.TransportError, SignInRefused) as error:
            self.acts.failures.append(f"{self.office} {method} {path}: {type(error).__name__}")
            return None
        if response.status_code in (200, 409):
            return response
        self.acts.failures.append(f"{self.office} {method} {path}: {response.status_code} {detail(response)}".rstrip())
        return None


async def keep(hands: Hands, drill_id: str) -> None:
    """A town's desk for as long as the exercise lasts: everything of the drill that is raised there is taken on.

    A desk that cannot follow any more ends, with a line among the failures: then the city has to act.
    """
    desk = Desk(drill_id)
    try:
        async with asyncio.TaskGroup() as acting:
            while True:
                await follow(hands.client, desk, headers=hands.headers, sleep=hands.sleep)
                hands.take(acting, desk.alerts.values())
    except* (httpx.TransportError, SignInRefused, DeskRefused) as troubles:
        first = troubles.exceptions[0]
        hands.acts.failures.append(f"{hands.office}: {type(first).__name__} {first}".rstrip())
