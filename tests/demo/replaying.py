"""The exercise, or a replay of steps alone, against the fake server."""

import asyncio
import io
from datetime import datetime, timedelta
from typing import Any

import httpx
from rich.console import Console

from app.demo import command
from app.demo.keys import REPORTS, Keys, office_keys
from app.demo.link import PasswordSignIn, connect
from app.demo.night import Step
from app.demo.player import Act, Tally, play
from tests.demo.fake import ADMIN, DESK, URL, FakeBeacon

START = datetime.fromisoformat("2018-08-19T18:00:00+08:00")


class Clock:
    """Time that passes only while somebody sleeps, and only when all others have done what they can."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        self.now += seconds


def step(number: int, *, node: str = "a", minutes: float = 0, **other: Any) -> Step:
    body = {"id": f"report-{number}", "severity": "Minor", "summary": "【演练】", "description": "", **other}
    return Step(START + timedelta(minutes=minutes), node, body)


async def replayed(
    server: FakeBeacon,
    steps: list[Step],
    *,
    acts: list[Act],
    keys: Keys,
    speed: float,
    password: str,
    clock: Clock,
    transport: httpx.AsyncBaseTransport,
) -> Tally:
    tally = Tally()
    auth = PasswordSignIn(URL, ADMIN[0], password)
    scopes = {one.node: REPORTS for one in steps}
    async with (
        connect(URL, auth=auth, transport=transport) as admin,
        office_keys(admin, scopes, keys, sleep=clock.sleep),
    ):
        await play(
            URL,
            steps=steps,
            acts=acts,
            keys=keys,
            speed=speed,
            tally=tally,
            transport=transport,
            now=lambda: clock.now,
            sleep=clock.sleep,
        )
    return tally


def replay(
    server: FakeBeacon,
    steps: list[Step],
    *,
    acts: list[Act] | None = None,
    keys: Keys | None = None,
    speed: float = 0,
    password: str = ADMIN[1],
    clock: Clock | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Tally:
    return asyncio.run(
        replayed(
            server,
            steps,
            acts=acts or [],
            keys=keys or Keys(),
            speed=speed,
            password=password,
            clock=clock or Clock(),
            transport=transport or server.transport,
        )
    )


def failing(times: int, path: str, answer: httpx.Response | httpx.TransportError) -> Any:
    left = times

    def before(request: httpx.Request) -> httpx.Response | None:
        nonlocal left
        if request.url.path != path or not left:
            return None
        left -= 1
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer

    return before


def perform(server: FakeBeacon, *, plain: bool = True, desk: tuple[str, str] = DESK) -> tuple[int, str]:
    """The whole exercise against the fake server: its exit code, and what it printed."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=not plain, width=140, height=40)
    code = asyncio.run(command.perform(URL, 0, ADMIN, desk, console=console, plain=plain, transport=server.transport))
    return code, out.getvalue()
