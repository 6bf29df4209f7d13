from collections import defaultdict, namedtuple
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID, uuid5

from sqlalchemy import Uuid, and_, bindparam, exists, func, not_, or_, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among, upsert_versions
from app.core.errors import Problem
from app.core.ids import new_id
from app.drills.scope import of_drill
from app.drills.service import DrillRow
from app.feed.service import Event
from app.hazards.cap import Level
from app.incidents import proposed as proposals
from app.incidents.matching import Candidate, Index, Seen, here_key, near_key, near_keys
from app.incidents.models import Incident, IncidentStep
from app.incidents.proposed import Standing
from app.incidents.views import IncidentStepView, IncidentView, ProposalView, incident_view, proposal_view, step_view
from app.nodes import lookup, offices
from app.nodes.lookup import Place
from app.nodes.scope import visible
from app.nodes.service import TreeChange
from app.reports.models import Report

Row = Mapping[str, Any]

# As a row of `incidents`, where an answer's row says more.
Known = cast(Any, namedtuple)("Known", [column.name for column in Incident.__table__.columns])

COLUMNS = list(Incident.__table__.columns)
_Whole = aliased(Incident)
_WHOLE = [getattr(_Whole, column.name) for column in COLUMNS]
# Of a candidate also what it was found by: of an alias its own, not that of the incident that it is part of.
_PLACE = ("node_code", "town_code", "hazard", "lat", "lon", "here", "near")
_FOUND = [getattr(Incident, name).label(f"found_{name}") for name in ("id", *_PLACE)]
_CHANGING = (
    *("nodes", "version", "state", "level", "headline", "reports", "first_observed_at", "last_observed_at"),
    # What a correction may change while it is its only report's.
    *("hazard", "lat", "lon", "here", "near"),
)


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

    Real ones, or one drill's. Under the id of an incident that was merged there is the row of the one that it is part
    of; and once more, under a key of its own, with the alias's place and hazard: what that was found by finds it still.
    """
    near = {
        key
        for one in seen
        if one.lat is not None and one.lon is not None
        for key in near_keys(one.hazard, one.lat, one.lon)
    }
    rows = await conn.execute(
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
    found: dict[UUID, Any] = {}
    for row in rows:
        found[row.id] = found[row.found_id] = known = Known(*row[: len(COLUMNS)])
        if row.found_id != row.id:
            place = {name: getattr(row, f"found_{name}") for name in _PLACE}
            found[uuid5(row.found_id, "place")] = known._replace(**place)
    return found


@cache
def _candidates(dialect: str, with_near: bool, with_named: bool, of_drill: bool) -> Any:
    same = and_(
        Incident.city_id == bindparam("city_id"),
        Incident.drill_id == bindparam("drill_id", type_=Uuid) if of_drill else Incident.drill_id.is_(None),
    )
    since: Any = bindparam("since")
    here, named = among(dialect, Incident.here, "here"), among(dialect, Incident.id, "named")
    near = among(dialect, Incident.near, "near")
    # Apart: aliases are few and have an index of their own, and each part takes the index that it was made for.
    own = select(*COLUMNS, *_FOUND).where(same, Incident.merged_into.is_(None))
    recent = own.where(Incident.state == "open", Incident.last_observed_at >= since)
    aliases = (
        select(*_WHOLE, *_FOUND)
        .join(_Whole, and_(_Whole.city_id == Incident.city_id, _Whole.id == Incident.merged_into))
        .where(same, Incident.merged_into.is_not(None))
    )
    # Old aliases are many: only those of an incident that is alive.
    alive = aliases.where(_Whole.state == "open", _Whole.last_observed_at >= since)
    parts = [recent.where(here), alive.where(or_(here, near) if with_near else here)]
    if with_near:
        parts.append(recent.where(near))
    if with_named:
        parts += [own.where(named), aliases.where(named)]
    return union_all(*parts)


async def index(
    conn: AsyncConnection, found: Mapping[UUID, Any], seen: Collection[Seen], places: Mapping[str, Place]
) -> Index:
    """The open ones of these candidates, by what reports find them by, each with the towns that reported it."""
    rows = [row for row in found.values() if row.state == "open"]
    towns = {node: place.town_code for node, place in places.items()}
    known = Index(_candidate(row, towns) for row in rows)
    # Whether one that began in another town has a report of this one is looked up only where it lies near.
    near = {candidate.id for one in seen for candidate in known.around(one) if one.town_code not in candidate.towns}
    unknown = {node for row in rows if row.id in near for node in row.nodes if node != row.node_code} - places.keys()
    if not unknown:
        return known
    towns |= await offices.towns(conn, unknown)
    return Index(_candidate(row, towns) for row in rows)


def _candidate(row: Any, known: Mapping[str, str | None]) -> Candidate:
    towns = {row.town_code, *(known[node] for node in row.nodes if node in known)}
    return Candidate(
        row.id,
        row.node_code,
        row.town_code,
        row.hazard,
        row.first_observed_at or row.last_observed_at,
        row.last_observed_at,
        row.lat,
        row.lon,
        row.headline,
        frozenset(towns),
    )


async def resolve(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Of each of these incidents: the one that has its reports now; itself where it was not merged."""
    rows = await conn.execute(
        select(Incident.id, Incident.merged_into).where(Incident.city_id == city_id, Incident.id.in_(list(ids)))
    )
    return {row.id: row.merged_into or row.id for row in rows}


