import asyncio
import contextlib
import sys
import time
from datetime import UTC, datetime
from uuid import uuid4

import httpx
from rich.console import Console
from rich.live import Live

from app.demo import night, view
from app.demo.desk import Desk, DeskRefused, poll
from app.demo.link import PasswordSignIn, SignInRefused, connect
from app.demo.player import OfficeRefused, Tally, play

GRACE_SECONDS = 30.0
"""How long after the last report the desk's poll may take to carry the last alert."""

REDRAW_SECONDS = 0.25

Account = tuple[str, str]


def run(url: str, speed: float, admin: Account, desk: Account, plain: bool) -> int:
    """Replay the night against the server at `url`, and show what the city's desk sees.

    `speed` is how many times faster than the night; 0 is as fast as answers come. `admin` and `desk` are username and
    password. Exit code: 0 when every report was answered and the desk's poll carried every alert; 1 otherwise, with one
    line on stderr when it could not begin; 130 when interrupted.
    """
    console = Console()
    try:
        return asyncio.run(perform(url, speed, admin, desk, console=console, plain=plain or not console.is_terminal))
    except KeyboardInterrupt:
        return 130
    except (SignInRefused, OfficeRefused, DeskRefused) as refused:
        return _refuse(str(refused))
    except httpx.InvalidURL as error:
        return _refuse(f"{url} 不是有效地址 is not an address: {error}")
    except httpx.RequestError as error:
        return _refuse(f"{url} 没有应答 does not answer ({type(error).__name__}). Is `beacon serve` running?")


async def perform(
    url: str,
    speed: float,
    admin: Account,
    desk: Account,
    *,
    console: Console,
    plain: bool,
    transport: httpx.AsyncBaseTransport | None = None,
) -> int:
    """`run` without its error lines; `transport` may stand for the network."""
    tally, room, news = Tally(), Desk(), asyncio.Event()
    steps = night.load(str(uuid4()), datetime.now(UTC))
    async with (
        connect(url, auth=PasswordSignIn(url, *admin), transport=transport) as first,
        connect(url, auth=PasswordSignIn(url, *desk), transport=transport) as client,
    ):
        # once and without patience: a wrong address or password is told at once
        for one in (first, client):
            await one.get("/v1/me")
        # the list comes first: what it holds stood before the exercise
        await poll(client, room)
        begun = time.monotonic()
        playing = asyncio.create_task(
            play(
                url,
                steps=steps,
                speed=speed,
                admin_username=admin[0],
                admin_password=admin[1],
                tally=tally,
                transport=transport,
            )
        )
        watching = asyncio.create_task(_watch(client, room, tally, console if plain else None, news))
        tasks = [playing, watching]
        if not plain:
            tasks.append(asyncio.create_task(_draw(console, tally, room)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # only the player ends by itself: anything else that ended has failed
            await _until_carried(tally, room, news)
            seconds = time.monotonic() - begun
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    view.print_lines(console, view.summary(tally, room, seconds))
    return 1 if view.missed(tally, room) or tally.answered < tally.total else 0


async def _watch(
    client: httpx.AsyncClient, desk: Desk, tally: Tally, console: Console | None, news: asyncio.Event
) -> None:
    while True:
        for event in await poll(client, desk):
            if console:
                view.print_lines(console, [view.event_line(tally, desk, event)])
        news.set()


async def _draw(console: Console, tally: Tally, desk: Desk) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while True:
                live.update(view.screen(tally, desk, height=console.height), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
        finally:
            live.update(view.screen(tally, desk, height=console.height), refresh=True)


async def _until_carried(tally: Tally, desk: Desk, news: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            while view.missed(tally, desk):
                news.clear()
                await news.wait()


def _refuse(line: str) -> int:
    print(f"beacon demo: {line}", file=sys.stderr)
    return 1
