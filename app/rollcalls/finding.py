"""Silence found: who missed a roll call that is over, and the alerts that follow."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.found import raise_found
from app.core.clock import day_of
from app.core.database import among
from app.drills.service import DrillRow
from app.feed.service import Event
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.models import Node
from app.rollcalls import service, silence
from app.rollcalls.models import RollCallAnswer
from app.rollcalls.silence import HAZARD, Silent, standing_of
from app.rollcalls.weighing import Weight, together


async def find(conn: AsyncConnection, call: Any, *, now: datetime) -> list[Silent]:
    """Of those who have not answered a roll call that is over: who is silent, as is written to their rows.

    Who was heard from since it was opened is not silent, and who was closed since is excused.
    """
    city_id, drill_id = call["city_id"], call["drill_id"]
    waiting = await _waiting(conn, call)
    nodes = [one.node_code for one in waiting]
    gone = {one.node_code for one in waiting if one.closed_on is not None and one.closed_on <= day_of(now)}
    heard = await silence.last_heard(conn, city_id=city_id, nodes=nodes, drill_id=drill_id)
    query = silence.still_silent(city_id, drill_id).where(among(conn.dialect.name, RollCallAnswer.node_code, "nodes"))
    # Who has been heard from since is not silent any more, though that was not noted yet.
    before = {
        row.node_code: row
        for row in await conn.execute(query, {"nodes": nodes})
        if not heard[row.node_code].since(row.opened_at)
    }
    silent = []
    for one in waiting:
        if one.node_code in gone or heard[one.node_code].since(call["opened_at"]):
            continue
        last = before.get(one.node_code)
        silent.append(
            Silent(
                roll_call_id=call["id"],
                opened_at=call["opened_at"],
                node_code=one.node_code,
                town_code=one.town_code,
                lat=one.lat,
                lon=one.lon,
                missed=last.missed + 1 if last else 1,
                last_heard_at=heard[one.node_code].at,
                version=one.version,
                standing=standing_of(last) if last else None,
            )
        )
    found = {one.node_code for one in silent}
    await _write(conn, city_id, [{**_key(call["id"], code), "state": "excused"} for code in sorted(gone)])
    # The last roll call that a node missed speaks for it.
    await _write(
        conn,
        city_id,
        [{**_key(row.roll_call_id, code), "silent": False} for code, row in sorted(before.items()) if code in found],
    )
    await _write(
        conn,
        city_id,
        [
            {
                **_key(call["id"], one.node_code),
                "silent": True,
                "silent_since": now,
                "last_heard_at": one.last_heard_at,
                "missed": one.missed,
                "alert_id": one.standing.alert_id if one.standing else None,
            }
            for one in silent
        ],
    )
    return silent


async def raise_alerts(
    conn: AsyncConnection,
    silent: Sequence[Silent],
    *,
    city_id: str,
    drill: DrillRow | None,
    policy: Policy,
    now: datetime,
    anew: bool,
) -> list[list[Event]]:
    """Raise alerts for those whose silence weighs enough, or their level; the operations that tell of it.

    With `anew` also for those whose alert an office has closed: they have missed another roll call.
    """
    if not silent or (drill is not None and drill.ended_at is not None):
        return []
    around = await silence.dangers(conn, city_id=city_id, drill_id=drill.id if drill else None)
    weights = silence.weighed(policy.silence, silent, around)
    grave = {one.node_code: one for one in silent if is_worse(one, weights[one.node_code].level, anew=anew)}
    if not grave:
        return []
    groups = _groups(policy, silent, grave)
    places = await lookup.places(conn, {*groups, *grave})
    operations, rows = [], []
    for code, nodes in sorted(groups.items()):
        found = await raise_found(
            conn,
            place=places[code],
            hazard=HAZARD,
            level=max((_level(weights[node]) for node in nodes), key=lambda level: level.rank),
            reasons=_reasons(nodes, weights, places),
            headline=_headline(places[code], nodes, drill),
            origin="silence",
            drill=drill,
            policy=policy,
            now=now,
        )
        told = []
        for one in (grave[node] for node in nodes):
            if one.standing is None or one.standing.alert_id != found.alert_id:
                key, version = _key(one.roll_call_id, one.node_code), one.version + 1
                rows.append({**key, "alert_id": found.alert_id, "version": version})
                told.append(
                    event(
                        "silence.found",
                        roll_call_id=one.roll_call_id,
                        node_code=one.node_code,
                        version=version,
                        alert_id=found.alert_id,
                        drill_id=drill.id if drill else None,
                    )
                )
        if found.events or told:
            operations.append([*found.events, *told])
    await _write(conn, city_id, rows)
    return operations


def is_worse(one: Silent, level: Level | None, *, anew: bool) -> bool:
    """Whether this level of a node's silence asks for more than what was raised already."""
    if level is None or one.standing is None:
        return level is not None
    return level.rank > one.standing.level.rank or (anew and not one.standing.is_active)


