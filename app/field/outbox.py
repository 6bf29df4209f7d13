import json
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from app.core.clock import Clock
from app.core.ids import new_id
from app.field import device_clock, wire
from app.field.retrying import LONGEST
from app.field.store import writing

Kind = Literal["first", "correction", "attachment"]

# Why a file is not sent, and what waits for it to be sent after all.
REFUSED_WITH_REPORT = wire.text(
    {"code": "report_refused", "detail": "The report it belongs to was refused. 所属报告未被受理。"}
)

_STEP = """
SELECT s.*, COALESCE(s.base_version, r.version) AS base, s.kind <> 'first' AND r.state = 'held' AS parked
FROM steps s JOIN reports r ON r.id = s.report_id
WHERE s.state = 'waiting'
"""
# One after the other: what is said of a report later waits for the answer to what was said first.
_NEXT = """
  AND s.kind <> 'attachment' AND NOT EXISTS (
    SELECT 1 FROM steps b WHERE b.report_id = s.report_id AND b.seq < s.seq
    AND b.kind <> 'attachment' AND b.state IN ('waiting', 'conflict'))
"""
# Photos of what the server does not have yet wait for it.
_PHOTO = """
  AND s.kind = 'attachment' AND r.state IN ('stored', 'held')
"""
_ORDER = " ORDER BY r.urgent DESC, s.seq LIMIT ?"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to tell the server: a report, a correction of it, or a file for it."""

    seq: int
    report_id: str
    kind: Kind
    body: bytes
    base: int
    alone: bool
    tries: int
    name: str | None
    media_type: str | None
    sent: int
    parked: bool
    """A desk still holds the report: until it is released the server knows of none."""


class Outbox:
    """What the device has to tell the server, until each thing is answered: urgent first, then the oldest.

    What a method stored before it returned survives anything but the loss of the device. Several processes may have
    the same file open.
    """

    def __init__(self, store: sqlite3.Connection, *, clock: Clock) -> None:
        self.store = store
        self._clock = clock

    def put(self, report: Mapping[str, Any], *, urgent: bool = False, tiny_first: bool = False) -> str:
        """Take a report, as in POST /v1/reports; its id, made here when it has none.

        With `tiny_first` what it is and how grave goes out in one small packet, and the rest as a correction of it.
        ValueError when the id was used before.
        """
        body = {"id": new_id(), **report}
        body["id"] = _as_answered(str(body["id"]))
        body.setdefault("submitted_at", wire.moment(self._now()))
        first = wire.tiny(body) if tiny_first else body
        with writing(self.store):
            row = (body["id"], wire.text(body), urgent, "waiting")
            try:
                self.store.execute("INSERT INTO reports (id, body, urgent, state) VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise ValueError(f"There is a report {body['id']} already: correct it.") from None
            self._add(body["id"], "first", wire.encode(first), alone=urgent)
            if first != body:
                self._add(body["id"], "correction", _as_correction(body), alone=urgent)
            if urgent:
                self._try_at_once()
        return str(body["id"])

    def correct(
        self,
        report_id: str,
        changes: Mapping[str, Any],
        *,
        onto: Mapping[str, Any] | None = None,
        urgent: bool = False,
    ) -> None:
        """Say it anew, with these changes; None takes a field away. The details of a tiny report come so, too.

        They change what this device said last, and where that is no news nothing is sent; with `onto`, they change
        what the server holds (a report as it answers it), and what was in conflict is settled by that. A report that
        was refused goes again, as it is now.
        KeyError when there is no such report.
        """
        with writing(self.store):
            found = self.store.execute("SELECT * FROM reports WHERE id = ?", (report_id,)).fetchone()
            if found is None:
                raise KeyError(report_id)
            said = json.loads(found["body"]) if onto is None else wire.said_by(onto)
            body = wire.corrected(said, changes, now=self._now())
            if onto is None and found["state"] != "refused" and _same(body, json.loads(found["body"])):
                return
            urgent = urgent or bool(found["urgent"])
            self.store.execute(
                "UPDATE reports SET body = ?, urgent = ? WHERE id = ?",
                (wire.text(body), urgent, report_id),
            )
            if onto is not None:
                self.store.execute(
                    "UPDATE steps SET state = 'superseded' WHERE report_id = ? AND kind = 'correction'"
                    " AND state IN ('waiting', 'conflict')",
                    (report_id,),
                )
            if found["state"] == "refused":
                self._add(report_id, "first", wire.encode(body), alone=urgent)
                self._revive(report_id)
            else:
                base = None if onto is None else int(onto["version"])
                self._add(report_id, "correction", _as_correction(body), alone=urgent, base=base)
            if urgent:
                self._try_at_once()

    def attach(self, report_id: str, name: str, content: bytes, *, media_type: str) -> None:
        """Take a photo or a recording for a report, under a name that is its own.

        KeyError when there is no such report; ValueError when another file of it has the name, the name is not one that
        the server takes, or it is empty.
        """
        if not content:
            raise ValueError(f"{name} is empty.")
        if not wire.FILE_NAME.fullmatch(name):
            raise ValueError(f"{name}: up to 64 letters, digits, and . _ - name a file, as in photo-1.jpg.")
        with writing(self.store):
            if self.store.execute("SELECT 1 FROM reports WHERE id = ?", (report_id,)).fetchone() is None:
                raise KeyError(report_id)
            taken = "SELECT 1 FROM steps WHERE report_id = ? AND name = ? AND state <> 'refused'"
            if self.store.execute(taken, (report_id, name)).fetchone() is not None:
                raise ValueError(f"There is a file {name} for this report already: choose another name.")
            self._add(report_id, "attachment", content, alone=True, name=name, media_type=media_type)

    def due(self, now: datetime, *, most: int) -> list[Step]:
        """What is to be sent now, in its order: what is said first, and files when nothing else is due."""
        for which, limit in ((_NEXT, most), (_PHOTO, 1)):
            rows = self.store.execute(
                f"{_STEP}{which} AND (s.retry_at <= ? OR s.retry_at > ?){_ORDER}",
                (now.timestamp(), (now + LONGEST).timestamp(), limit),
            )
            steps = [_step(row) for row in rows]
            if steps:
                return steps
        return []

    def next_at(self) -> datetime | None:
        """When something is due, if nothing changes; None: nothing can be sent as it is."""
        now = self._clock.now()
        (link,) = self.store.execute("SELECT retry_at FROM link").fetchone()
        times = [
            at
            for which in (_NEXT, _PHOTO)
            for (at,) in self.store.execute(f"SELECT MIN(retry_at) FROM ({_STEP}{which})")  # noqa: S608  as above
            if at is not None
        ]
        if not times:
            return None
        at = datetime.fromtimestamp(max(link, min(times)), UTC)
        return at if at <= now + LONGEST else now

    def waiting(self) -> int:
        """How many steps have no answer yet."""
        (count,) = self.store.execute("SELECT COUNT(*) FROM steps WHERE state = 'waiting'").fetchone()
        return int(count)

    def report(self, report_id: str) -> dict[str, Any]:
        """A report, what became of it, and of each of its steps. KeyError when there is no such report."""
        row = self.store.execute("SELECT * FROM reports WHERE id = ?", (report_id,)).fetchone()
        if row is None:
            raise KeyError(report_id)
        steps = self.store.execute("SELECT * FROM steps WHERE report_id = ? ORDER BY seq", (report_id,)).fetchall()
        return {
            "id": row["id"],
            "state": row["state"],
            "urgent": bool(row["urgent"]),
            "version": row["version"],
            "body": json.loads(row["body"]),
            "answer": _loaded(row["answer"]),
            "steps": [
                {
                    "kind": step["kind"],
                    "name": step["name"],
                    "state": step["state"],
                    "tries": step["tries"],
                    "answer": _loaded(step["answer"]),
                }
                for step in steps
            ],
        }

    def reports(self) -> list[str]:
        """The ids of all reports that were ever put, the oldest first."""
        rows = self.store.execute("SELECT id FROM reports ORDER BY (SELECT MIN(seq) FROM steps WHERE report_id = id)")
        return [row["id"] for row in rows]

    def _now(self) -> datetime:
        """The time as the server tells it, where the device's clock is wrong."""
        return device_clock.right(self.store, self._clock.now())

    def _add(
        self,
        report_id: str,
        kind: Kind,
        body: bytes,
        *,
        alone: bool,
        base: int | None = None,
        name: str | None = None,
        media_type: str | None = None,
    ) -> None:
        self.store.execute(
            "INSERT INTO steps (report_id, kind, body, alone, base_version, name, media_type, state)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'waiting')",
            (report_id, kind, body, alone, base, name, media_type),
        )

    def _revive(self, report_id: str) -> None:
        self.store.execute("UPDATE reports SET state = 'waiting', answer = NULL WHERE id = ?", (report_id,))
        self.store.execute(
            "UPDATE steps SET state = 'waiting', answer = NULL"
            " WHERE report_id = ? AND kind = 'attachment' AND answer = ?",
            (report_id, REFUSED_WITH_REPORT),
        )

    def _try_at_once(self) -> None:
        self.store.execute("UPDATE link SET retry_at = 0")


def _as_answered(report_id: str) -> str:
    """The id as the server writes it; what is none it will refuse, with its reason."""
    with suppress(ValueError):
        return str(UUID(report_id))
    return report_id


def _as_correction(body: Mapping[str, Any]) -> bytes:
    # A desk may have merged the incident it names: where it belongs is no longer the device's to say.
    return wire.encode({key: value for key, value in body.items() if key != "incident_id"})


def _same(body: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    return body == wire.corrected(said, {}, now=datetime.fromisoformat(body["submitted_at"]))


def _step(row: sqlite3.Row) -> Step:
    return Step(
        row["seq"],
        row["report_id"],
        row["kind"],
        row["body"],
        row["base"],
        bool(row["alone"]),
        row["tries"],
        row["name"],
        row["media_type"],
        row["sent"],
        bool(row["parked"]),
    )


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
