"""Two incidents were proposed as one, and are two."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.database import Database
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.incidents import proposed
from app.incidents.proposals import ordered
from app.incidents.views import incident_view
from app.matters import held, written
from app.matters.held import Held, Row
from app.matters.trying import trying
from app.matters.views import DISMISSED, Regrouped
from app.matters.written import Log


async def dismiss(
    database: Database,
    *,
    caller: Caller,
    incident_id: UUID,
    other: UUID,
    reason: str,
    version: int | None,
    now: datetime,
) -> Regrouped:
    """End the proposal that the incident and `other` are one, for good. Again, it changes nothing.

    A Problem (404, 422) for one that the caller may not see, (403) for one that is not all theirs, (409) for one that
    is part of another or when nothing proposes them, (412) when `version` is given and is not the incident's.
    """

    async def act(conn: AsyncConnection) -> Regrouped:
        if other == incident_id:
            raise Problem(problems.INCIDENT_SELF, pointer="/other")
        found = await held.hold(conn, caller=caller, incident_id=incident_id, other=other)
        both = [found.rows[incident_id], found.rows[other]]
        for row in both:
            held.must_stand(row)
        await held.must_stand_above(conn, caller=caller, rows=both)
        pair = ordered(incident_id, other)
        known = (await proposed.known(conn, city_id=caller.city_id, parts=list(found.rows))).get(pair, set())
        if "dismissed" in known:
            return _answer(found, *both, applied=False)
        if "open" not in known:
            raise Problem(problems.NOT_PROPOSED)
        must_be_at(both[0]["version"], version)
        log = Log(found.place, now)
        mine, its = [await written.change(conn, row) for row in both]
        for one, another in ((mine, its), (its, mine)):
            await written.note(
                conn,
                log,
                one,
                kind="incident.dismissed",
                text=f"{found.place.name} says that it and another incident nearby are two: {reason}",
                text_zh=f"{found.place.name}确认与另一起相近事件并非同一事件：{reason}",
                other=another["id"],
            )
        await proposed.dismiss(
            conn,
            city_id=caller.city_id,
            parts=[incident_id, *found.aliases[incident_id]],
            others=[other, *found.aliases[other]],
            pair=pair,
            by=caller.node,
            reason=reason,
            text=f"{found.place.name} says that they are two.",
            text_zh=f"{found.place.name}确认并非同一事件。",
            now=now,
        )
        await log.append(conn, city_id=caller.city_id)
        return _answer(found, mine, its)

    return await trying(database, act)


def _answer(found: Held, mine: Row, its: Row, *, applied: bool = True) -> Regrouped:
    return Regrouped(
        incident=incident_view(mine, sorted(found.aliases[mine["id"]])),
        other=incident_view(its, sorted(found.aliases[its["id"]])),
        applied=applied,
        notice=None if applied else DISMISSED,
    )