async def parties(
    conn: AsyncConnection, *, city_id: str, incidents: Collection[UUID], nodes: Collection[str]
) -> set[tuple[UUID, str]]:
    """Which of the nodes have a report in which of the incidents; of one that was merged, in what it is part of."""
    rows = await conn.execute(
        select(Incident.id, Report.node_code)
        .join(
            Report,
            and_(
                Report.city_id == Incident.city_id,
                Report.incident_id == func.coalesce(Incident.merged_into, Incident.id),
            ),
        )
        .where(Incident.city_id == city_id, Incident.id.in_(list(incidents)), Report.node_code.in_(sorted(nodes)))
        .distinct()
    )
    return {(row.id, row.node_code) for row in rows}


async def store(conn: AsyncConnection, rows: Sequence[Row]) -> None:
    """Store new incidents and the next version of known ones.

    Raises Contention when another writer made that version first: run the transaction again.
    """
    await upsert_versions(conn, Incident, rows, _CHANGING)


async def locked(conn: AsyncConnection, *, city_id: str, incident_id: UUID) -> Row:
    """A known incident's row, until the transaction ends nobody else's to change."""
    query = select(*COLUMNS).where(Incident.city_id == city_id, Incident.id == incident_id).with_for_update()
    return (await conn.execute(query)).one()._asdict()


