"""Two desks at once, and what else happens to a report meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from app.reports.models import Custody, ReportStep
from tests.builders import CITY, TOWN, URGENT, VILLAGE, report
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
