from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, exists, or_, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among, upsert_versions
from app.core.errors import Problem
from app.incidents.matching import Seen, here_key, near_keys
from app.incidents.models import Incident
from app.incidents.views import IncidentView, incident_view
from app.nodes.scope import visible
from app.nodes.service import TreeChange
from app.reports.models import Report

Row = Mapping[str, Any]

_COLUMNS = list(Incident.__table__.columns)
_CHANGING = ("nodes", "version", "state", "level", "headline", "reports", "last_observed_at")


async def candidates(
    conn: AsyncConnection, *, city_id: str, seen: Sequence[Seen], named: Collection[UUID], since: datetime
) -> dict[UUID, Any]:
    """By id: the open incidents that any of `seen` may belong to, and those that were `named`, open or not."""
    near = {
        key
        for one in seen
        if one.lat is not None and one.lon is not None
        for key in near_keys(one.hazard, one.lat, one.lon)
    }
    found = await conn.execute(
        _candidates(conn.dialect.name, bool(near), bool(named)),
        {
            "city_id": city_id,
            "here": sorted({here_key(one.hazard, one.node_code) for one in seen}),
            "since": since,
            **({"near": sorted(near)} if near else {}),
            **({"named": list(named)} if named else {}),
        },
    )
    return {row.id: row for row in found}


@cache
def _candidates(dialect: str, with_near: bool, with_named: bool) -> Any:
    recent = and_(
        Incident.city_id == bindparam("city_id"),
        Incident.state == "open",
        Incident.last_observed_at >= bindparam("since"),
    )
    parts = [select(*_COLUMNS).where(recent, among(dialect, Incident.here, "here"))]
    if with_near:
        parts.append(select(*_COLUMNS).where(recent, among(dialect, Incident.near, "near")))
    if with_named:
        named = among(dialect, Incident.id, "named")
        parts.append(select(*_COLUMNS).where(Incident.city_id == bindparam("city_id"), named))
    return parts[0] if len(parts) == 1 else union_all(*parts)


async def parties(
    conn: AsyncConnection, *, city_id: str, incidents: Collection[UUID], nodes: Collection[str]
) -> set[tuple[UUID, str]]:
    """Which of the nodes have a report in which of the incidents."""
    rows = await conn.execute(
        select(Report.incident_id, Report.node_code)
        .where(
            Report.city_id == city_id,
            Report.incident_id.in_(list(incidents)),
            Report.node_code.in_(sorted(nodes)),
        )
        .distinct()
    )
    return {(row.incident_id, row.node_code) for row in rows}


async def store(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Store new incidents and the next version of known ones.

    Raises Contention when another writer made that version first: run the transaction again.
    """
    await upsert_versions(conn, Incident, rows, _CHANGING)


async def follow_tree(conn: AsyncConnection, change: TreeChange, now: datetime) -> None:
    """A tree listener: a moved node's open incidents go with it to its new town."""
    if change.kind == "moved":
        await conn.execute(
            update(Incident)
            .where(Incident.city_id == change.city_id, Incident.node_code == change.code, Incident.state == "open")
            .where(Incident.town_code != change.code)
            .values(town_code=change.new_parent, version=Incident.version + 1)
        )


def _readable(caller: Caller) -> Any:
    """An incident is seen where it began, and wherever one of its reports came from."""
    told = exists().where(
        Report.city_id == Incident.city_id, Report.incident_id == Incident.id, visible(caller, Report)
    )
    return select(*_COLUMNS).where(Incident.city_id == caller.city_id, or_(visible(caller, Incident), told))


async def get(conn: AsyncConnection, *, caller: Caller, incident_id: UUID) -> IncidentView:
    """One incident the caller may see; a Problem (404) otherwise."""
    row = (await conn.execute(_readable(caller).where(Incident.id == incident_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return incident_view(row._asdict())


async def list_incidents(
    conn: AsyncConnection, *, caller: Caller, state: str | None, hazard: str | None, limit: int, cursor: str | None
) -> tuple[list[IncidentView], str | None]:
    """Incidents the caller may see, the last opened first, and the cursor of the next page."""
    query = _readable(caller)
    if state is not None:
        query = query.where(Incident.state == state)
    if hazard is not None:
        query = query.where(Incident.hazard == hazard)
    if cursor is not None:
        query = query.where(tuple_(Incident.opened_at, Incident.id) < paging.decode_moment("incidents", cursor))
    rows = (await conn.execute(query.order_by(Incident.opened_at.desc(), Incident.id.desc()).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("incidents", rows[-1].opened_at, rows[-1].id)
    return [incident_view(row._asdict()) for row in rows], after
