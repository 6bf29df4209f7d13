import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from app.demo.link import PasswordSignIn, SignInRefused, Sleep, connect, detail, send
from app.demo.night import Step

URGENT = ("red", "orange")
KEY_SCOPES = ["reports:write", "reports:read"]
AT_ONCE = 16


class OfficeRefused(Exception):
    """An office of the script could not be given a key: unknown to the server, or not the admin's to give."""


@dataclass
class Tally:
    """What became of the script so far. It is read while the player runs."""

    total: int = 0
    clock: datetime | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    replays: int = 0
    masked: int = 0
    retries: int = 0
    failures: list[str] = field(default_factory=list)
    keys_left: int = 0
    raised: dict[str, float] = field(default_factory=dict)
    """Alert id to the moment (of `now`) at which its first urgent report of this run was answered 201."""

    @property
    def answered(self) -> int:
        """Sendings answered with 2xx."""
        return sum(count for status, count in self.statuses.items() if status < 300)

    @property
    def urgent(self) -> int:
        """New reports of this run at level red or orange."""
        return sum(self.levels[level] for level in URGENT)


async def play(
    base_url: str,
    *,
    steps: Sequence[Step],
    speed: float,
    admin_username: str,
    admin_password: str,
    tally: Tally,
    transport: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Send every step as its own office, at the script's pace divided by `speed` (0: as fast as answers come).

    Each office gets an api key of its own, revoked at the end whatever happens. An office's reports are sent in
    their order. What happens is written to `tally`. Raises `SignInRefused`, `OfficeRefused` or `httpx.TransportError`
    when it cannot begin.
    """
    tally.total = len(steps)
    auth = PasswordSignIn(base_url, admin_username, admin_password)
    async with (
        connect(base_url, auth=auth, transport=transport) as admin,
        connect(base_url, transport=transport) as field_office,
        _keys(admin, (step.node for step in steps), tally, sleep) as keys,
        asyncio.TaskGroup() as sending,
    ):
        slots = asyncio.Semaphore(AT_ONCE)
        turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        begun = now()

        async def post(step: Step) -> None:
            try:
                # a lock is fair, so an office's reports keep their order
                async with turns[step.node]:
                    await _post(field_office, step, keys[step.node], tally, now, sleep)
            finally:
                slots.release()

        for step in steps:
            due = begun + (step.at - steps[0].at).total_seconds() / speed if speed else begun
            if due > now():
                await sleep(due - now())
            await slots.acquire()
            tally.clock = step.at
            sending.create_task(post(step))


async def _post(
    client: httpx.AsyncClient, step: Step, key: str, tally: Tally, now: Callable[[], float], sleep: Sleep
) -> None:
    def retried() -> None:
        tally.retries += 1

    headers = {"Authorization": f"Bearer {key}"}
    try:
        response = await send(
            client, "POST", "/v1/reports", json=step.body, headers=headers, sleep=sleep, on_retry=retried
        )
    except httpx.TransportError as error:
        tally.failures.append(f"{step.node} {step.body['id']}: {type(error).__name__}")
        return
    tally.statuses[response.status_code] += 1
    if response.status_code == 201:
        _count(response.json(), tally, now())
    elif response.status_code == 200:
        tally.replays += 1
    else:
        tally.failures.append(f"{step.node} {step.body['id']}: {response.status_code} {detail(response)}")


def _count(report: dict[str, Any], tally: Tally, moment: float) -> None:
    tally.levels[report["level"]] += 1
    tally.masked += report["masked"]
    if report["level"] in URGENT:
        # None would break the promise of the service; it then shows as an alert nobody ever saw
        tally.raised.setdefault(str(report["alert_id"]), moment)


@asynccontextmanager
async def _keys(
    admin: httpx.AsyncClient, nodes: Iterable[str], tally: Tally, sleep: Sleep
) -> AsyncIterator[dict[str, str]]:
    """One api key an office, by its code."""
    made: dict[str, str] = {}
    keys: dict[str, str] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(node: str) -> None:
        body = {"node": node, "scopes": KEY_SCOPES, "label": "demo"}
        async with slots:
            response = await send(admin, "POST", "/v1/keys", json=body, repeatable=False, sleep=sleep)
        if response.status_code != 201:
            raise OfficeRefused(f"no api key for office {node}: {response.status_code} {detail(response)}".rstrip())
        answer = response.json()
        made[node], keys[node] = answer["id"], answer["key"]

    async def revoke(key_id: str) -> None:
        async with slots:
            try:
                response = await send(admin, "DELETE", f"/v1/keys/{key_id}", tries=4, sleep=sleep)
            except (httpx.TransportError, SignInRefused):
                tally.keys_left += 1
            else:
                tally.keys_left += response.status_code not in (204, 404)

    try:
        # the first alone: it signs in for all, and finds out whether the server answers
        first, *others = dict.fromkeys(nodes)
        await make(first)
        results = await asyncio.gather(*(make(node) for node in others), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        yield keys
    finally:
        await asyncio.gather(*(revoke(key_id) for key_id in made.values()))
