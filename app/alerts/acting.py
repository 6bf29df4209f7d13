"""What an office does with an alert: take it on, hand it back, send it up, end it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts import escalation
from app.alerts.models import Alert, AlertStep
from app.alerts.service import COLUMNS, Row, event, readable
from app.alerts.views import AlertActed, Owner, alert_acted
from app.core import problems
from app.core.caller import Caller
from app.core.clock import ZONE
from app.core.errors import Problem
from app.feed import service as feed
from app.feed.service import Event
from app.nodes import lookup
from app.nodes.lookup import Place
from app.reports import custody
from app.reports.views import Notice

CLOSED = Notice(code="alert_closed", text="It is closed: nothing was changed.", text_zh="警报已关闭，未作更改。")
OWN = Notice(code="alert_yours", text="You have it already: nothing was changed.", text_zh="您已确认，未作更改。")
UNOWNED = Notice(code="alert_unowned", text="Nobody has it: nothing was changed.", text_zh="无单位持有，未作更改。")


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
    now: datetime,
) -> AlertActed:
    """Take the alert on, until it is closed or until `until`; again by the same sign-in, another clock is set.

    A Problem (409) tells who was first when another sign-in owns it; (422) when `until` has passed or is too far.
    """
    if until is not None and not now < until <= now + longest:
        raise Problem(problems.UNTIL_WRONG, pointer="/until", hours=f"{longest.total_seconds() / 3600:g}")
    row = await locked(conn, caller=caller, alert_id=alert_id)
    if row["state"] == "closed":
        return alert_acted(row, CLOSED)
    owner = row["owner"]
    if owner and owner["by"] != _sign_in(caller):
        raise owned(row)
    if owner and row["until"] == until:
        return alert_acted(row, OWN)
    place = await _office(conn, caller)
    taken = owner or {
        "node": caller.node,
        "name": place.name,
        "label": caller.label,
        "at": now.isoformat(),
        "by": _sign_in(caller),
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
        },
        f"{place.name} takes it on" + (f" until {_clock(until)}." if until else "."),
        f"{place.name}已确认" + (f"，时限至 {_clock(until)}。" if until else "。"),
    )
    taken_on = await custody.acknowledge(conn, caller=caller, alert_id=alert_id, now=now)
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now, also=taken_on))


async def release(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, note: str, now: datetime) -> AlertActed:
    """Hand the alert back: it is raised again and its steps begin anew. With nobody's alert nothing happens.

    Its owner may, and an office above the owner's; a Problem (409) tells others whose it is.
    """
    row = await locked(conn, caller=caller, alert_id=alert_id)
    if row["state"] != "acknowledged":
        return alert_acted(row, CLOSED if row["state"] == "closed" else UNOWNED)
    place = await _office(conn, caller)
    await _must_own_or_stand_above(conn, row, caller)
    done = Done(
        "alert.released",
        escalation.unowned(row, now),
        f"{place.name} hands it back{_said(note)}.",
        f"{place.name}已交回{_said(note, '：')}。",
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now))


async def escalate(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, note: str, now: datetime) -> AlertActed:
    """Send the alert a step up at once; whoever had it has it no longer.

    An acknowledged alert only by its owner or an office above: a Problem (409) tells others whose it is.
    """
    row = await locked(conn, caller=caller, alert_id=alert_id)
    if row["state"] == "closed":
        return alert_acted(row, CLOSED)
    place = await _office(conn, caller)
    changes: dict[str, Any] = {}
    if row["state"] == "acknowledged":
        await _must_own_or_stand_above(conn, row, caller)
        changes = escalation.unowned(row, now)
    # It goes on from where it stood, also when somebody had it: they want more than those who were told.
    step = {"escalation_step": row["escalation_step"]}
    changes |= escalation.climb({**row, **changes, **step}, now)
    done = Done(
        "alert.escalated",
        changes,
        f"{place.name} sends it up: step {changes['escalation_step']}{_said(note)}.",
        f"{place.name}提请上报：第 {changes['escalation_step']} 步{_said(note, '：')}。",
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now))


async def close(conn: AsyncConnection, *, caller: Caller, alert_id: UUID, reason: str, now: datetime) -> AlertActed:
    """End the alert, with the reason. On a closed alert it changes nothing and shows so."""
    row = await locked(conn, caller=caller, alert_id=alert_id)
    if row["state"] == "closed":
        return alert_acted(row, CLOSED)
    place = await _office(conn, caller)
    await custody.spare(conn, city_id=row["city_id"], alerts=[alert_id])
    done = Done(
        "alert.closed", closing(reason, now), f"{place.name} closes it: {reason}", f"{place.name}已关闭：{reason}"
    )
    return alert_acted(await carry_out(conn, row, [done], place=place, now=now))


def closing(reason: str, now: datetime) -> dict[str, Any]:
    """What is written to an alert that is over."""
    return {
        "state": "closed",
        "closed_at": now,
        "close_reason": reason,
        "until": None,
        "due_at": None,
        "escalation_next_at": None,
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


def owned(row: Row) -> Problem:
    """The Problem that tells whose the alert is."""
    owner = Owner.model_validate(row["owner"]).model_dump(mode="json")
    return Problem(
        problems.ALERT_OWNED,
        owner=f"{owner['label']} ({owner['node']})",
        at=owner["at"],
        extra={"owner": owner},
    )


async def _must_own_or_stand_above(conn: AsyncConnection, row: Row, caller: Caller) -> None:
    owner = row["owner"]
    if owner["by"] == _sign_in(caller):
        return
    place = (await lookup.places(conn, {owner["node"]}))[owner["node"]]
    # The owner's colleagues may as well: desks change hands at the end of a shift.
    if caller.node not in place.path:
        raise owned(row)


async def _office(conn: AsyncConnection, caller: Caller) -> Place:
    return (await lookup.places(conn, {caller.node}))[caller.node]


def _sign_in(caller: Caller) -> str:
    # Two sign-ins of one node may be called alike.
    return str(caller.account_id or caller.key_id)


def _clock(moment: datetime) -> str:
    return moment.astimezone(ZONE).strftime("%m-%d %H:%M")


def _said(note: str, colon: str = ": ") -> str:
    return f"{colon}{note.rstrip('.。')}" if note else ""
