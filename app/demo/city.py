"""The city's desk of the exercise: it polls, takes on what came up to it, and asks a roll call."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx

from app.demo.desk import DeskRefused, Event, poll
from app.demo.findings import is_silence, is_the_citys
from app.demo.keys import AT_ONCE, Keys
from app.demo.link import SignInRefused, Sleep, detail, send
from app.demo.night import Plot
from app.demo.show import Show
from app.demo.towns import Hands

Tell = Callable[[Event], None]
PAGE = 500
# What brings another report.
NEWS = ("alert.raised", "alert.updated", "alert.upgraded", "alert.rearmed")


class City:
    """The city's desk: what its polls carry, and what it makes of it, is written to `show`."""

    def __init__(self, client: httpx.AsyncClient, show: Show, hands: Hands, *, sleep: Sleep = asyncio.sleep) -> None:
        self._client, self._show, self._hands, self._sleep = client, show, hands, sleep
        self._roll_call: str | None = None

    async def begin(self) -> None:
        """The first list, from which `watch` goes on."""
        await poll(self._client, self._show.desk, sleep=self._sleep)

    async def watch(self, tell: Tell) -> None:
        """Poll for ever, and `tell` each change; raises `DeskRefused`, `SignInRefused` or `httpx.TransportError`."""
        desk = self._show.desk
        try:
            async with asyncio.TaskGroup() as acting:
                while True:
                    fresh = await poll(self._client, desk, sleep=self._sleep)
                    self._hands.open(acting, (event.alert for event in fresh if event.type in NEWS))
                    self._hands.take(acting, filter(is_the_citys, desk.alerts.values()))
                    await self._look(fresh)
                    for event in fresh:
                        tell(event)
        except ExceptionGroup as troubles:
            raise troubles.exceptions[0] from None

    async def _look(self, fresh: Sequence[Event]) -> None:
        show = self._show
        for alert in show.desk.alerts.values():
            show.findings.look(alert, show.tally.clock)
        # a list brings no events, and does not hold an alert that has ended meanwhile
        if not fresh or any(is_silence(event.alert) for event in fresh):
            await self._learn_silence()

    async def ask(self, plot: Plot, keys: Keys) -> bool:
        """Ask the roll call, and let every village but the silent one answer it: "something" where it has reported.

        False when it went wrong, with a line among the tally's failures.
        """
        try:
            roll_call = await self._open(plot)
            nodes = [one["node"] for one in await self._answers(roll_call)]
            slots = asyncio.Semaphore(AT_ONCE)

            async def answer(node: str) -> None:
                report = self._show.tally.latest.get(node)
                body: dict[str, Any] = {"node": node, "answer": "nothing"}
                if report is not None:
                    body |= {"answer": "something", "reports": [report]}
                # by its own office where it takes part in the script, else by the town's for it
                headers = keys.headers(node if node in keys.of else plot.asked)
                async with slots:
                    await self._send("POST", _answers_of(roll_call), 200, json=body, headers=headers, auth=None)

            await asyncio.gather(*(answer(node) for node in nodes if node != plot.silent))
        except (httpx.TransportError, SignInRefused, DeskRefused) as error:
            self._show.tally.failures.append(f"roll call of {plot.asked}: {type(error).__name__} {error}".rstrip())
            return False
        return True

    async def _open(self, plot: Plot) -> str:
        body = {
            "question": plot.question,
            "node": plot.asked,
            "tiers": ["village"],
            "due_minutes": round(plot.due.total_seconds() / 60),
            "drill_id": self._show.drill.id,
        }
        opened = await self._send("POST", "/v1/rollcalls", 201, json=body, repeatable=False)
        self._roll_call = str(opened["id"])
        return self._roll_call

    async def _learn_silence(self) -> None:
        """Whose silence it is, and since when: the roll call's own record says so, also when it is over."""
        if self._roll_call is None:
            return
        show = self._show
        for one in await self._answers(self._roll_call):
            if one["alert_id"] is not None:
                since, heard = (self._in_script(one["node"], one[key]) for key in ("last_heard_at", "heard_at"))
                show.findings.silence(one["node"], since=since, heard=heard, clock=show.tally.clock)

    def _in_script(self, node: str, moment: str | None) -> datetime | None:
        """The script's clock when a report of this office was received at a moment of the server's."""
        return self._show.tally.heard.get((node, datetime.fromisoformat(moment))) if moment else None

    async def _answers(self, roll_call: str) -> list[dict[str, Any]]:
        """Those that have not answered."""
        found: list[dict[str, Any]] = []
        query: dict[str, str | int] = {"state": "waiting", "limit": PAGE}
        while True:
            page = await self._send("GET", _answers_of(roll_call), 200, params=query)
            found += page["items"]
            if not page["next"]:
                return found
            query["cursor"] = page["next"]

    async def _send(self, method: str, path: str, wanted: int, **request: Any) -> dict[str, Any]:
        response = await send(self._client, method, path, sleep=self._sleep, **request)
        if response.status_code != wanted:
            raise DeskRefused(f"{path}: {response.status_code} {detail(response)}".rstrip())
        answer: dict[str, Any] = response.json()
        return answer


def _answers_of(roll_call: str) -> str:
    return f"/v1/rollcalls/{roll_call}/answers"
