"""When each version of an alert was first carried by an answer, by tier: what the ledger of warning measures."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from app.alerts.models import AlertSighting
from app.core.caller import Caller
from app.core.clock import Clock
from app.core.database import Database, insert_into

Key = tuple[str, UUID, int, str]

MOST = 100_000
MOST_WAITING = 10_000


class Sightings:
    """Notes what answers carry, and writes it down behind them: a poll never waits for it.

    What a process has not yet written when it is killed is lost: the ledger then shows a later moment, never an
    earlier one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: set[Key] = set()
        self._waiting: dict[Key, datetime] = {}

    def carried(self, caller: Caller, alerts: Iterable[tuple[UUID, int]]) -> None:
        """An answer to this caller carries these versions of alerts."""
        if not caller.sees:
            return
        for alert_id, version in alerts:
            key = caller.city_id, alert_id, version, caller.tier
            if key not in self._known and len(self._waiting) < MOST_WAITING:
                if len(self._known) >= MOST:
                    self._known.clear()
                self._known.add(key)
                self._waiting[key] = self._clock.now()

    async def flush(self, database: Database) -> None:
        """Write down what was noted; of several processes the earliest counts."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        rows = [
            {"city_id": city_id, "alert_id": alert_id, "version": version, "tier": tier, "carried_at": at}
            for (city_id, alert_id, version, tier), at in sorted(waiting.items())
        ]
        try:
            async with database.writing() as conn:
                await conn.execute(_note(conn.dialect.name), rows)
        except BaseException:
            self._waiting = {**self._waiting, **waiting}
            raise


def _note(dialect: str) -> Any:
    note = insert_into(dialect, AlertSighting)
    return note.on_conflict_do_update(
        index_elements=["city_id", "alert_id", "version", "tier"],
        set_={"carried_at": note.excluded.carried_at},
        where=note.excluded.carried_at < AlertSighting.carried_at,
    )
