"""Who has not been heard from, since when, and what lies beside them."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert
from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among
from app.core.errors import Problem
from app.drills.scope import of_drill
from app.hazards.cap import Level
from app.hazards.catalogue import HAZARDS
from app.hazards.silence import SilencePolicy
from app.incidents.models import Incident
from app.nodes.models import CODE, Node
from app.nodes.scope import visible
from app.reports.models import Report
from app.rollcalls.models import RollCall, RollCallAnswer
from app.rollcalls.weighing import Danger, Quiet, Weight, weigh

Row = Mapping[str, Any]

# Roll calls that are looked back over for those missed in a row.
LOOK_BACK = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """When a node was last heard from, either way."""

    report_at: datetime | None = None
    answer_at: datetime | None = None

    @property
    def at(self) -> datetime | None:
        """The later of the two."""
        return max((one for one in (self.report_at, self.answer_at) if one is not None), default=None)


async def last_heard(
    conn: AsyncConnection, *, city_id: str, nodes: Collection[str], drill_id: UUID | None
) -> dict[str, Heard]:
    """By node: its last report and its last answer; real, or of one drill."""
    codes = {"nodes": sorted(nodes)}
    dialect = conn.dialect.name
    reports = await conn.execute(
        select(Report.node_code, func.max(Report.received_at).label("at"))
        .where(Report.city_id == city_id, among(dialect, Report.node_code, "nodes"), of_drill(Report, drill_id))
        .group_by(Report.node_code),
        codes,
    )
    reported = {row.node_code: row.at for row in reports}
    answers = await conn.execute(
        select(RollCallAnswer.node_code, func.max(RollCallAnswer.answered_at).label("at"))
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .where(
            RollCallAnswer.city_id == city_id,
            among(dialect, RollCallAnswer.node_code, "nodes"),
            of_drill(RollCall, drill_id),
        )
        .group_by(RollCallAnswer.node_code),
        codes,
    )
    answered = {row.node_code: row.at for row in answers}
    return {code: Heard(reported.get(code), answered.get(code)) for code in nodes}


async def missed_in_a_row(
    conn: AsyncConnection, *, city_id: str, nodes: Collection[str], drill_id: UUID | None, before: datetime
) -> dict[str, int]:
    """By node: how many of the last roll calls closed before then it left unanswered, from the latest back."""
    calls = (
        select(RollCall.id)
        .where(
            RollCall.city_id == city_id,
            RollCall.closed_at.is_not(None),
            RollCall.due_at < before,
            of_drill(RollCall, drill_id),
        )
        .order_by(RollCall.due_at.desc())
        .limit(LOOK_BACK * 4)
    )
    ids = list((await conn.execute(calls)).scalars())
    if not ids:
        return {}
    rows = await conn.execute(
        select(RollCallAnswer.node_code, RollCallAnswer.state, RollCallAnswer.heard_at, RollCall.due_at)
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.roll_call_id.in_(ids),
            among(conn.dialect.name, RollCallAnswer.node_code, "nodes"),
            RollCallAnswer.state != "excused",
        )
        .order_by(RollCall.due_at.desc()),
        {"nodes": sorted(nodes)},
    )
    missed: dict[str, int] = defaultdict(int)
    ended: set[str] = set()
    for row in rows:
        if row.node_code in ended:
            continue
        if row.state != "waiting" or row.heard_at is not None:
            ended.add(row.node_code)
        else:
            missed[row.node_code] += 1
    return missed


async def dangers(conn: AsyncConnection, *, city_id: str, drill_id: UUID | None) -> list[Danger]:
    """The open alerts of a city, silence itself apart: where, and how grave."""
    rows = await conn.execute(
        select(Alert.level, Alert.hazard, Incident.town_code, Incident.lat, Incident.lon, Node.lat, Node.lon)
        .join(Incident, and_(Incident.city_id == Alert.city_id, Incident.id == Alert.incident_id))
        .join(Node, Node.code == Alert.node_code)
        .where(Alert.city_id == city_id, Alert.state != "closed", Alert.origin != "silence", of_drill(Alert, drill_id))
    )
    return [
        Danger(
            Level(level),
            town,
            lat if lat is not None else node_lat,
            lon if lon is not None else node_lon,
            HAZARDS[hazard].zh,
            HAZARDS[hazard].en,
        )
        for level, hazard, town, lat, lon, node_lat, node_lon in rows
    ]


async def weighed(
    conn: AsyncConnection, *, city_id: str, rows: Sequence[Any], drill_id: UUID | None, policy: SilencePolicy
) -> dict[str, Weight]:
    """By node: what the silence of these rows (node_code, town_code, lat, lon, missed, silent_since) weighs now."""
    around = await dangers(conn, city_id=city_id, drill_id=drill_id)
    return {
        row.node_code: weigh(
            policy, Quiet(row.node_code, row.town_code, row.lat, row.lon, row.missed, row.last_heard_at), around
        )
        for row in rows
    }


async def list_silent(
    conn: AsyncConnection,
    *,
    caller: Caller,
    drill_id: UUID | None,
    policy: SilencePolicy,
    limit: int,
    cursor: str | None,
    today: date,
) -> tuple[list[dict[str, Any]], str | None]:
    """The nodes of the caller's subtree that missed a roll call and have not been heard from since, heaviest first."""
    query = (
        select(
            RollCallAnswer.node_code,
            Node.name,
            RollCallAnswer.tier,
            RollCallAnswer.town_code,
            Node.lat,
            Node.lon,
            RollCallAnswer.missed,
            RollCallAnswer.last_heard_at,
            RollCallAnswer.roll_call_id,
            RollCallAnswer.alert_id,
            RollCall.opened_at,
        )
        .join(RollCall, and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id))
        .join(Node, Node.code == RollCallAnswer.node_code)
        .where(
            visible(caller, RollCallAnswer),
            RollCallAnswer.silent_since.is_not(None),
            RollCallAnswer.heard_at.is_(None),
            or_(Node.closed_on.is_(None), Node.closed_on > today),
            of_drill(RollCall, drill_id),
        )
        .order_by(RollCall.due_at)
    )
    # The latest of the roll calls that a node missed speaks for it; an alert of an earlier one still stands.
    latest: dict[str, Any] = {}
    alerts: dict[str, UUID] = {}
    for row in await conn.execute(query):
        latest[row.node_code] = row
        if row.alert_id is not None:
            alerts[row.node_code] = row.alert_id
    # The next run of the job notes who has been heard again; nobody is to be called silent until then.
    heard = await last_heard(conn, city_id=caller.city_id, nodes=latest, drill_id=drill_id)
    latest = {code: row for code, row in latest.items() if (at := heard[code].at) is None or at < row.opened_at}
    weights = await weighed(conn, city_id=caller.city_id, rows=list(latest.values()), drill_id=drill_id, policy=policy)
    order = sorted(latest, key=lambda code: (-weights[code].points, code))
    if cursor is not None:
        points, last = paging.decode("silence", cursor, int, str)
        if not CODE.fullmatch(last):
            raise Problem(problems.CURSOR_INVALID)
        order = [code for code in order if (-weights[code].points, code) > (-points, last)]
    after = None
    if len(order) > limit:
        order = order[:limit]
        after = paging.encode("silence", weights[order[-1]].points, order[-1])
    return [
        {
            "node": code,
            "name": latest[code].name,
            "tier": latest[code].tier,
            "town": latest[code].town_code,
            "since": heard[code].at,
            "last_report_at": heard[code].report_at,
            "last_answer_at": heard[code].answer_at,
            "missed": latest[code].missed,
            "roll_call_id": latest[code].roll_call_id,
            "weight": weights[code].points,
            "reasons": list(weights[code].reasons),
            "alert_id": alerts.get(code),
        }
        for code in order
    ], after
