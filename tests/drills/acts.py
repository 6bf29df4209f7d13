"""What the tests of drills do again and again."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.builders import report

As = Callable[[str, str], dict[str, str]]

TITLE = "【演练】汛期转移"


async def begin(client: httpx.AsyncClient, headers: dict[str, str], **body: Any) -> dict[str, Any]:
    """POST /v1/drills."""
    answer = await client.post("/v1/drills", headers=headers, json={"title": TITLE, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def end(client: httpx.AsyncClient, headers: dict[str, str], drill: str) -> dict[str, Any]:
    """POST /v1/drills/{id}/end: its evaluation."""
    answer = await client.post(f"/v1/drills/{drill}/end", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def send(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """POST /v1/reports, which is stored."""
    answer = await client.post("/v1/reports", headers=headers, json=report(**changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def share(evaluation: dict[str, Any], part: str) -> tuple[int, int, int]:
    """Of one part: how many, how many in time, how many not judged."""
    found = next(one for one in evaluation["parts"] if one["part"] == part)
    return found["count"], found["in_time"], found["pending"]
