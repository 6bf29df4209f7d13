"""Two desks at once, and what else happens to a report meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from app.reports.models import Custody, ReportStep
from tests.builders import CITY, EXTREME, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Filed = Callable[..., Any]


@pytest.mark.parametrize(
    ("what", "body", "to"),
    [("forward", {"to": CITY, "note": "【演练】请支援"}, CITY), ("return", {"question": "【演练】几人？"}, VILLAGE)],
)
async def test_of_two_desks_that_pass_on_the_same_one_is_told_that_it_was_done(
    client: httpx.AsyncClient, as_: As, filed: Filed, database: Database, what: str, body: dict[str, str], to: str
) -> None:
    for _ in range(6):
        report_id = await filed()
        answers = await asyncio.gather(
            *(
                client.post(f"/v1/reports/{report_id}/{what}", json=body, headers=as_(TOWN, role))
                for role in ("desk", "supervisor")
            )
        )

        assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
        assert sorted(one.json()["applied"] for one in answers) == [False, True]
        held = [one for one in await rows(database, Custody) if str(one.report_id) == report_id]
        assert sorted(one.node_code for one in held) == sorted((TOWN, to))
        steps = [one.type for one in await rows(database, ReportStep) if str(one.report_id) == report_id]
        assert steps.count(f"report.{what}ed") == 1


async def test_a_report_that_is_passed_on_while_it_is_corrected_is_held_by_each_office_once(
    client: httpx.AsyncClient, as_: As, filed: Filed, database: Database
) -> None:
    for _ in range(6):
        report_id = await filed()
        worse = report(UUID(report_id), **URGENT)
        answers = await asyncio.gather(
            client.post(f"/v1/reports/{report_id}/forward", json={"to": CITY}, headers=as_(TOWN, "desk")),
            client.put(f"/v1/reports/{report_id}", json=worse, headers=as_(VILLAGE, "reporter") | {"If-Match": '"1"'}),
        )

        assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
        held = [one.node_code for one in await rows(database, Custody) if str(one.report_id) == report_id]
        assert sorted(held) == sorted((TOWN, CITY))


@pytest.mark.parametrize("what", ["open", "acknowledge"])
async def test_what_a_desk_does_while_the_village_corrects_is_done(
    client: httpx.AsyncClient, as_: As, filed: Filed, what: str
) -> None:
    village, town = as_(VILLAGE, "reporter") | {"If-Match": '"1"'}, as_(TOWN, "desk")
    for number in range(8):
        said = {**URGENT, "hazard": "fire.building"}
        report_id = await filed(**said)
        path = f"/v1/reports/{report_id}"
        alert = f"/v1/alerts/{(await client.get(path, headers=village)).json()['alert_id']}"

        async def later(number: int = number, path: str = path, alert: str = alert) -> httpx.Response:
            await asyncio.sleep(number * 0.002)
            if what == "open":
                return await client.get(path, headers=town)
            return await client.post(f"{alert}/acknowledge", headers=town)

        body = report(UUID(report_id), **{**said, **EXTREME})
        answers = await asyncio.gather(client.put(path, json=body, headers=village), later())
        await client.post(f"{alert}/close", json={"reason": "【演练】"}, headers=town)

        assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]


async def test_while_a_town_is_merged_and_parts_again_desks_act_and_each_report_is_held_once(
    client: httpx.AsyncClient, as_: As, filed: Filed, database: Database
) -> None:
    admin = as_(CITY, "admin")
    found = [await filed(**said) for said in (URGENT, {}, URGENT, {}, URGENT, {})]

    async def tree(what: str, body: dict[str, Any]) -> httpx.Response:
        return await client.post(f"/v1/nodes/{what}", json=body, headers=admin)

    def acts(office: str, other: str) -> list[Any]:
        headers = as_(office, "desk")
        said = ({"to": CITY, "note": "【演练】"}, {"question": "【演练】几人？"}, {"note": "【演练】"})
        paths = ("forward", "return", "acknowledge")
        return [
            *(
                client.post(f"/v1/reports/{one}/{paths[n % 3]}", json=said[n % 3], headers=headers)
                for n, one in enumerate(found)
            ),
            *(
                client.post(
                    f"/v1/reports/{one}/forward", json={"to": other, "note": "【演练】"}, headers=as_(CITY, "desk")
                )
                for one in found
            ),
        ]

    for what, body in (
        (f"{TOWN}/merge", {"into": OTHER_TOWN}),
        (f"{OTHER_TOWN}/split", {"parts": [{"code": TOWN}]}),
        (f"{TOWN}/merge", {"into": OTHER_TOWN}),
        (f"{OTHER_TOWN}/split", {"parts": [{"code": TOWN}]}),
    ):
        answers = await asyncio.gather(*acts(TOWN, OTHER_TOWN), tree(what, body), *acts(OTHER_TOWN, TOWN))
        assert {one.status_code for one in answers} <= {200, 401, 404, 409, 422}, [
            one.text for one in answers if one.status_code not in (200, 409)
        ]
    held = [(str(one.report_id), one.node_code) for one in await rows(database, Custody)]
    assert len(held) == len(set(held))
    for one in found:
        assert any(row.state != "forwarded" for row in await rows(database, Custody) if str(row.report_id) == one)
