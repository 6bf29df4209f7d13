import asyncio
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.live import Live

from app.demo import drill, night, view
from app.demo.city import City
from app.demo.desk import Desk, DeskRefused, Event
from app.demo.drill import DrillRefused
from app.demo.keys import DESK, REPORTS, Keys, OfficeRefused, office_keys
from app.demo.link import PasswordSignIn, SignInRefused, connect, until
from app.demo.player import Act, play
from app.demo.show import Show
from app.demo.towns import SCRIPT_DELAY, Hands, keep

GRACE_SECONDS = 30.0
"""How long after the last report the desk's poll may take to carry all that the exercise is to show."""

PATIENCE_SECONDS = 5.0
"""How long after a roll call's due time the server may take to find who is silent."""

REDRAW_SECONDS = 0.25

Account = tuple[str, str]


def run(url: str, speed: float, admin: Account, desk: Account, plain: bool) -> int:
    """Replay the night against the server at `url` as a drill, and show what the city's desk sees.

    `speed` is how many times faster than the night; 0 is as fast as answers come. `admin` and `desk` are username and
    password. Exit code: 0 when every report was answered, the desk's poll carried every alert, and the town that sleeps
    was seen bypassed, the village without a signal silent and then heard again; 1 otherwise, with one line on stderr
    when it could not go on; 130 when interrupted.
    """
    console = Console()
    try:
        return asyncio.run(perform(url, speed, admin, desk, console=console, plain=plain or not console.is_terminal))
    except KeyboardInterrupt:
        return 130
    except (SignInRefused, OfficeRefused, DeskRefused, DrillRefused) as refused:
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
    """`run` without its error lines; `transport` may stand for the network.

    The drill that it begins is ended, the keys are revoked and the summary is printed also when it fails or is
    interrupted.
    """
    async with (
        connect(url, auth=PasswordSignIn(url, *admin), transport=transport) as first,
        connect(url, auth=PasswordSignIn(url, *desk), transport=transport) as client,
        connect(url, transport=transport) as offices,
    ):
        # once and without patience: a wrong address or password is told at once
        for one in (first, client):
            await one.get("/v1/me")
        begun = time.monotonic()
        exercise = await drill.begin(first, pace=drill.pace_of(speed))
        delay = SCRIPT_DELAY / exercise.pace if speed else 0.0
        show = Show(exercise, Desk(exercise.id))
        city = City(client, show, Hands("city", client, show.acts, delay))
        try:
            await city.begin()
            async with office_keys(first, _scopes(), show.keys) as keys:
                towns = [
                    Hands(town, offices, show.acts, delay, keys.headers(town))
                    for town in night.plot().towns
                    if town != night.plot().asleep
                ]
                work = [city.watch(lambda event: _tell(console, show, event) if plain else None)]
                work += [keep(town, exercise.id) for town in towns]
                if not plain:
                    work.append(_draw(console, show))
                await _until_over(_replay(url, speed, city, show, keys, transport), work)
        finally:
            await drill.end(first, exercise)
            view.print_lines(console, view.summary(show, time.monotonic() - begun))
    return 1 if show.lacking() else 0


def _scopes() -> dict[str, tuple[str, ...]]:
    """What the key of each office of the script may: all report, and a town's desk acts."""
    towns = night.plot().towns
    return {told.node: REPORTS for told in night.tell()} | dict.fromkeys(towns, (*REPORTS, *DESK))


async def _replay(
    url: str, speed: float, city: City, show: Show, keys: Keys, transport: httpx.AsyncBaseTransport | None
) -> None:
    """The script from its first report on, until the city has seen what it is to see, or patience ends."""
    plot, pace = night.plot(), show.drill.pace
    outruns = not speed or speed > pace

    async def ask() -> None:
        if await city.ask(plot, keys) and outruns:
            # The script's clock would be hours ahead of the roll call's.
            await until(lambda: plot.silent in show.findings.silent, seconds=patience(plot.due, pace))

    steps = night.load(str(uuid4()), datetime.now(UTC), show.drill.id)
    asking = Act(plot.asks_at, ask, holds=outruns)
    await play(url, steps=steps, acts=[asking], keys=keys, speed=speed, tally=show.tally, transport=transport)
    await until(lambda: not show.unseen(), seconds=GRACE_SECONDS)


def patience(due: timedelta, pace: float) -> float:
    """Seconds that a script waits for a roll call due after `due` to be over, and its silence to be found."""
    return due.total_seconds() / pace + PATIENCE_SECONDS


async def _until_over(replay: Any, work: Iterable[Any]) -> None:
    """Run all until the replay is over; whatever fails before ends it, and is raised."""
    playing = asyncio.create_task(replay)
    tasks = {playing, *map(asyncio.create_task, work)}
    running = tasks
    try:
        while not playing.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell(console: Console, show: Show, event: Event) -> None:
    view.print_lines(console, [view.event_line(show, event)])


async def _draw(console: Console, show: Show) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while True:
                live.update(view.screen(show, height=console.height), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
        finally:
            live.update(view.screen(show, height=console.height), refresh=True)


def _refuse(line: str) -> int:
    print(f"beacon demo: {line}", file=sys.stderr)
    return 1
