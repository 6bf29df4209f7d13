"""Who has not been heard from, since when, and what lies beside them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert, AlertStep
from app.core import paging, problems
from app.core.caller import Caller
from app.core.database import among
from app.core.errors import Problem
from app.drills.models import Drill
from app.drills.scope import of_drill
from app.hazards.cap import Level
from app.hazards.catalogue import HAZARDS
from app.hazards.silence import SilencePolicy
from app.incidents.models import Incident
from app.nodes.models import CODE, Node
from app.nodes.scope import visible
from app.reports.models import Report
from app.rollcalls.models import RollCall, RollCallAnswer
from app.rollcalls.weighing import Danger, Quiet, Weight, arrange, weigh

HAZARD = "contact.lost"

OF_ROLL_CALL = and_(RollCall.city_id == RollCallAnswer.city_id, RollCall.id == RollCallAnswer.roll_call_id)


@dataclass(frozen=True, slots=True)
class Heard:
    """When a node was last heard from: by a report, an answer, or an act on an alert."""

    report_at: datetime | None = None
    answer_at: datetime | None = None
    acted_at: datetime | None = None

    @property
    def at(self) -> datetime | None:
        """The latest of them."""
        return max((one for one in (self.report_at, self.answer_at, self.acted_at) if one is not None), default=None)

    def since(self, opened_at: datetime) -> bool:
        """Whether that was after a roll call was opened: then the node is not silent, whatever it was asked."""
        return self.at is not None and self.at >= opened_at


@dataclass(frozen=True, slots=True)
class Standing:
    """The alert that a node's silence has raised so far."""

    alert_id: UUID
    node_code: str
    level: Level
    is_active: bool


@dataclass(frozen=True, slots=True)
class Silent:
    """A node that missed a roll call; `version` is that of its row."""

    roll_call_id: UUID
    opened_at: datetime
    node_code: str
    town_code: str | None
    lat: float | None
    lon: float | None
    missed: int
    last_heard_at: datetime | None
    version: int
    standing: Standing | None = None


def own_voice() -> ColumnElement[bool]:
    """The reports that a node is heard by: another office's word that it is out of contact is not its own."""
    return or_(Report.hazard != HAZARD, Report.filed_by == Report.node_code)


def is_running() -> ColumnElement[bool]:
    """Roll calls that are real, or of a drill that has not ended."""
    running = exists().where(Drill.city_id == RollCall.city_id, Drill.id == RollCall.drill_id, Drill.ended_at.is_(None))
    return or_(RollCall.drill_id.is_(None), running)


async def last_heard(
    conn: AsyncConnection, *, city_id: str, nodes: Collection[str], drill_id: UUID | None
) -> dict[str, Heard]:
    """By node: its last report, its last answer, and when it last acted on an alert; real, or of one drill."""
    # A look-up a node: what a city has said in years is not read through.
    reported = (
        select(func.max(Report.received_at))
        .where(Report.city_id == city_id, Report.node_code == Node.code, own_voice(), of_drill(Report, drill_id))
        .scalar_subquery()
    )
    answered = (
        select(func.max(RollCallAnswer.answered_at))
        .join(RollCall, OF_ROLL_CALL)
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.node_code == Node.code,
            RollCallAnswer.answered_at.is_not(None),
            of_drill(RollCall, drill_id),
        )
        .scalar_subquery()
    )
    acted = (
        select(func.max(AlertStep.at))
        .join(Alert, and_(Alert.city_id == AlertStep.city_id, Alert.id == AlertStep.alert_id))
        .where(AlertStep.city_id == city_id, AlertStep.node_code == Node.code, of_drill(Alert, drill_id))
        .scalar_subquery()
    )
    query = select(Node.code, reported, answered, acted).where(among(conn.dialect.name, Node.code, "nodes"))
    rows = await conn.execute(query, {"nodes": sorted(nodes)})
    return {code: Heard(report_at, answer_at, acted_at) for code, report_at, answer_at, acted_at in rows}


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


def weighed(policy: SilencePolicy, rows: Sequence[Any], around: Sequence[Danger]) -> dict[str, Weight]:
    """By node: what the silence of these rows (node_code, town_code, lat, lon, missed, last_heard_at) weighs now."""
    found = arrange(around, policy.near_m)
    return {
        row.node_code: weigh(
            policy,
            quiet := Quiet(row.node_code, row.town_code, row.lat, row.lon, row.missed, row.last_heard_at),
            found.beside(quiet),
        )
        for row in rows
    }


def still_silent(city_id: str, drill_id: UUID | None) -> Any:
    """The silent nodes of a city: their rows, where they are, and the alert that was raised."""
    return (
        select(
            *RollCallAnswer.__table__.columns,
            RollCall.opened_at,
            Node.name,
            Node.lat,
            Node.lon,
            Alert.node_code.label("alert_node"),
            Alert.level.label("alert_level"),
            Alert.state.label("alert_state"),
        )
        .join(RollCall, OF_ROLL_CALL)
        .join(Node, Node.code == RollCallAnswer.node_code)
        .join(Alert, and_(Alert.city_id == RollCallAnswer.city_id, Alert.id == RollCallAnswer.alert_id), isouter=True)
        .where(RollCallAnswer.city_id == city_id, RollCallAnswer.silent, of_drill(RollCall, drill_id))
        .order_by(RollCall.due_at, RollCallAnswer.roll_call_id, RollCallAnswer.node_code)
    )


def standing_of(row: Any) -> Standing | None:
    """The alert of a row of `still_silent`."""
    if row.alert_id is None:
        return None
    return Standing(row.alert_id, row.alert_node, Level(row.alert_level), row.alert_state != "closed")


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
    city_id = caller.city_id
    query = still_silent(city_id, drill_id).where(
        visible(caller, RollCallAnswer), or_(Node.closed_on.is_(None), Node.closed_on > today)
    )
    latest = {row.node_code: row for row in await conn.execute(query)}
    # The next run of the job notes who has been heard again; nobody is to be called silent until then.
    heard = await last_heard(conn, city_id=city_id, nodes=latest, drill_id=drill_id)
    latest = {code: row for code, row in latest.items() if not heard[code].since(row.opened_at)}
    around = await dangers(conn, city_id=city_id, drill_id=drill_id)
    weights = weighed(policy, list(latest.values()), around)
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
            "alert_id": latest[code].alert_id,
        }
        for code in order
    ], after
