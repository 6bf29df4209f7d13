"""What an office does with an alert: acknowledge, release, escalate, close."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import escalation, permissions
from app.alerts.models import Alert, AlertStep
from app.alerts.service import COLUMNS, Row, event, readable
from app.alerts.views import AlertActed, alert_acted, owner_view
from app.core import problems
from app.core.caller import Caller
from app.core.clock import ZONE
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.feed import service as feed
from app.feed.service import Event
from app.incidents.models import Incident
from app.nodes import lookup
from app.nodes.lookup import Place
from app.nodes.offices import offices
from app.reports import custody
from app.reports.views import Notice

CLOSED = Notice(code="alert_closed", text="It is closed: nothing was changed.", text_zh="警报已关闭，未作更改。")
OWN = Notice(
    code="alert_yours", text="Your office has it already: nothing was changed.", text_zh="本单位已确认，未作更改。"
)
UNOWNED = Notice(code="alert_unowned", text="Nobody has it: nothing was changed.", text_zh="无单位持有，未作更改。")
ELSEWHERE = Notice(
    code="alert_step",
    text="It is at another step by now: nothing was changed.",
    text_zh="警报已处于其他步骤，未作更改。",
)
AGAIN = Notice(
    code="alert_just_escalated",
    text="It was sent up less than a minute ago: nothing was changed. With from_step it is sent further.",
    text_zh="一分钟内已上报，未作更改。如需继续上报，请注明 from_step。",
)
# A nervous hand presses twice; who wants two steps says which step they start from.
NERVOUS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Done:
    """One version of an alert: what is written, what it is called, and what its timeline says."""

    type: str
    changes: dict[str, Any]
    text: str
    text_zh: str


async def acknowledge(
    conn: AsyncConnection,
    *,
    caller: Caller,
    alert_id: UUID,
    until: datetime | None,
    longest: timedelta,
    version: int | None = None,
    now: datetime,
) -> AlertActed:
    """Acknowledge the alert, until it is closed or until `until`. The owner's office sets another clock by this.

    A Problem (403) for an office that it does not belong to; (409) tells who was first when another office owns it;
    (412) when it is not at `version`; (422) when `until` has passed or is too far.
    """
    if until is not None and not now < until <= now + longest:
        raise Problem(problems.UNTIL_WRONG, pointer="/until", hours=f"{longest.total_seconds() / 3600:g}")
    row = await locked(conn, caller=caller, alert_id=alert_id)
    place = await _allowed(conn, row, caller, "acknowledge")
    if row["state"] == "closed":
        return alert_acted(row, caller, CLOSED)
    owner = row["owner"]
    if owner and row["until"] == until and row["gathered_until"] is None:
        return alert_acted(row, caller, OWN)
    must_be_at(row["version"], version)
    taken = owner or {
        "node": caller.node,
        "name": place.name,
        "label": caller.label,
        "above": place.path[-2] if len(place.path) > 1 else None,
        "at": now.isoformat(),
        "by": str(caller.account_id or caller.key_id),
    }
    done = Done(
        "alert.acknowledged",
        {
            "state": "acknowledged",
            "owner": taken,
            "acknowledged_at": row["acknowledged_at"] or now,
            "until": until,
            "due_at": None,
            "escalation_next_at": None,
            # All offices that have reported it by now.
            "covered": sorted(row["urgent_offices"]),
            "gathered_until": None,
            "last_owner": None,
        },
        f"{place.name} takes it on" + (f" until {_clock(until)}." if until else "."),
        f"{place.name}已确认" + (f"，时限至 {_clock(until)}。" if until else "。"),
    )
    taken_on = await custody.acknowledge(conn, caller=caller, alert_id=alert_id, now=now)
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now, also=taken_on), caller)


async def release(
    conn: AsyncConnection, *, caller: Caller, alert_id: UUID, note: str, version: int | None = None, now: datetime
) -> AlertActed:
    """Hand the alert back: it is raised again and its steps begin again. On one without owner it changes nothing.

    The owner's office may, and an office above it. A Problem (403) for an office that it does not belong to, (409)
    tells others whose it is, (412) when it is not at `version`.
    """
    row = await locked(conn, caller=caller, alert_id=alert_id)
    place = await _allowed(conn, row, caller, "release")
    if row["state"] != "acknowledged":
        return alert_acted(row, caller, CLOSED if row["state"] == "closed" else UNOWNED)
    must_be_at(row["version"], version)
    done = Done(
        "alert.released",
        escalation.unowned(row, now),
        f"{place.name} hands it back{_said(note)}.",
        f"{place.name}已交回{_said(note, '：')}。",
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now), caller)


async def escalate(
    conn: AsyncConnection,
    *,
    caller: Caller,
    alert_id: UUID,
    note: str,
    from_step: int | None = None,
    version: int | None = None,
    now: datetime,
) -> AlertActed:
    """Send the alert a step up at once; its owner has it no longer.

    With `from_step` only from that step; without it, once a minute. Otherwise it changes nothing. An acknowledged
    alert only by its owner's office or one above: problems as of `release`.
    """
    row = await locked(conn, caller=caller, alert_id=alert_id)
    place = await _allowed(conn, row, caller, "escalate")
    if row["state"] == "closed":
        return alert_acted(row, caller, CLOSED)
    if from_step is None:
        if await _was_just_escalated(conn, row, now):
            return alert_acted(row, caller, AGAIN)
    elif from_step != row["escalation_step"]:
        return alert_acted(row, caller, ELSEWHERE)
    must_be_at(row["version"], version)
    changes: dict[str, Any] = escalation.unowned(row, now) if row["state"] == "acknowledged" else {}
    # It goes on from where it stood, also when it had an owner: they want more than those who were told.
    step = {"escalation_step": row["escalation_step"]}
    changes |= escalation.climb({**row, **changes, **step}, now)
    done = Done(
        "alert.escalated",
        changes,
        f"{place.name} sends it up: step {changes['escalation_step']}{_said(note)}.",
        f"{place.name}提请上报：第 {changes['escalation_step']} 步{_said(note, '：')}。",
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now), caller)


async def close(
    conn: AsyncConnection, *, caller: Caller, alert_id: UUID, reason: str, version: int | None = None, now: datetime
) -> AlertActed:
    """End the alert, with the reason. On a closed alert it changes nothing and shows so. Problems as of `release`."""
    row = await locked(conn, caller=caller, alert_id=alert_id)
    place = await _allowed(conn, row, caller, "close")
    if row["state"] == "closed":
        return alert_acted(row, caller, CLOSED)
    must_be_at(row["version"], version)
    await custody.spare(conn, city_id=row["city_id"], alerts=[alert_id])
    done = Done(
        "alert.closed", closing(reason, now), f"{place.name} closes it: {reason}", f"{place.name}已关闭：{reason}"
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now), caller)


def closing(reason: str, now: datetime) -> dict[str, Any]:
    """What is written to an alert that is over."""
    return {
        "state": "closed",
        "closed_at": now,
        "close_reason": reason,
        "until": None,
        "due_at": None,
        "escalation_next_at": None,
        "gathered_until": None,
    }


async def locked(conn: AsyncConnection, *, caller: Caller, alert_id: UUID) -> Row:
    """An alert the caller may see, until the transaction ends nobody else's to change; a Problem (404) otherwise."""
    query = select(*COLUMNS).where(readable(caller), Alert.id == alert_id).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return row._asdict()


