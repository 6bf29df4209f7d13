"""What became of a step is noted once: another process of the same device may have been first."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from app.field import wire
from app.field.outbox import REFUSED_WITH_REPORT, Step
from app.field.store import writing


def settle(store: sqlite3.Connection, step: Step, state: Literal["stored", "held"], answer: Mapping[str, Any]) -> None:
    """The server has it: among the reports, or in quarantine until a desk decides."""
    with writing(store):
        if not _answered(store, step, state, answer):
            return
        if step.kind == "attachment":
            # The server has it: the device needs its room.
            store.execute("UPDATE steps SET body = x'' WHERE seq = ?", (step.seq,))
            return
        # A correction becomes the version after its base, whatever has been said on top of it since.
        version = 1 if step.kind == "first" else step.base + 1
        first = step.kind == "first"
        store.execute(
            "UPDATE reports SET version = ?, answer = ?, state = CASE WHEN ? THEN ? ELSE state END WHERE id = ?",
            (version, wire.text(answer), first, state, step.report_id),
        )


def conflict(store: sqlite3.Connection, step: Step, problem: Mapping[str, Any]) -> None:
    """Somebody corrected it first. It waits for the person, with all that was said on top of it."""
    with writing(store):
        if not _answered(store, step, "conflict", problem):
            return
        store.execute(
            "UPDATE steps SET state = 'conflict', answer = ?"
            " WHERE report_id = ? AND kind = 'correction' AND seq > ? AND state = 'waiting'",
            (wire.text(problem), step.report_id, step.seq),
        )


def refused(store: sqlite3.Connection, step: Step, problem: Mapping[str, Any]) -> None:
    """The server will never take this as it is. It is kept, with the reason.

    Where a correction of a refused report waits, that takes its place: it says all of it.
    """
    with writing(store):
        if not _answered(store, step, "refused", problem) or step.kind != "first":
            return
        (after,) = store.execute(
            "SELECT MIN(seq) FROM steps WHERE report_id = ? AND kind = 'correction' AND state = 'waiting'",
            (step.report_id,),
        ).fetchone()
        if after is not None:
            # As a report it may name its incident, which no correction does.
            (said,) = store.execute("SELECT body FROM reports WHERE id = ?", (step.report_id,)).fetchone()
            (body,) = store.execute("SELECT body FROM steps WHERE seq = ?", (after,)).fetchone()
            named = {key: value for key, value in json.loads(said).items() if key == "incident_id"}
            whole = wire.encode({**json.loads(body), **named})
            store.execute("UPDATE steps SET kind = 'first', body = ? WHERE seq = ?", (whole, after))
        else:
            _refuse_report(store, step.report_id, problem)


def decided(store: sqlite3.Connection, held_id: str, *, released: bool, answer: Mapping[str, Any]) -> None:
    """A desk released or rejected what it held. It is part of the transaction that its caller has begun."""
    row = store.execute(
        "SELECT * FROM steps WHERE state = 'held' AND (kind = 'first' AND report_id = ?"
        " OR kind = 'correction' AND json_extract(answer, '$.id') = ?)",
        (held_id, held_id),
    ).fetchone()
    if row is None:
        return
    state = "stored" if released else "refused"
    store.execute("UPDATE steps SET state = ?, answer = ? WHERE seq = ?", (state, wire.text(answer), row["seq"]))
    if row["kind"] == "correction":
        return
    if not released:
        _refuse_report(store, row["report_id"], answer)
        return
    store.execute("UPDATE reports SET state = 'stored', answer = ? WHERE id = ?", (wire.text(answer), row["report_id"]))
    # What waited for it may go now.
    store.execute("UPDATE steps SET retry_at = 0 WHERE report_id = ? AND state = 'waiting'", (row["report_id"],))


def ask_again(store: sqlite3.Connection) -> None:
    """What a desk held is sent once more: the answer is what became of it. Within its caller's transaction."""
    store.execute("UPDATE steps SET state = 'waiting', retry_at = 0 WHERE state = 'held'")


def again(store: sqlite3.Connection, step: Step, *, at: datetime) -> None:
    """This one failed; the others may go on meanwhile."""
    with writing(store):
        store.execute(
            "UPDATE steps SET tries = tries + 1, retry_at = ? WHERE seq = ? AND state = 'waiting'",
            (at.timestamp(), step.seq),
        )


def part(store: sqlite3.Connection, step: Step, *, received: int) -> None:
    """So much of a file has arrived."""
    with writing(store):
        store.execute(
            "UPDATE steps SET sent = ? WHERE seq = ? AND state = 'waiting'",
            (max(0, min(received, len(step.body) - 1)), step.seq),
        )


def apart(store: sqlite3.Connection, steps: Sequence[Step]) -> None:
    """Their batch was refused as a whole: from now on each goes alone, so that each gets its own answer."""
    with writing(store):
        store.executemany("UPDATE steps SET alone = 1 WHERE seq = ?", [(step.seq,) for step in steps])


def _answered(store: sqlite3.Connection, step: Step, state: str, answer: Mapping[str, Any]) -> bool:
    done = store.execute(
        "UPDATE steps SET state = ?, answer = ? WHERE seq = ? AND state = 'waiting'",
        (state, wire.text(answer), step.seq),
    )
    return done.rowcount == 1


def _refuse_report(store: sqlite3.Connection, report_id: str, problem: Mapping[str, Any]) -> None:
    store.execute("UPDATE reports SET state = 'refused', answer = ? WHERE id = ?", (wire.text(problem), report_id))
    store.execute(
        "UPDATE steps SET state = 'refused', answer = ? WHERE report_id = ? AND state = 'waiting'",
        (REFUSED_WITH_REPORT, report_id),
    )
