from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.builders import VILLAGE, report

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
def act(client: httpx.AsyncClient, as_: As) -> Callable[..., Any]:
    """`await act(TOWN, report_id, "acknowledge")`: what it answers, as that office's desk."""

    async def done(node: str, report_id: str, what: str, *, expect: int = 200, **body: Any) -> Any:
        answer = await client.post(f"/v1/reports/{report_id}/{what}", json=body, headers=as_(node, "desk"))
        assert answer.status_code == expect, answer.text
        return answer.json()

    return done


@pytest.fixture
def filed(client: httpx.AsyncClient, as_: As) -> Callable[..., Any]:
    """`await filed(**URGENT)`: the id of a report that the village has just filed."""

    async def done(**said: Any) -> str:
        answer = await client.post("/v1/reports", json=report(**said), headers=as_(VILLAGE, "reporter"))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return done