async def carry_out(
    conn: AsyncConnection, row: Row, done: Sequence[Done], *, place: Place, now: datetime, also: Sequence[Event] = ()
) -> Row:
    """`write`, and append its events to the log, and what `also` happened; the alert's last version."""
    changed, events = await write(conn, row, done, place=place, now=now)
    await feed.append(conn, city_id=row["city_id"], operations=[events, *([one] for one in also)], now=now)
    return changed


async def write(
    conn: AsyncConnection, row: Row, done: Sequence[Done], *, place: Place | None, now: datetime
) -> tuple[Row, list[Event]]:
    """Write what was done to an alert whose row is locked, one version each, to it and to its timeline.

    `place` is the office that did it, None for a rule. The alert's last version, and the events that tell of it.
    """
    steps, events = [], []
    changed = dict(row)
    for one in done:
        changed |= {**one.changes, "version": changed["version"] + 1}
        steps.append(step_row(changed, one, place=place, at=now))
        events.append(event(one.type, changed))
    await conn.execute(
        update(Alert)
        .where(Alert.city_id == row["city_id"], Alert.id == row["id"])
        .values({key: value for key, value in changed.items() if value is not row[key]})
    )
    await conn.execute(insert(AlertStep), steps)
    return changed, events


def step_row(changed: Row, done: Done, *, place: Place | None, at: datetime) -> dict[str, Any]:
    """A row of the alert's timeline."""
    return {
        "city_id": changed["city_id"],
        "alert_id": changed["id"],
        "version": changed["version"],
        "at": at,
        "type": done.type,
        "node_code": place.code if place else None,
        "tier": place.tier if place else None,
        "step": changed["escalation_step"],
        "text": done.text,
        "text_zh": done.text_zh,
    }


def owned(row: Row, caller: Caller) -> Problem:
    """The Problem that tells whose the alert is."""
    owner = owner_view(row["owner"], caller).model_dump(mode="json")
    return Problem(
        problems.ALERT_OWNED,
        owner=f"{owner['name']} ({owner['node']})" if owner["name"] else owner["node"],
        at=owner["at"],
        extra={"owner": owner},
    )


async def _allowed(conn: AsyncConnection, row: Row, caller: Caller, act: permissions.Act) -> Place:
    """The caller's office, which may act on the alert; a Problem (403) or (409) otherwise."""
    of_incident = select(Incident.nodes).where(Incident.city_id == row["city_id"], Incident.id == row["incident_id"])
    nodes = (await conn.execute(of_incident)).scalar_one()
    # Of a closed alert it is told that it is closed, also to those who are below its owner.
    owner = row["owner"]["node"] if row["state"] == "acknowledged" else None
    known = await offices(conn, {row["node_code"], *nodes, *([owner] if owner else [])})
    line = known.line_of_all(row["node_code"], nodes)
    office = known.today(caller.node)
    answer = permissions.may(act, office=office, line=line, owner=known.today(owner) if owner else None)
    if answer == "owned":
        raise owned(row, caller)
    places = await lookup.places(conn, {caller.node, *line})
    if answer == "beyond":
        names = ", ".join(places[code].name for code in reversed(line))
        raise Problem(problems.ALERT_BEYOND, offices=names, extra={"offices": list(reversed(line))})
    return places[caller.node]


async def _was_just_escalated(conn: AsyncConnection, row: Row, now: datetime) -> bool:
    """Whether the last that an office did to the alert was to send it up, less than a minute ago."""
    last = (
        select(AlertStep.type, AlertStep.at)
        .where(AlertStep.city_id == row["city_id"], AlertStep.alert_id == row["id"], AlertStep.node_code.is_not(None))
        .order_by(AlertStep.version.desc())
        .limit(1)
    )
    found = (await conn.execute(last)).one_or_none()
    return found is not None and found.type == "alert.escalated" and now - found.at < NERVOUS


def _clock(moment: datetime) -> str:
    return moment.astimezone(ZONE).strftime("%m-%d %H:%M")


def _said(note: str, colon: str = ": ") -> str:
    return f"{colon}{note.rstrip('.。')}" if note else ""
