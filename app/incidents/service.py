from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, and_, bindparam, exists, or_, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among, upsert_versions
from app.core.errors import Problem
from app.core.ids import new_id
from app.drills.scope import of_drill
from app.drills.service import DrillRow
from app.feed.service import Event
from app.hazards.cap import Level
from app.incidents.matching import Seen, here_key, near_keys
from app.incidents.models import Incident
from app.incidents.views import IncidentView, incident_view
from app.nodes.lookup import Place
from app.nodes.scope import visible
from app.nodes.service import TreeChange
from app.reports.models import Report

Row = Mapping[str, Any]

_COLUMNS = list(Incident.__table__.columns)
_CHANGING = ("nodes", "version", "state", "level", "headline", "reports", "last_observed_at")


async def candidates(
    conn: AsyncConnection,
    *,
    city_id: str,
    seen: Sequence[Seen],
    named: Collection[UUID],
    since: datetime,
    drill_id: UUID | None = None,
) -> dict[UUID, Any]:
    """By id: the open incidents that any of `seen` may belong to, and those that were `named`, open or not.

    Real ones, or one drill's.
    """
    near = {
        key
        for one in seen
        if one.lat is not None and one.lon is not None
        for key in near_keys(one.hazard, one.lat, one.lon)
    }
    found = await conn.execute(
        _candidates(conn.dialect.name, bool(near), bool(named), drill_id is not None),
        {
            "city_id": city_id,
            "here": sorted({here_key(one.hazard, one.node_code) for one in seen}),
            "since": since,
            **({"near": sorted(near)} if near else {}),
            **({"named": list(named)} if named else {}),
            **({"drill_id": drill_id} if drill_id else {}),
        },
    )
    return {row.id: row for row in found}


@cache
def _candidates(dialect: str, with_near: bool, with_named: bool, of_drill: bool) -> Any:
    same = and_(
        Incident.city_id == bindparam("city_id"),
        Incident.drill_id == bindparam("drill_id", type_=Uuid) if of_drill else Incident.drill_id.is_(None),
    )
    recent = and_(
        same,
        Incident.state == "open",
        Incident.last_observed_at >= bindparam("since"),
    )
    parts = [select(*_COLUMNS).where(recent, among(dialect, Incident.here, "here"))]
    if with_near:
        parts.append(select(*_COLUMNS).where(recent, among(dialect, Incident.near, "near")))
    if with_named:
        named = among(dialect, Incident.id, "named")
        parts.append(select(*_COLUMNS).where(same, named))
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


async def locked(conn: AsyncConnection, *, city_id: str, incident_id: UUID) -> Row:
    """A known incident's row, until the transaction ends nobody else's to change."""
    query = select(*_COLUMNS).where(Incident.city_id == city_id, Incident.id == incident_id).with_for_update()
    return (await conn.execute(query)).one()._asdict()


async def find_or_open(
    conn: AsyncConnection,
    *,
    place: Place,
    hazard: str,
    level: Level,
    headline: str,
    origin: str,
    drill: DrillRow | None,
    now: datetime,
) -> tuple[Row, bool]:
    """The node's open incident of this origin and hazard, or a new one without reports; and whether it is new."""
    drill_id = drill.id if drill else None
    here = here_key(hazard, place.code)
    query = select(*_COLUMNS).where(
        Incident.city_id == place.city_id,
        Incident.here == here,
        Incident.state == "open",
        Incident.origin == origin,
        of_drill(Incident, drill_id),
    )
    found = (await conn.execute(query.order_by(Incident.id).limit(1).with_for_update())).one_or_none()
    if found is not None:
        return found._asdict(), False
    row: dict[str, Any] = {
        "city_id": place.city_id,
        "id": new_id(),
        "version": 1,
        "state": "open",
        "hazard": hazard,
        "level": str(level),
        "node_code": place.code,
        "town_code": place.town_code,
        "headline": headline,
        "lat": None,
        "lon": None,
        "here": here,
        "near": None,
        "nodes": [place.code],
        "reports": 0,
        "opened_at": now,
        "last_observed_at": now,
        "drill_id": drill_id,
        "origin": origin,
    }
    await store(conn, [row])
    return row, True


def opened(row: Row) -> Event:
    """The log's event of a new incident."""
    body = {"id": str(row["id"]), "hazard": row["hazard"], "level": row["level"], "headline": row["headline"]}
    return Event(
        "incident.opened", "incident", row["id"], row["version"], row["node_code"], body, drill_id=row["drill_id"]
    )


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
    conn: AsyncConnection,
    *,
    caller: Caller,
    state: str | None,
    hazard: str | None,
    drill_id: UUID | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[IncidentView], str | None]:
    """Incidents the caller may see, the last opened first, and the cursor of the next page; real, or one drill's."""
    query = _readable(caller).where(of_drill(Incident, drill_id))
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
