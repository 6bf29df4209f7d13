"""The exercise as a drill of the server's: begun first, ended whatever happens, and scored."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.link import SignInRefused, Sleep, detail, send

TITLE = "【演练】寿光洪水之夜 EXERCISE: a flood night"
PACE_AT_MAX = 300.0
# Faster than this no office could act before its deadlines pass.
FASTEST_PACE = 600.0


class DrillRefused(Exception):
    """The server does not let this sign-in begin a drill."""


@dataclass
class Drill:
    """A drill that was begun; once ended it has its `score`, or the `trouble` that it could not be ended for."""

    id: str
    pace: float
    score: dict[str, Any] | None = None
    trouble: str = ""


def pace_of(speed: float) -> float:
    """How many times faster than life the deadlines run when the script runs at `speed` (0: as fast as it can)."""
    return min(max(speed, 1.0), FASTEST_PACE) if speed else PACE_AT_MAX


async def begin(client: httpx.AsyncClient, *, pace: float, sleep: Sleep = asyncio.sleep) -> Drill:
    """Begin a drill of the sign-in's own office; `DrillRefused` when it may not."""
    body = {"title": TITLE, "pace": pace}
    response = await send(client, "POST", "/v1/drills", json=body, repeatable=False, sleep=sleep)
    if response.status_code != 201:
        raise DrillRefused(f"no drill can be begun: {response.status_code} {detail(response)}".rstrip())
    return Drill(str(response.json()["id"]), pace)


async def end(client: httpx.AsyncClient, drill: Drill, *, sleep: Sleep = asyncio.sleep) -> None:
    """End the drill and keep its score; what hinders that is kept as its trouble."""
    try:
        response = await send(client, "POST", f"/v1/drills/{drill.id}/end", tries=4, sleep=sleep)
    except (httpx.TransportError, SignInRefused) as error:
        drill.trouble = f"{type(error).__name__} {error}".rstrip()
        return
    if response.status_code == 200:
        drill.score = response.json()
    else:
        drill.trouble = f"{response.status_code} {detail(response)}".rstrip()
