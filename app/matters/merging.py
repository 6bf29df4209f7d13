"""Two incidents were one: all reports of the one go to the other, and its name stays good for that one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.views import alert_view
from app.core import problems
from app.core.caller import Caller
from app.core.database import Database
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.hazards.cap import Level
from app.hazards.policy import Policy
from app.incidents import proposed
from app.incidents.views import Outcome, incident_view, is_ended
from app.matters import covering, held, written
from app.matters.held import Held, Row
from app.matters.recount import Before, Standing, Telling, recount
from app.matters.trying import trying
from app.matters.views import MERGED, Regrouped
from app.matters.written import Log


async def merge(
    database: Database,
    *,
    caller: Caller,
    policy: Policy,
    incident_id: UUID,
    into: UUID,
    reason: str,
    version: int | None,
    dry_run: bool,
    now: datetime,
) -> Regrouped:
    """Make the incident an alias of `into`, with `dry_run` only show what that would do. Again, it changes nothing.

    A Problem (404, 422) for one that the caller may not see, (403) for one that is not all theirs, (409) for one that
    is part of another or has ended, (412) when `version` is given and is not the incident's.
    """

    async def act(conn: AsyncConnection) -> Regrouped:
        if into == incident_id:
            raise Problem(problems.INCIDENT_SELF, pointer="/into")
        found = await held.hold(conn, caller=caller, incident_id=incident_id, into=into)
        source, target = found.rows[incident_id], found.rows[into]
        if source["merged_into"] == into:
            return _answer(found, target, source, applied=False)
        for row in (source, target):
            held.must_stand(row)
        if source["drill_id"] != target["drill_id"]:
            raise Problem(problems.INCIDENT_MIXED, pointer="/into")
        for row in (source, target):
            if is_ended(row):
                raise ended(row)
        must_be_at(source["version"], version)
        await held.must_stand_above(conn, caller=caller, rows=[source, target])
        return await _merge(conn, caller, policy, found, source, target, reason, dry_run, now)

    return await trying(database, act, dry_run=dry_run)


def ended(row: Row) -> Problem:
    """The Problem (409) of an incident that has its outcome."""
    return Problem(problems.INCIDENT_ENDED, incident=row["id"], outcome=Outcome(row["outcome"]).en)


def openings(rows: Sequence[Row], steps: Sequence[Row]) -> list[Telling]:
    """What incidents were opened with that nobody had reported: it goes on counting."""
    first = {
        step["incident_id"]: step["kept"]["before"] for step in reversed(steps) if "before" in (step["kept"] or {})
    }
    found = []
    for row in rows:
        if row["origin"] == "reports":
            continue
        was = first.get(row["id"], row)
        found.append(
            Telling(None, row["node_code"], row["opened_at"], Level(was["level"]), row["opened_at"], was["headline"])
        )
    return found


def before(row: Row) -> Before:
    """What an incident was, by its row or by what was kept of it."""
    return Before(Level(row["level"]), row["headline"], row["nodes"])


def as_row(standing: Standing) -> dict[str, Any]:
    """What is written to an incident that was counted anew."""
    return {
        "reports": standing.reports,
        "nodes": list(standing.nodes),
        "level": str(standing.level),
        "headline": standing.headline,
        "first_observed_at": standing.first_observed_at,
        "last_observed_at": standing.last_observed_at,
    }


async def _merge(
    conn: AsyncConnection,
    caller: Caller,
    policy: Policy,
    found: Held,
    source: Row,
    target: Row,
    reason: str,
    dry_run: bool,
    now: datetime,
) -> Regrouped:
    city_id, log = caller.city_id, Log(found.place, now)
    moving = [source["id"], *found.aliases[source["id"]]]
    parts = [target["id"], *found.aliases[target["id"]], *moving]
    steps = await held.steps_of(conn, city_id=city_id, ids=parts)

    # All that both were told makes what the one is.
    rules = covering.Rules(policy, found.drill, now)
    was = {"before": {name: target[name] for name in ("level", "headline", "nodes")}}
    reports = await held.reports_of(conn, city_id=city_id, ids=[target["id"], source["id"]])
    tellings = await held.tellings_of(conn, city_id=city_id, found=reports)
    told = [one for ones in tellings.values() for one in ones]
    standing = recount([*told, *openings([found.rows[one] for one in parts], steps)], [before(target), before(source)])
    target = await written.change(conn, target, **as_row(standing))
    covered, came = await covering.merge(conn, log, caller=caller, source=source, into=target, rules=rules)

    await proposed.accept(conn, city_id=city_id, parts=parts, by=caller.node, reason=reason, now=now)

    # The source stays, as it was, under its own id; what was part of it is part of the other now.
    kept = {
        "state": source["state"],
        "alert": str(came) if came else None,
        "reports": [str(row["id"]) for row in reports[source["id"]]],
        "stands": covering.told_pairs(covered.stands),
    }
    await written.move(conn, log, reports[source["id"]], to=target["id"], reason=reason)
    name, other_name = source["headline"], target["headline"]
    for alias in moving:
        row = await written.change(
            conn, found.rows[alias], merged_into=target["id"], **({"state": "closed"} if alias == source["id"] else {})
        )
        found.rows[alias] = row
        is_source = alias == source["id"]
        await written.note(
            conn,
            log,
            row,
            kind="incident.merged" if is_source else "incident.pointed",
            text=f"{found.place.name} merged “{name}” into “{other_name}”: {reason}",
            text_zh=f"{found.place.name}将“{name}”并入“{other_name}”：{reason}",
            other=target["id"],
            kept=kept if is_source else None,
        )
    count = len(reports[source["id"]])
    await written.note(
        conn,
        log,
        target,
        kind="incident.updated",
        text=f"{found.place.name} merged “{name}” ({count} report(s)) into it: {reason}",
        text_zh=f"{found.place.name}将“{name}”（{count} 份报告）并入：{reason}",
        other=source["id"],
        kept=was,
    )
    if not dry_run:
        await log.append(conn, city_id=city_id)
    found.rows[target["id"]] = target
    found.aliases[target["id"]] += moving
    found.aliases[source["id"]].clear()
    return _answer(
        found,
        target,
        found.rows[source["id"]],
        moved=[row["id"] for row in reports[source["id"]]],
        alerts=[alert_view(row) for row in covered.rows],
        dry_run=dry_run,
    )


def _answer(found: Held, target: Row, source: Row, *, applied: bool = True, **more: Any) -> Regrouped:
    aliases = sorted(found.aliases[target["id"]], key=lambda one: (found.rows[one]["opened_at"], one))
    return Regrouped(
        incident=incident_view(target, aliases),
        other=incident_view(source),
        applied=applied and not more.get("dry_run"),
        notice=None if applied else MERGED,
        **more,
    )
