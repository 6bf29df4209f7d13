"""The proposals that are stored: which stand, and what offices decide about them.

What was merged counts as what it is part of: a proposal or dismissal of two incidents is of the two that have their
reports now. It is worked out when it is read, so that a merge that is undone brings back what was.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.database import among, insert_into
from app.incidents.models import OPEN, Incident, Proposal
from app.incidents.proposals import Likely, Pair, ordered

_One, _Other = aliased(Incident), aliased(Incident)
_ONE, _OTHER = func.coalesce(_One.merged_into, _One.id), func.coalesce(_Other.merged_into, _Other.id)
_KNOWN = (
    select(
        _ONE.label("one"),
        _OTHER.label("other"),
        Proposal.state,
        Proposal.metres,
        Proposal.text,
        Proposal.text_zh,
        Proposal.proposed_at,
    )
    .join(_One, and_(_One.city_id == Proposal.city_id, _One.id == Proposal.incident_id))
    .join(_Other, and_(_Other.city_id == Proposal.city_id, _Other.id == Proposal.other_id))
    .where(_ONE != _OTHER)
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A proposal that no office has decided, as the one of the two incidents sees it."""

    other: UUID
    metres: float | None
    text: str
    text_zh: str
    proposed_at: datetime


async def standing(
    conn: AsyncConnection, *, city_id: str, parts: Collection[UUID] | None = None
) -> dict[UUID, list[Standing]]:
    """By incident: its proposals, the nearest first; of one and what was merged into it, or of all that have any.

    Only where both incidents are open, and neither they nor what is part of them were said to be two.
    """
    dialect = conn.dialect.name
    if parts is None:
        query = _KNOWN.where(Proposal.city_id == city_id, text(f"proposals.{OPEN}"))
        waiting = list((await conn.execute(query)).all())
    else:
        either = or_(among(dialect, Proposal.incident_id, "parts"), among(dialect, Proposal.other_id, "parts"))
        query = _KNOWN.where(Proposal.city_id == city_id, either, Proposal.state == "open")
        waiting = list((await conn.execute(query, {"parts": list(parts)})).all())
    if not waiting:
        return {}
    sides = {side for row in waiting for side in (row.one, row.other)}
    open_ones = select(Incident.id).where(
        Incident.city_id == city_id, among(dialect, Incident.id, "sides"), Incident.state == "open"
    )
    alive = set((await conn.execute(open_ones, {"sides": list(sides)})).scalars())
    said = await known(conn, city_id=city_id, parts=await members(conn, city_id=city_id, ids=sides))
    found: dict[UUID, dict[UUID, Standing]] = defaultdict(dict)
    for row in sorted(waiting, key=lambda row: (row.metres is None, row.metres or 0, row.proposed_at, row.text)):
        if not {row.one, row.other} <= alive or "dismissed" in said[ordered(row.one, row.other)]:
            continue
        for one, other in ((row.one, row.other), (row.other, row.one)):
            found[one].setdefault(other, Standing(other, row.metres, row.text, row.text_zh, row.proposed_at))
    return {one: list(its.values()) for one, its in found.items()}


async def members(conn: AsyncConnection, *, city_id: str, ids: Collection[UUID]) -> list[UUID]:
    """These incidents, and what was merged into them."""
    merged = select(Incident.id).where(
        Incident.city_id == city_id, among(conn.dialect.name, Incident.merged_into, "ids")
    )
    return [*ids, *(await conn.execute(merged, {"ids": list(ids)})).scalars()]


async def known(conn: AsyncConnection, *, city_id: str, parts: Collection[UUID]) -> dict[Pair, set[str]]:
    """How what is known of any two of these stands, by the pair of incidents that have their reports now."""
    dialect = conn.dialect.name
    query = _KNOWN.where(
        Proposal.city_id == city_id,
        among(dialect, Proposal.incident_id, "parts"),
        among(dialect, Proposal.other_id, "parts"),
    )
    found: dict[Pair, set[str]] = defaultdict(set)
    for row in await conn.execute(query, {"parts": list(parts)}):
        found[ordered(row.one, row.other)].add(row.state)
    return found


async def add(conn: AsyncConnection, *, city_id: str, found: Collection[Likely], now: datetime) -> set[Pair]:
    """Store proposals; the pairs that were not known."""
    if not found:
        return set()
    new = insert_into(conn.dialect.name, Proposal).on_conflict_do_nothing()
    made: set[Pair] = set()
    for one in found:
        row = _row(city_id, one.pair, one.metres, one.text, one.text_zh, now)
        stored = await conn.execute(new.returning(Proposal.incident_id, Proposal.other_id).values(row))
        made |= {(incident, other) for incident, other in stored}
    return made


async def accept(
    conn: AsyncConnection, *, city_id: str, parts: Collection[UUID], by: str, reason: str, now: datetime
) -> None:
    """These incidents are one now: what was proposed or said of any two of them is settled."""
    inside = _between(parts, parts)
    await conn.execute(
        update(Proposal)
        .where(Proposal.city_id == city_id, inside, Proposal.state != "accepted")
        .values(state="accepted", decided_at=now, decided_by=by, reason=reason)
    )


async def dismiss(
    conn: AsyncConnection,
    *,
    city_id: str,
    parts: Collection[UUID],
    others: Collection[UUID],
    pair: Pair,
    by: str,
    reason: str,
    text: str,
    text_zh: str,
    now: datetime,
) -> None:
    """The pair are two for good, with their parts: what was proposed of them ends, what was not never will be."""
    decided = {"state": "dismissed", "decided_at": now, "decided_by": by, "reason": reason}
    await conn.execute(
        update(Proposal)
        .where(Proposal.city_id == city_id, _between(parts, others), Proposal.state == "open")
        .values(decided)
    )
    row = _row(city_id, pair, None, text, text_zh, now) | decided
    new = insert_into(conn.dialect.name, Proposal).values(row)
    await conn.execute(new.on_conflict_do_update(index_elements=["city_id", "incident_id", "other_id"], set_=decided))


def _between(parts: Collection[UUID], others: Collection[UUID]) -> ColumnElement[bool]:
    mine, theirs = list(parts), list(others)
    return or_(
        and_(Proposal.incident_id.in_(mine), Proposal.other_id.in_(theirs)),
        and_(Proposal.incident_id.in_(theirs), Proposal.other_id.in_(mine)),
    )


def _row(city_id: str, pair: Pair, metres: float | None, text: str, text_zh: str, now: datetime) -> dict[str, Any]:
    return {
        "city_id": city_id,
        "incident_id": pair[0],
        "other_id": pair[1],
        "state": "open",
        "metres": metres,
        "text": text,
        "text_zh": text_zh,
        "proposed_at": now,
        "decided_at": None,
        "decided_by": None,
        "reason": None,
    }
