"""What the tests of figures do again and again."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import insert, update

from app.core.database import Database
from app.core.ids import new_id
from app.incidents.models import Incident, IncidentMove
from app.nodes.models import Node, NodeChange, NodeSpan, NodeSuccession
from app.reports.models import Report
from tests.builders import CITY, NOON, report


async def filed(client: httpx.AsyncClient, headers: dict[str, str], **said: Any) -> dict[str, Any]:
    """POST /v1/reports; what is not a field of a report is a figure of it."""
    fields = {"id", "kind", "node", "hazard", "observed_at", "submitted_at", "incident_id", "drill_id", "figures"}
    body = report(**{key: value for key, value in said.items() if key in fields})
    if figures := {key: value for key, value in said.items() if key not in fields}:
        body["figures"] = figures
    answer = await client.post("/v1/reports", headers=headers, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def corrected(
    client: httpx.AsyncClient, headers: dict[str, str], stored: dict[str, Any], **said: Any
) -> dict[str, Any]:
    """PUT /v1/reports/{id}, on the version given."""
    body = report(UUID(stored["id"]), **said)
    tag = {"If-Match": f'"{stored["version"]}"'}
    answer = await client.put(f"/v1/reports/{stored['id']}", headers=headers | tag, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def table(answer: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By office and figure: the values alone."""
    return {row["office"]["code"]: {one["figure"]: one["value"] for one in row["figures"]} for row in answer["rows"]}


async def move(database: Database, report_id: str, into: str, at: datetime) -> None:
    """A desk takes a report to another incident."""
    async with database.writing() as conn:
        mine = (Report.city_id == CITY, Report.id == UUID(report_id))
        before = (await conn.execute(Report.__table__.select().where(*mine))).one()
        await conn.execute(update(Report).where(*mine).values(incident_id=UUID(into)))
        await conn.execute(
            insert(IncidentMove),
            {
                "city_id": CITY,
                "id": new_id(),
                "report_id": before.id,
                "from_incident": before.incident_id,
                "to_incident": UUID(into),
                "at": at,
            },
        )


async def merge_incidents(database: Database, source: str, into: str, at: datetime) -> None:
    """All reports of one incident go into another, and it becomes an alias."""
    async with database.reading() as conn:
        rows = (await conn.execute(Report.__table__.select().where(Report.incident_id == UUID(source)))).all()
    for row in rows:
        await move(database, str(row.id), into, at)
    async with database.writing() as conn:
        mine = (Incident.city_id == CITY, Incident.id == UUID(source))
        await conn.execute(update(Incident).where(*mine).values(merged_into=UUID(into), state="closed"))


async def merge_offices(database: Database, code: str, into: str, on: date, recorded_at: datetime = NOON) -> None:
    """From a day on one office is part of another; the villages of a town come with it."""
    async with database.writing() as conn:
        values = {"closed_on": on, "merged_into": into}
        await conn.execute(update(Node).where(Node.code == code).values(values))
        await conn.execute(update(NodeSpan).where(NodeSpan.code == code, NodeSpan.until.is_(None)).values(until=on))
        await conn.execute(
            insert(NodeSuccession), {"code": code, "on": on, "kind": "merge", "other": into, "city_id": CITY}
        )
        await conn.execute(
            insert(NodeChange),
            {
                "city_id": CITY,
                "id": new_id(),
                "code": code,
                "kind": "merged",
                "old_parent": None,
                "on": on,
                "at": recorded_at,
            },
        )
        children = (await conn.execute(Node.__table__.select().where(Node.parent_code == code))).all()
        for child in children:
            await conn.execute(update(Node).where(Node.code == child.code).values(parent_code=into))
            await conn.execute(update(NodeSpan).where(NodeSpan.code == child.code).values(until=on))
            span = {"code": child.code, "since": on, "until": None, "city_id": CITY, "tier": "village"}
            await conn.execute(insert(NodeSpan), {**span, "name": child.name, "parent_code": into})
