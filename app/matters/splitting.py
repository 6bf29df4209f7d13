"""One incident was two: some of its reports leave it, or a merge is undone. The history keeps both."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.views import alert_view
from app.core import problems
from app.core.caller import Caller
from app.core.database import Database
from app.core.errors import Problem
from app.core.ids import new_id
from app.core.tags import must_be_at
from app.hazards.policy import Policy
from app.incidents import matching, proposed
from app.incidents.models import Incident
from app.incidents.proposals import ordered
from app.incidents.views import incident_view, is_ended
from app.matters import covering, held, written
from app.matters.held import Held, Row
from app.matters.merging import as_row, before, ended, openings
from app.matters.recount import Before, Telling, recount
from app.matters.returning import Pointed, returning
from app.matters.trying import trying
from app.matters.views import SPLIT, Regrouped
from app.matters.written import Log
from app.nodes import lookup


@dataclass(slots=True)
class _Parting:
    """What goes, and what is known of it."""

    left: list[Row]
    rest: list[Row]
    tellings: Mapping[UUID, Sequence[Telling]]
    steps: list[Row]

    def told(self, rows: Sequence[Row]) -> list[Telling]:
        return [one for row in rows for one in self.tellings[row["id"]]]


async def split(
    database: Database,
    *,
    caller: Caller,
    policy: Policy,
    incident_id: UUID,
    reports: Sequence[UUID] | None,
    alias: UUID | None,
    reason: str,
    version: int | None,
    dry_run: bool,
    now: datetime,
) -> Regrouped:
    """Let reports leave into a new incident; or let `alias` stand on its own again, with what it brought.

    With `dry_run` only show what that would do. A Problem (404, 422) for what the caller may not see or what is not of
    this incident, (422) when nothing would be left, (403) where it is not all theirs, (409) when it is part of another
    or has ended, (412) when `version` is given and is not the incident's.
    """

    async def act(conn: AsyncConnection) -> Regrouped:
        others = {"alias": alias} if alias else {}
        found = await held.hold(conn, caller=caller, incident_id=incident_id, **others)
        target = found.rows[incident_id]
        if alias is not None and found.rows[alias]["merged_into"] != incident_id:
            return await _stands_already(conn, found, target, found.rows[alias])
        held.must_stand(target)
        if is_ended(target):
            raise ended(target)
        must_be_at(target["version"], version)
        await held.must_stand_above(conn, caller=caller, rows=[target])
        log, rules = Log(found.place, now), covering.Rules(policy, found.drill, now)
        if alias is not None:
            done = await _undo(conn, log, found, target, found.rows[alias], reason, rules)
        else:
            done = await _part(conn, log, found, target, set(reports or ()), reason, rules)
        if not dry_run:
            await log.append(conn, city_id=caller.city_id)
        return done.model_copy(update={"dry_run": dry_run, "applied": not dry_run})

    return await trying(database, act, dry_run=dry_run)


async def _stands_already(conn: AsyncConnection, found: Held, target: Row, alias: Row) -> Regrouped:
    steps = await held.steps_of(conn, city_id=target["city_id"], ids=[alias["id"]])
    if alias["merged_into"] is not None or not any(step["other_id"] == target["id"] for step in steps):
        raise Problem(problems.ALIAS_UNKNOWN, pointer="/alias", alias=alias["id"])
    return Regrouped(
        incident=incident_view(target, found.aliases[target["id"]]),
        other=incident_view(alias, found.aliases[alias["id"]]),
        applied=False,
        notice=SPLIT,
    )


async def _undo(
    conn: AsyncConnection, log: Log, found: Held, target: Row, alias: Row, reason: str, rules: covering.Rules
) -> Regrouped:
    """The alias stands on its own again: as it was, with the reports that it brought and that are still here."""
    city_id = target["city_id"]
    steps = await held.steps_of(conn, city_id=city_id, ids=[target["id"], *found.aliases[target["id"]]])
    back = _descendants(alias["id"], found.aliases[target["id"]], steps)
    since, kept = _merged(alias["id"], steps)
    brought = set(map(UUID, kept["reports"]))
    moves = await held.moves_of(conn, city_id=city_id, incident_id=target["id"])
    moves = {report_id: its for report_id, its in moves.items() if report_id in brought}
    parting = await _parting(conn, target, returning(alias["id"], since, moves), steps)

    part = openings([alias, *(found.rows[one] for one in back)], steps)
    if not parting.left and not part:
        raise Problem(problems.ALIAS_EMPTY, alias=alias["id"])
    standing = recount([*parting.told(parting.left), *part], [before(alias)])
    changes: dict[str, Any] = {"merged_into": None, "state": kept["state"], **as_row(standing)}
    changes |= await _place(conn, alias, standing.nodes, parting.left)
    leaves = await written.change(conn, alias, **changes)
    found.rows[alias["id"]] = leaves
    found.aliases[target["id"]] = [one for one in found.aliases[target["id"]] if one not in {alias["id"], *back}]
    found.aliases[alias["id"]] = back
    text = f"{found.place.name} split it from “{target['headline']}”, which it was part of: {reason}"
    text_zh = f"{found.place.name}将其从“{target['headline']}”中拆出，恢复独立：{reason}"
    repoint = {"text": text, "text_zh": text_zh, "other": alias["id"]}
    for one in back:
        found.rows[one] = await written.change(conn, found.rows[one], merged_into=alias["id"])
        await written.note(conn, log, found.rows[one], kind="incident.pointed", **repoint)
    was = next(
        step["kept"]["before"]
        for step in reversed(steps)
        if step["incident_id"] == since[0].to and step["other_id"] == alias["id"] and "before" in (step["kept"] or {})
    )
    earlier = [before(was)] if since[0].to == target["id"] else []
    came = UUID(kept["alert"]) if kept["alert"] else None
    return await _finish(
        conn, log, found, target, leaves, parting, earlier, came, rules, reason, "incident.restored", text, text_zh
    )


async def _part(
    conn: AsyncConnection, log: Log, found: Held, target: Row, wanted: set[UUID], reason: str, rules: covering.Rules
) -> Regrouped:
    """The reports leave into an incident of their own, which begins where the first of them came from."""
    steps = await held.steps_of(conn, city_id=target["city_id"], ids=[target["id"], *found.aliases[target["id"]]])
    parting = await _parting(conn, target, wanted, steps)
    strangers = wanted - {row["id"] for row in parting.left}
    if strangers:
        raise Problem(
            problems.REPORTS_ELSEWHERE, pointer="/reports", count=len(strangers), report=min(strangers, key=str)
        )
    standing = recount(parting.told(parting.left), [before(target)])
    leaves: Row = {
        **target,
        "id": new_id(),
        "version": 1,
        "state": "open",
        "origin": "reports",
        "opened_at": log.now,
        "merged_into": None,
        "assigned_to": None,
        "assigned_due_at": None,
        "outcome": None,
        "outcome_text": None,
        "outcome_at": None,
        **as_row(standing),
        **await _beginning(conn, parting.left),
    }
    await conn.execute(insert(Incident), leaves)
    found.rows[leaves["id"]] = leaves
    text = f"{found.place.name} split it from “{target['headline']}”: {reason}"
    text_zh = f"{found.place.name}从“{target['headline']}”中拆分：{reason}"
    return await _finish(
        conn, log, found, target, leaves, parting, [], None, rules, reason, "incident.opened", text, text_zh
    )


async def _finish(
    conn: AsyncConnection,
    log: Log,
    found: Held,
    target: Row,
    leaves: Row,
    parting: _Parting,
    earlier: list[Before],
    came: UUID | None,
    rules: covering.Rules,
    reason: str,
    kind: str,
    text: str,
    text_zh: str,
) -> Regrouped:
    """What stays is counted anew, the reports move, the alerts are seen to, and both timelines say so."""
    parts = [found.rows[one] for one in found.aliases[target["id"]]]
    told = [*parting.told(parting.rest), *openings([target, *parts], parting.steps)]
    if not told:
        raise Problem(problems.NOTHING_LEFT)
    standing = recount(told, [*earlier, before(target), *map(before, parts)])
    place = await _place(conn, target, standing.nodes, parting.rest)
    stays = await written.change(conn, target, **as_row(standing), **place)
    found.rows[target["id"]] = stays
    covered = await covering.split(
        conn,
        log,
        stays=stays,
        leaves=leaves,
        rest=parting.rest,
        left=parting.left,
        tellings=parting.tellings,
        came=came,
        rules=rules,
    )
    await written.move(conn, log, parting.left, to=leaves["id"], reason=reason)
    stands = {"stands": covering.told_pairs(covered.stands)} if covered.stands else None
    await written.note(conn, log, leaves, kind=kind, text=text, text_zh=text_zh, other=stays["id"], kept=stands)
    # An office has said that they are two: nothing proposes them to it again.
    await proposed.dismiss(
        conn,
        city_id=stays["city_id"],
        parts=[stays["id"], *found.aliases[stays["id"]]],
        others=[leaves["id"], *found.aliases[leaves["id"]]],
        pair=ordered(stays["id"], leaves["id"]),
        by=found.place.code,
        reason=reason,
        text=text,
        text_zh=text_zh,
        now=log.now,
    )
    count = len(parting.left)
    await written.note(
        conn,
        log,
        stays,
        kind="incident.split",
        text=f"{found.place.name} split {count} report(s) from it, as “{leaves['headline']}”: {reason}",
        text_zh=f"{found.place.name}拆出 {count} 份报告（“{leaves['headline']}”）：{reason}",
        other=leaves["id"],
    )
    return Regrouped(
        incident=incident_view(stays, found.aliases[stays["id"]]),
        other=incident_view(leaves, found.aliases[leaves["id"]]),
        applied=True,
        moved=[row["id"] for row in parting.left],
        alerts=[alert_view(row) for row in covered.rows],
    )


async def _parting(conn: AsyncConnection, target: Row, wanted: Collection[UUID], steps: list[Row]) -> _Parting:
    city_id = target["city_id"]
    reports = await held.reports_of(conn, city_id=city_id, ids=[target["id"]])
    # Also where it has none.
    rows = reports[target["id"]]
    return _Parting(
        left=[row for row in rows if row["id"] in wanted],
        rest=[row for row in rows if row["id"] not in wanted],
        tellings=await held.tellings_of(conn, city_id=city_id, found=reports),
        steps=steps,
    )


def _merged(alias: UUID, steps: Sequence[Row]) -> tuple[list[Pointed], Row]:
    """What the alias has pointed to since its last merge, and what was kept of it then."""
    since: list[Pointed] = []
    kept: Row = {}
    for step in steps:
        if step["incident_id"] == alias and step["type"] in ("incident.merged", "incident.pointed"):
            if step["type"] == "incident.merged":
                since, kept = [], step["kept"]
            since.append(Pointed(step["at"], step["other_id"]))
    return since, kept


def _descendants(alias: UUID, aliases: Sequence[UUID], steps: Sequence[Row]) -> list[UUID]:
    """Those of the aliases that were part of `alias` before it was merged."""
    parent = {step["incident_id"]: step["other_id"] for step in steps if step["type"] == "incident.merged"}
    found = [alias]
    for one in found:
        found += [child for child in aliases if child != alias and parent[child] == one]
    return found[1:]


async def _place(conn: AsyncConnection, row: Row, nodes: Collection[str], reports: Sequence[Row]) -> Row:
    """Where an incident is now: where it was, unless nobody there tells of it any more; its only report's place."""
    if row["node_code"] in nodes and not (len(reports) == 1 and row["origin"] == "reports"):
        # Its node may have come to another town while it was an alias.
        place = (await lookup.places(conn, {row["node_code"]}))[row["node_code"]]
        return {"town_code": place.town_code}
    return await _beginning(conn, reports)


async def _beginning(conn: AsyncConnection, reports: Sequence[Row]) -> Row:
    first = min(reports, key=lambda row: (held.since(row), str(row["id"])))
    place = (await lookup.places(conn, {first["node_code"]}))[first["node_code"]]
    has_place = first["lat"] is not None and first["lon"] is not None
    return {
        "node_code": place.code,
        "town_code": place.town_code,
        "hazard": first["hazard"],
        "lat": first["lat"],
        "lon": first["lon"],
        "here": matching.here_key(first["hazard"], place.code),
        "near": matching.near_key(first["hazard"], first["lat"], first["lon"]) if has_place else None,
    }