def new_row(
    place: Place,
    hazard: str,
    *,
    level: Level,
    headline: str,
    origin: str,
    observed_at: datetime,
    drill_id: UUID | None,
    now: datetime,
    at: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """An incident to be opened by a node, without reports yet: every column, as `store` wants rows of one statement.

    `at` is where it is (latitude, longitude), if that is known.
    """
    return {
        **dict.fromkeys(column.name for column in COLUMNS),
        "city_id": place.city_id,
        "id": new_id(),
        "version": 1,
        "state": "open",
        "hazard": hazard,
        "level": str(level),
        "node_code": place.code,
        "town_code": place.town_code,
        "headline": headline,
        "lat": at[0] if at else None,
        "lon": at[1] if at else None,
        "here": here_key(hazard, place.code),
        "near": near_key(hazard, *at) if at else None,
        "nodes": [place.code],
        "reports": 0,
        "opened_at": now,
        "last_observed_at": observed_at,
        "first_observed_at": observed_at,
        "drill_id": drill_id,
        "origin": origin,
    }


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
    query = select(*COLUMNS).where(
        Incident.city_id == place.city_id,
        Incident.here == here,
        Incident.hazard == hazard,
        Incident.state == "open",
        Incident.origin == origin,
        of_drill(Incident, drill_id),
    )
    found = (await conn.execute(query.order_by(Incident.id).limit(1).with_for_update())).one_or_none()
    if found is not None:
        return found._asdict(), False
    row = new_row(
        place, hazard, level=level, headline=headline, origin=origin, observed_at=now, drill_id=drill_id, now=now
    )
    await store(conn, [row])
    return row, True


def observe(row: dict[str, Any], at: datetime) -> None:
    """Let the time that an incident spans, its row's, reach to what was observed then."""
    row["first_observed_at"] = min(row["first_observed_at"] or row["last_observed_at"], at)
    row["last_observed_at"] = max(row["last_observed_at"], at)


def opened(row: Row) -> Event:
    """The log's event of a new incident."""
    body = {"id": str(row["id"]), "hazard": row["hazard"], "level": row["level"], "headline": row["headline"]}
    return Event(
        "incident.opened", "incident", row["id"], row["version"], row["node_code"], body, drill_id=row["drill_id"]
    )


async def follow_tree(conn: AsyncConnection, changes: Sequence[TreeChange]) -> None:
    """Follow the tree: the open incidents of a node that changed hands go with it to its new town."""
    for change in changes:
        town = _town_after(change)
        if town is not None:
            await conn.execute(
                update(Incident)
                .where(Incident.city_id == change.city_id, Incident.node_code == change.code, Incident.state == "open")
                .where(Incident.town_code != town)
                .values(town_code=town, version=Incident.version + 1)
            )


def _town_after(change: TreeChange) -> str | None:
    match change.kind:
        case "moved":
            return change.new_parent if change.new_parent != change.city_id else None
        case "merged":
            # A village is part of another village, and that one's town is told beside it.
            return change.also[0] if change.also else change.new_parent
        case "reopened":
            return change.code if change.new_parent == change.city_id else change.new_parent
        case _:
            return None


def readable(caller: Caller) -> Any:
    """The query for the incidents that a caller may see.

    One is seen where it began, wherever one of its reports came from, and by the office that leads. What was merged is
    seen as well wherever a report came from of the incident that it is part of.
    """
    told = exists().where(
        Report.city_id == Incident.city_id,
        Report.incident_id == func.coalesce(Incident.merged_into, Incident.id),
        visible(caller, Report),
    )
    leads = Incident.assigned_to == caller.node
    return select(*COLUMNS).where(Incident.city_id == caller.city_id, or_(visible(caller, Incident), leads, told))


async def find(conn: AsyncConnection, *, caller: Caller, incident_id: UUID) -> Row:
    """The row of an incident the caller may see; a Problem (404) otherwise."""
    row = (await conn.execute(readable(caller).where(Incident.id == incident_id))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    found: Row = row._asdict()
    return found


async def get(conn: AsyncConnection, *, caller: Caller, incident_id: UUID) -> IncidentView:
    """One incident the caller may see, with its aliases and proposals; a Problem (404) otherwise."""
    row = await find(conn, caller=caller, incident_id=incident_id)
    aliases = (await aliases_of(conn, city_id=caller.city_id, ids=[incident_id]))[incident_id]
    found = await proposals.standing(conn, city_id=caller.city_id, parts=[incident_id, *aliases])
    found = {incident_id: found.get(incident_id, [])}
    return incident_view(row, aliases, (await _shown(conn, caller.city_id, found))[incident_id])


async def _shown(
    conn: AsyncConnection, city_id: str, found: Mapping[UUID, Sequence[Standing]]
) -> dict[UUID, list[ProposalView]]:
    """The proposals of incidents as they are told to an office that may not see the other one."""
    ids = {one.other for its in found.values() for one in its}
    if not ids:
        return {key: [] for key in found}
    rows = await conn.execute(
        select(Incident.id, Incident.hazard, Incident.level, Incident.town_code).where(
            Incident.city_id == city_id, Incident.id.in_(ids)
        )
    )
    others = {row.id: row for row in rows}
    towns = await lookup.places(conn, {row.town_code or city_id for row in others.values()})
    return {
        key: [proposal_view(one, others[one.other], towns[others[one.other].town_code or city_id].name) for one in its]
        for key, its in found.items()
    }


async def aliases_of(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> dict[UUID, list[UUID]]:
    """By incident: those that were merged into it, the first opened first."""
    rows = await conn.execute(
        select(Incident.merged_into, Incident.id)
        .where(Incident.city_id == city_id, Incident.merged_into.in_(list(ids)))
        .order_by(Incident.opened_at, Incident.id)
    )
    found: dict[UUID, list[UUID]] = defaultdict(list)
    for whole, alias in rows:
        found[cast(UUID, whole)].append(alias)
    return found


async def list_incidents(
    conn: AsyncConnection,
    *,
    caller: Caller,
    states: Sequence[str] | None,
    hazards: Sequence[str] | None,
    proposed: bool | None,
    aliases: bool,
    drill_id: UUID | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[IncidentView], str | None]:
    """Incidents the caller may see, the last opened first, and the cursor of the next page; real, or one drill's.

    With `aliases` also those that were merged into others; `proposed` are those that may be one with another, with
    their proposals, or the others.
    """
    waiting: dict[UUID, list[Standing]] = {}
    if proposed is not None:
        waiting = await proposals.standing(conn, city_id=caller.city_id)
    query = readable(caller).where(of_drill(Incident, drill_id))
    if not aliases:
        query = query.where(Incident.merged_into.is_(None))
    if states:
        query = query.where(Incident.state.in_(states))
    if hazards:
        query = query.where(Incident.hazard.in_(hazards))
    if proposed is not None:
        has_any = among(conn.dialect.name, Incident.id, "waiting")
        query = query.where(has_any if proposed else not_(has_any))
    if cursor is not None:
        query = query.where(tuple_(Incident.opened_at, Incident.id) < paging.decode_moment("incidents", cursor))
    query = query.order_by(Incident.opened_at.desc(), Incident.id.desc()).limit(limit + 1)
    bound = {} if proposed is None else {"waiting": list(waiting)}
    rows = (await conn.execute(query, bound)).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("incidents", rows[-1].opened_at, rows[-1].id)
    parts = await aliases_of(conn, city_id=caller.city_id, ids=[row.id for row in rows])
    shown: dict[UUID, list[ProposalView]] = {}
    if proposed is not None:
        shown = await _shown(conn, caller.city_id, {row.id: waiting.get(row.id, []) for row in rows})
    return [incident_view(row._asdict(), parts[row.id], shown.get(row.id)) for row in rows], after


async def timeline(
    conn: AsyncConnection, *, caller: Caller, incident_id: UUID, limit: int, cursor: str | None
) -> tuple[list[IncidentStepView], str | None]:
    """What was done with an incident, the first step first, and the cursor of the next page; a Problem (404)."""
    await find(conn, caller=caller, incident_id=incident_id)
    query = select(*IncidentStep.__table__.columns).where(
        IncidentStep.city_id == caller.city_id, IncidentStep.incident_id == incident_id
    )
    if cursor is not None:
        query = query.where(tuple_(IncidentStep.at, IncidentStep.id) > paging.decode_moment("steps", cursor))
    rows = (await conn.execute(query.order_by(IncidentStep.at, IncidentStep.id).limit(limit + 1))).all()
    after = None
    if len(rows) > limit:
        rows = rows[:limit]
        after = paging.encode_moment("steps", rows[-1].at, rows[-1].id)
    return [step_view(row._asdict()) for row in rows], after
