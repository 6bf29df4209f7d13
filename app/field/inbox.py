import json
import random
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from app.core.clock import Clock
from app.field import answers, link, settling, wire
from app.field.link import Progress
from app.field.session import Session
from app.field.store import writing

SCOPE_CHANGED = "report.scope_changed"


def happened(store: sqlite3.Connection, report_id: str) -> list[dict[str, Any]]:
    """What this device has heard of a report, in order: what each thing was, when, and the report then."""
    rows = store.execute("SELECT * FROM changes WHERE report_id = ? ORDER BY rowid", (report_id,))
    return [{"type": row["type"], "at": row["at"], "report": json.loads(row["report"])} for row in rows]


@dataclass(frozen=True)
class Inbox:
    """What became of reports, as the server tells it: a copy on the device that follows the server's log.

    A page and the cursor behind it are one transaction: what was applied is never asked for again, and when a page is
    lost on its way only that one is. Like the courier it never sleeps. `drill`: the id of a drill; without it, the
    real. `most` bounds a page.
    """

    store: sqlite3.Connection
    client: httpx.AsyncClient
    session: Session
    clock: Clock
    rng: random.Random
    drill: str | None = None
    most: int = 50

    async def sync(self) -> Progress:
        """Read until all that has happened is here, or the link or the sign-in fails."""
        asked = False
        while True:
            done = await self.step()
            asked = asked or done.asked
            if done.retry_at is None or not done.asked or done.needs_sign_in or self._rests():
                return replace(done, asked=asked)

    async def step(self, *, wait: float = 0) -> Progress:
        """Ask for one page; `retry_at` is None when that was all, so far. `wait` as in GET /v1/reports/changes."""
        rests = link.rests_until(self.store, self.clock.now())
        if rests is not None:
            return Progress(False, rests)
        at = self._cursor()
        listing = at is None or at["page"] is not None
        asked = self._list(at) if at is None or listing else self._follow(at, wait)
        try:
            response = await link.ask(self.client, self.session, asked)
        except httpx.RequestError:
            return self._rest()
        body = answers.parsed(response.content)
        if response.status_code == 200 and body is not None and "cursor" in body:
            link.works(self.store)
            more = self._listed(at, body) if listing else self._followed(at, body)
            return Progress(True, self.clock.now() if more else None)
        if not listing and answers.code_of(response.status_code, body) == "cursor_expired":
            # Older than what the server keeps: read it all anew. What a desk decided meanwhile was not heard.
            with writing(self.store):
                self.store.execute("DELETE FROM cursors WHERE drill = ?", (self.drill or "",))
                settling.ask_again(self.store)
            return Progress(True, self.clock.now())
        verdict = answers.failure(response.status_code, body)
        if verdict.word == "sign_in":
            return Progress(True, None, needs_sign_in=True)
        if verdict.word == "refused":
            # What was asked is wrong, not the link.
            return Progress(True, None, refused=str(verdict.answer.get("detail") or verdict.answer["code"]))
        return self._rest(response)

    def reports(self) -> list[dict[str, Any]]:
        """All reports that are known here, by id."""
        rows = self.store.execute(
            "SELECT report FROM seen WHERE drill = ? AND NOT deleted ORDER BY id", (self.drill or "",)
        )
        return [json.loads(row["report"]) for row in rows]

    def deleted(self) -> list[str]:
        """The ids of those that are no longer this office's."""
        rows = self.store.execute("SELECT id FROM seen WHERE drill = ? AND deleted ORDER BY id", (self.drill or "",))
        return [row["id"] for row in rows]

    def happened(self, report_id: str) -> list[dict[str, Any]]:
        """What happened to a report since it is followed, in order."""
        return happened(self.store, report_id)

    def _cursor(self) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.store.execute(
            "SELECT * FROM cursors WHERE drill = ?", (self.drill or "",)
        ).fetchone()
        return row

    def _list(self, at: sqlite3.Row | None) -> httpx.Request:
        return self._get("/v1/reports", cursor=(at["page"] or None) if at is not None else None)

    def _follow(self, at: sqlite3.Row, wait: float) -> httpx.Request:
        return self._get("/v1/reports/changes", since=at["follow"], wait=wait or None)

    def _get(self, path: str, **query: str | float | None) -> httpx.Request:
        asked = {"limit": self.most, "drill": self.drill, **query}
        return self.client.build_request("GET", path, params={k: v for k, v in asked.items() if v is not None})

    def _listed(self, at: sqlite3.Row | None, body: Mapping[str, Any]) -> bool:
        """Apply a page of the list. Then the changes are followed from where the first page was read."""
        with writing(self.store):
            if self._moved(at):
                return True
            if at is None or at["page"] == "":
                # What is not in the list was lost sight of: it is marked, until it turns up again.
                lost = "UPDATE seen SET deleted = 1 WHERE drill = ? AND version > 0"
                self.store.execute(lost, (self.drill or "",))
            for report in body["items"]:
                self._see(report, deleted=False)
            self.store.execute(
                "INSERT INTO cursors (drill, follow, page) VALUES (?, ?, ?)"
                " ON CONFLICT (drill) DO UPDATE SET page = excluded.page",
                (self.drill or "", body["cursor"], body["next"]),
            )
            if body["next"] is None:
                self.store.execute("UPDATE seen SET report = '{}' WHERE deleted")
                self.store.execute("DELETE FROM changes WHERE report_id IN (SELECT id FROM seen WHERE deleted)")
        return True

    def _followed(self, at: sqlite3.Row | None, body: Mapping[str, Any]) -> bool:
        with writing(self.store):
            if self._moved(at):
                return True
            for change in body["results"]:
                self._apply(change)
            if any(change["list_again"] for change in body["results"]):
                # A node came under this office, or left it, with all its reports. After the list it goes on from here:
                # what happens meanwhile is heard.
                self.store.execute(
                    "UPDATE cursors SET follow = ?, page = '' WHERE drill = ?", (body["cursor"], self.drill or "")
                )
                return True
            self.store.execute("UPDATE cursors SET follow = ? WHERE drill = ?", (body["cursor"], self.drill or ""))
        return bool(body["pending"])

    def _moved(self, at: sqlite3.Row | None) -> bool:
        """Another process has applied a page since this one was asked for: then it is void."""
        now = self._cursor()
        return (tuple(now) if now is not None else None) != (tuple(at) if at is not None else None)

    def _apply(self, change: Mapping[str, Any]) -> None:
        report, deleted = change["report"], change["deleted"]
        if change["type"] == SCOPE_CHANGED:
            # Of the tree, not of a report.
            return
        # A correction that is held has an id of its own, and is rejected without its report.
        whole = report.get("corrects") is None
        subject = report["id"] if whole else report["corrects"]
        if deleted and whole:
            self.store.execute("DELETE FROM changes WHERE report_id = ?", (subject,))
        self.store.execute(
            "INSERT INTO changes (cursor, report_id, type, at, report) VALUES (?, ?, ?, ?, ?)",
            (change["cursor"], subject, change["type"], change["at"], wire.text(report)),
        )
        if change["type"] in ("report.released", "report.rejected"):
            released = change["type"] == "report.released"
            answer = report if released else answers.rejected(report)
            settling.decided(self.store, report["id"], released=released, answer=answer)
        if whole:
            self._see(report, deleted=deleted)

    def _see(self, report: Mapping[str, Any], *, deleted: bool) -> None:
        row = self.store.execute("SELECT * FROM seen WHERE id = ?", (report["id"],)).fetchone()
        known = json.loads(row["report"]) if row is not None else {}
        version = int(report.get("version") or 0)
        if row is not None and not deleted and not row["deleted"] and version < row["version"]:
            # The list was read later than this happened.
            return
        shown = {} if deleted else {**known, **report}
        self.store.execute(
            "INSERT INTO seen (id, drill, version, deleted, report) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE"
            " SET version = excluded.version, deleted = excluded.deleted, report = excluded.report",
            (report["id"], self.drill or "", version, deleted, wire.text(shown)),
        )

    def _rests(self) -> bool:
        return link.rests_until(self.store, self.clock.now()) is not None

    def _rest(self, response: httpx.Response | None = None) -> Progress:
        return Progress(True, link.rest(self.store, clock=self.clock, rng=self.rng, response=response))
