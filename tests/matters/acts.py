"""What the tests of matters do again and again."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.core.database import Database
from app.hazards.cap import Level
from app.incidents.models import Incident
from app.reports.models import Report
from tests.builders import report
from tests.tables import rows

As = Callable[[str, str], dict[str, str]]

# For rules that no database has a part in.
ON_ONE_DATABASE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)

# Far apart: no two of them are one incident by themselves.
FIRE = {"hazard": "fire.building", "summary": "【演练】厂房起火"}


async def post(client: httpx.AsyncClient, headers: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A stored report."""
    answer = await client.post("/v1/reports", json=report(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def act(
    client: httpx.AsyncClient, headers: dict[str, str], incident: str, verb: str, **body: Any
) -> httpx.Response:
    """POST /v1/incidents/{id}/{verb}."""
    if verb in ("merge", "split", "reopen", "dismiss"):
        body = {"reason": "【演练】同一险情", **body}
    return await client.post(f"/v1/incidents/{incident}/{verb}", headers=headers, json=body)


async def done(client: httpx.AsyncClient, headers: dict[str, str], incident: str, verb: str, **body: Any) -> Any:
    """The answer of an act that must pass."""
    answer = await act(client, headers, incident, verb, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(
    client: httpx.AsyncClient, headers: dict[str, str], incident: str, verb: str, **body: Any
) -> tuple[int, str]:
    """The status and code of an act that must not pass."""
    answer = await act(client, headers, incident, verb, **body)
    return answer.status_code, answer.json()["code"]


async def standing(database: Database) -> dict[UUID, Any]:
    """Of each incident: what it is, and which reports it has."""
    reports: dict[UUID, set[UUID]] = {}
    for row in await rows(database, Report):
        reports.setdefault(row.incident_id, set()).add(row.id)
    return {
        row.id: (
            reports.get(row.id, set()),
            row.state,
            row.merged_into,
            row.reports,
            row.level,
            row.headline,
            row.nodes,
            row.node_code,
            row.here,
            row.last_observed_at,
        )
        for row in await rows(database, Incident)
    }


async def agree(database: Database) -> None:
    """Every incident counts the reports that it has, an alias has none, and none points to an alias."""
    found = {row.id: row for row in await rows(database, Incident)}
    reports = await rows(database, Report)
    counted = Counter(row.incident_id for row in reports)
    gravest: dict[UUID, int] = {}
    for one in reports:
        gravest[one.incident_id] = max(gravest.get(one.incident_id, 0), Level(one.level).rank)
    for row in found.values():
        if row.merged_into is not None:
            assert counted[row.id] == 0
            assert found[row.merged_into].merged_into is None
        else:
            assert row.reports == counted[row.id]
            assert Level(row.level).rank >= gravest.get(row.id, 0)