def event(
    kind: str, *, roll_call_id: UUID, node_code: str, version: int, alert_id: UUID, drill_id: UUID | None
) -> Event:
    """The log's event of a node's silence, found or ended."""
    body = {"id": str(roll_call_id), "node": node_code, "alert_id": str(alert_id)}
    subject = service.subject_of(roll_call_id, node_code)
    return Event(kind, service.TOPIC, subject, version, node_code, body, drill_id=drill_id)


def _groups(policy: Policy, silent: Sequence[Silent], grave: Mapping[str, Silent]) -> dict[str, list[str]]:
    """By the node of the alert: whose silence it tells of."""
    active = {one.node_code: one.standing.node_code for one in silent if one.standing and one.standing.is_active}
    towns = together(policy.silence, [one.town_code for one in grave.values() if one.node_code not in active])
    towns |= {one.town_code for one in silent if one.town_code and one.town_code == active.get(one.node_code)}
    groups: dict[str, list[str]] = defaultdict(list)
    for code, one in sorted(grave.items()):
        # What has an alert already keeps it.
        groups[active.get(code) or (one.town_code if one.town_code in towns else None) or code].append(code)
    return groups


def _level(weight: Weight) -> Level:
    assert weight.level is not None
    return weight.level


def _reasons(nodes: Sequence[str], weights: Mapping[str, Weight], places: Mapping[str, Place]) -> list[dict[str, str]]:
    heaviest = max(nodes, key=lambda node: (weights[node].points, node))
    reasons = list(weights[heaviest].reasons)
    if len(nodes) > 1:
        names = "、".join(places[node].name for node in nodes[:20])
        reasons.insert(
            0,
            {
                "rule": "silence.together",
                "text": f"{len(nodes)} nodes are silent: {names}",
                "text_zh": f"{len(nodes)} 个单位失去联系：{names}",
            },
        )
    return reasons


def _headline(place: Place, nodes: Sequence[str], drill: DrillRow | None) -> str:
    mark = "【演练】" if drill else ""
    if len(nodes) > 1:
        return f"{mark}{place.name}：{len(nodes)} 个单位点名未应答 {len(nodes)} nodes do not answer"
    return f"{mark}{place.name}：点名未应答，失去联系 does not answer"


async def _waiting(conn: AsyncConnection, call: Any) -> Sequence[Any]:
    query = (
        select(
            RollCallAnswer.node_code,
            RollCallAnswer.town_code,
            RollCallAnswer.version,
            Node.lat,
            Node.lon,
            Node.closed_on,
        )
        .join(Node, Node.code == RollCallAnswer.node_code)
        .where(
            RollCallAnswer.city_id == call["city_id"],
            RollCallAnswer.roll_call_id == call["id"],
            RollCallAnswer.state == "waiting",
        )
        .order_by(RollCallAnswer.node_code)
        .with_for_update(of=RollCallAnswer)
    )
    return (await conn.execute(query)).all()


def _key(roll_call_id: UUID, node_code: str) -> dict[str, Any]:
    return {"of_call": roll_call_id, "of_node": node_code}


async def _write(conn: AsyncConnection, city_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """One statement for rows by their `_key`: all change the same columns."""
    if not rows:
        return
    changing = [name for name in rows[0] if name not in ("of_call", "of_node")]
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changing}
    await conn.execute(
        update(RollCallAnswer)
        .where(
            RollCallAnswer.city_id == city_id,
            RollCallAnswer.roll_call_id == bindparam("of_call"),
            RollCallAnswer.node_code == bindparam("of_node"),
        )
        .values(**values),
        [
            {"of_call": row["of_call"], "of_node": row["of_node"], **{f"new_{name}": row[name] for name in changing}}
            for row in rows
        ],
    )
