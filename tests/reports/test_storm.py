"""Everything at once, while villages and towns merge and part: nobody waits in a circle, and nothing is left alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from app.reports.models import Custody
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Filed = Callable[..., Any]
Ask = Callable[..., Awaitable[httpx.Response]]

TREE = [
    (f"{VILLAGE}/merge", {"into": NEIGHBOUR}),
    (f"{NEIGHBOUR}/split", {"parts": [{"code": VILLAGE}]}),
    (f"{TOWN}/merge", {"into": OTHER_TOWN}),
    (f"{OTHER_TOWN}/split", {"parts": [{"code": TOWN}]}),
]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def asked(method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
        answer = await client.request(method, f"/v1/{path}", json=body, headers=headers)
        assert answer.status_code < 500, (method, path, answer.text)
        return answer

    return asked


async def join_or_part(ask: Ask, desk: dict[str, str]) -> None:
    items = (await ask("GET", "incidents", desk)).json()["items"]
    first, *others = [one["id"] for one in items if one["state"] == "open"]
    if others:
        await ask("POST", f"incidents/{first}/merge", desk, {"into": others[0], "reason": "【演练】"})
    else:
        said = (await ask("GET", f"reports?incident={first}", desk)).json()["items"]
        await ask("POST", f"incidents/{first}/split", desk, {"reports": [said[0]["id"]], "reason": "【演练】"})


async def test_while_the_tree_changes_everybody_goes_on(
    as_: As, ask: Ask, filed: Filed, database: Database, client: httpx.AsyncClient
) -> None:
    village, town, desk = as_(VILLAGE, "reporter"), as_(TOWN, "desk"), as_(CITY, "desk")
    families = ("fire.building", "flood.river")
    said = {await filed(**grave, hazard=of): of for of in families for grave in (URGENT, {}, URGENT)}
    versions = dict.fromkeys(said, 1)
    done = 0

    async def correct(one: str, number: int) -> None:
        body = report(UUID(one), **(EXTREME if number % 2 else URGENT), summary=f"【演练】{number}", hazard=said[one])
        answer = await ask("PUT", f"reports/{one}", village | {"If-Match": f'"{versions[one]}"'}, body)
        if answer.status_code == 200:
            versions[one] = answer.json()["version"]

    for number in range(8):
        alerts = [one["id"] for one in (await ask("GET", "alerts", desk)).json()["items"]]
        path, body = TREE[number % 4]
        acts = [
            *(correct(one, number) for one in said),
            join_or_part(ask, desk),
            *(
                ask("POST", "reports", as_(one, "reporter"), report(**URGENT))
                for one in (VILLAGE, NEIGHBOUR, FAR_VILLAGE)
            ),
            ask("POST", f"nodes/{path}", as_(CITY, "admin"), body),
            *(ask("POST", f"alerts/{one}/acknowledge", town, {}) for one in alerts),
            *(ask("POST", f"reports/{one}/forward", town, {"to": CITY}) for one in said),
            *(ask("POST", f"reports/{one}/return", desk, {"question": f"【演练】{number}"}) for one in said),
            *(ask("GET", f"reports/{one}", town) for one in said),
        ]
        answers = await asyncio.gather(*(acts if number % 3 else reversed(acts)))
        done += sum(isinstance(one, httpx.Response) and one.status_code == 200 for one in answers)

    assert done > 50
    held = await rows(database, Custody)
    for one in (await ask("GET", "reports?limit=500", desk)).json()["items"]:
        assert any(row.state != "forwarded" for row in held if str(row.report_id) == one["id"])
        assert one["level"] not in ("red", "orange") or one["alert_id"]
    raised = {one["incident_id"] for one in (await ask("GET", "alerts", desk)).json()["items"]}
    for one in (await ask("GET", "incidents", desk)).json()["items"]:
        assert one["level"] not in ("red", "orange") or not one["reports"] or one["id"] in raised
