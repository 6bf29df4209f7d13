"""A closing that was a mistake is undone: the office stands again, and the history says that it did not, and why."""

from datetime import date

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import problems
from app.core.caller import Caller
from app.core.errors import Problem
from app.core.tags import must_be_at
from app.nodes import service, spans
from app.nodes.merging import stood_under
from app.nodes.models import Node
from app.nodes.service import TreeChange
from app.nodes.spans import Row


async def reopen(
    conn: AsyncConnection,
    *,
    caller: Caller,
    code: str,
    on: date | None,
    reason: str,
    today: date,
    version: int | None,
) -> tuple[Row, list[TreeChange]]:
    """Let a closed node stand again from the day `on`: without it from the day it was closed, as if it had not been.

    It comes under the office that it stood under, or what that is part of now. A closing that lies ahead is withdrawn.
    On an open node it changes nothing. A Problem (404) for one outside of the caller's subtree, (409) for one that was
    merged, (412) when it is not at `version`, (422) for a day before its closing or ahead, or a closed parent.
    """
    await service.lock(conn, caller.city_id)
    row = await service.in_subtree(conn, caller, code, missing=problems.NOT_FOUND)
    closed_on: date | None = row["closed_on"]
    if closed_on is None:
        return row, []
    must_be_at(row["version"], version)
    if row["merged_into"] is not None:
        raise Problem(problems.NODE_NOT_CLOSED, code=code, into=row["merged_into"])
    if service.is_open(row, today):
        row, told = await service.change(
            conn, caller=caller, code=code, changes={"closed_on": None}, on=today, today=today, version=None
        )
        return row, [_because(change, reason) for change in told]
    on = on or closed_on
    if not closed_on <= on <= today:
        raise service.wrong_date(on)
    parent = await stood_under(conn, row, today=today)
    row |= {"parent_code": parent, "closed_on": None, "version": row["version"] + 1}
    await spans.resume(conn, row, on=on)
    changed = {name: row[name] for name in ("parent_code", "closed_on", "version")}
    await conn.execute(update(Node).where(Node.code == code).values(changed))
    return row, [TreeChange("reopened", code, row["city_id"], None, parent, on, reason=reason)]


def _because(change: TreeChange, reason: str) -> TreeChange:
    return TreeChange(
        change.kind, change.code, change.city_id, change.old_parent, change.new_parent, change.on, change.also, reason
    )
