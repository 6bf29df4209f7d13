"""One transaction: whatever fails, nothing of the report exists; and no urgent report without its alert."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from app.alerts import service as alerts
from app.alerts.models import Alert
from app.core.database import Database
from app.core.ids import new_id
from app.feed import service as feed
from app.hazards import triage
from app.incidents import service as incidents
from app.intake import service as intake
from app.nodes import lookup
from app.reports import service as reports
from app.reports.models import Report
from tests.builders import CITY, EXTREME, NEIGHBOUR, TOWN, URGENT, VILLAGE, report
from tests.tables import counts, rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

STEPS = [
    (lookup, "places"),
    (incidents, "candidates"),
    (reports, "neighbours"),
    (intake, "triage"),
    (incidents, "store"),
    (alerts, "store"),
    (reports, "store"),
    (reports, "store_custody"),
    (reports, "note_activity"),
    (feed, "append"),
    (feed, "announce"),
]


class Broken(Exception):
    pass


@pytest.mark.parametrize(("module", "name"), STEPS, ids=[f"{m.__name__}.{n}" for m, n in STEPS])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_when_a_step_fails_nothing_is_stored(
    client: httpx.AsyncClient,
    as_: As,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    after: bool,
) -> None:
    real = getattr(module, name)
    reached = []

    async def fail(*args: Any, **kwargs: Any) -> None:
        reached.append(name)
        if after:
            await real(*args, **kwargs)
        raise Broken("secret words of the database")

    def fail_at_once(*args: Any, **kwargs: Any) -> None:
        reached.append(name)
        raise Broken("secret words of the database")

    monkeypatch.setattr(module, name, fail_at_once if name in ("triage", "announce") else fail)
    body = report(**EXTREME)

    answer = await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "reporter"))

    assert reached
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert set((await counts(database)).values()) == {0}

    monkeypatch.undo()
    again = await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "reporter"))
    assert again.status_code == 201


async def test_one_failing_report_takes_no_other_of_its_group_with_it(
    client: httpx.AsyncClient, as_: As, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = triage.triage

    def fail_for_fires(policy: Any, situation: Any) -> Any:
        if situation.hazard.code == "fire.building":
            raise Broken
        return real(policy, situation)

    monkeypatch.setattr(intake, "triage", fail_for_fires)
    items = [report(), report(hazard="fire.building"), report(hazard="flood.river", **URGENT)]

    answer = await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

    assert [result["status"] for result in answer.json()["results"]] == ["created", "rejected", "created"]
    assert answer.json()["results"][1]["problem"]["code"] == "internal"
    assert (await counts(database))["reports"] == 2


async def urgent_without_alert(database: Database) -> list[Any]:
    """Urgent reports that have no alert of their own incident, at least as grave."""
    known = {alert.id: alert for alert in await rows(database, Alert)}
    grave = {"yellow": 2, "orange": 3, "red": 4}
    return [
        row
        for row in await rows(database, Report)
        if row.level in ("red", "orange")
        and (
            row.alert_id not in known
            or known[row.alert_id].incident_id != row.incident_id
            or grave[known[row.alert_id].level] < grave[row.level]
        )
    ]


async def test_no_route_stores_an_urgent_report_without_its_alert(
    client: httpx.AsyncClient, as_: As, database: Database
) -> None:
    reporter, desk, city = as_(VILLAGE, "reporter"), as_(TOWN, "desk"), as_(CITY, "desk")
    orange = {"severity": "Severe", "urgency": "Expected", "certainty": "Likely", "figures": {"dead": 3}}
    quiet = (await client.post("/v1/reports", json=report(), headers=reporter)).json()

    await client.post("/v1/reports", json=report(**orange), headers=reporter)
    await client.post("/v1/reports", json=report(kind="followup", **EXTREME), headers=reporter)
    await client.post(
        "/v1/reports", json=report(kind="final", incident_id=quiet["incident_id"], **orange), headers=desk
    )
    await client.post(
        "/v1/reports", json=report(node=NEIGHBOUR, incident_id=quiet["incident_id"], **orange), headers=desk
    )
    await client.post("/v1/reports", json=report(hazard="fire.building", figures={"dead": 12}), headers=city)
    batch = [report(), report(**orange), report(**EXTREME), report(hazard="dam.breach", **orange)]
    await client.post("/v1/reports/batch", json={"reports": batch}, headers=as_(NEIGHBOUR, "reporter"))
    # The alert is closed, and then the incident gets worse again.
    alert = (await client.get("/v1/alerts", headers=city)).json()["items"][0]["id"]
    await client.post(f"/v1/alerts/{alert}/close", json={"reason": "【演练】结束"}, headers=city)
    for village in (VILLAGE, NEIGHBOUR):
        await client.post("/v1/reports", json=report(**orange), headers=as_(village, "reporter"))

    stored = await rows(database, Report)
    assert sum(row.level in ("red", "orange") for row in stored) >= 8
    assert await urgent_without_alert(database) == []


@pytest.mark.parametrize("level", ["orange", "red"])
async def test_the_database_itself_refuses_an_urgent_report_without_alert(
    client: httpx.AsyncClient, as_: As, database: Database, level: str
) -> None:
    await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))
    stored = dict((await rows(database, Report))[0]._mapping)

    with pytest.raises(IntegrityError):
        async with database.writing() as conn:
            await conn.execute(insert(Report), [stored | {"id": new_id(), "level": level}])
    with pytest.raises(IntegrityError):
        async with database.writing() as conn:
            await conn.execute(insert(Report), [stored | {"id": new_id(), "level": level, "alert_id": new_id()}])
    with pytest.raises(IntegrityError):
        async with database.writing() as conn:
            await conn.execute(update(Report).where(Report.city_id == CITY).values(level=level))

    assert len(await rows(database, Report)) == 1


async def test_a_group_of_reports_on_one_incident_makes_one_alert(
    client: httpx.AsyncClient, as_: As, app: FastAPI, database: Database
) -> None:
    items = [report(**URGENT), report(), report(**EXTREME), report()]

    await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

    stored = await rows(database, Alert)
    assert [(alert.level, alert.reports) for alert in stored] == [("red", 4)]
